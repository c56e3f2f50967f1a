//! Events: what controllers and nodes tell of objects.

use serde_json::json;

use super::{
    object::{Object, map},
    world::{EVENTS, World},
};

impl World {
    /// An event about an object; one that was there is counted.
    pub(super) fn event(&mut self, about: &Object, warning: bool, reason: &str, by: &str, message: &str) {
        let Some(events) = self.find(EVENTS.0, EVENTS.1) else { return };
        let now = self.clock.stamp();
        // Events that differ in nothing else are one, counted.
        let same = super::digest(&[about.uid(), reason, message, by]);
        let name = format!("{}.{same:016x}", about.name());
        let namespace = if about.namespace().is_empty() { "default" } else { about.namespace() };
        let key = (namespace.to_owned(), name.clone());
        if let Some(before) = self.tables[events].objects.get(&key) {
            let mut value = before.value.clone();
            let count = value["count"].as_u64().unwrap_or(1) + 1;
            map(&mut value).insert("count".to_owned(), count.into());
            map(&mut value).insert("lastTimestamp".to_owned(), now.into());
            self.put(events, value);
            return;
        }
        let node = about.str_at("/spec/nodeName");
        let mut source = json!({"component": by});
        if by == "kubelet" && !node.is_empty() {
            source["host"] = node.into();
        }
        let mut event = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "kind": about.value["kind"], "namespace": about.namespace(), "name": about.name(), "uid": about.uid(),
                "apiVersion": about.value["apiVersion"], "resourceVersion": about.version.to_string(),
            },
            "reason": reason, "message": message, "source": source, "firstTimestamp": now, "lastTimestamp": now,
            "count": 1, "type": if warning { "Warning" } else { "Normal" }, "eventTime": null,
            "reportingComponent": by, "reportingInstance": node,
        });
        self.stamp_new(&mut event);
        self.put(events, event);
    }
}
