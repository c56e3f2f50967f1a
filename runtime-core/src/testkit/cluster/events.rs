//! Events: what controllers and nodes tell of objects.

use serde_json::{Value, json};

use super::{
    object::Object,
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
            again(&mut value, &now, &self.clock.micros());
            self.put(events, value);
            return;
        }
        let node = about.str_at("/spec/nodeName");
        let mut event = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "kind": about.value["kind"], "namespace": about.namespace(), "name": about.name(), "uid": about.uid(),
                "apiVersion": about.value["apiVersion"], "resourceVersion": about.version.to_string(),
            },
            "reason": reason, "message": message, "type": if warning { "Warning" } else { "Normal" },
            "reportingComponent": by, "reportingInstance": node,
        });
        if by == "kubelet"
            && let Some(path) = container_path(about, reason)
        {
            event["involvedObject"]["fieldPath"] = path.into();
        }
        if by == SCHEDULER {
            // It speaks the newer form: a time to the microsecond, and no source.
            event["eventTime"] = self.clock.micros().into();
            event["action"] = if reason == "Scheduled" { "Binding" } else { "Scheduling" }.into();
            for (field, nothing) in
                [("source", json!({})), ("firstTimestamp", json!(null)), ("lastTimestamp", json!(null))]
            {
                event[field] = nothing;
            }
        } else {
            event["source"] = json!({"component": by});
            if by == "kubelet" && !node.is_empty() {
                event["source"]["host"] = node.into();
            }
            for (field, value) in
                [("firstTimestamp", json!(now)), ("lastTimestamp", json!(now)), ("count", json!(1))]
            {
                event[field] = value;
            }
            event["eventTime"] = json!(null);
        }
        self.stamp_new(&mut event);
        self.put(events, event);
    }
}

const SCHEDULER: &str = "default-scheduler";

/// It happened once more.
fn again(event: &mut Value, now: &str, micros: &str) {
    if event["reportingComponent"] == SCHEDULER {
        let count = event["series"]["count"].as_u64().unwrap_or(1) + 1;
        event["series"] = json!({"count": count, "lastObservedTime": micros});
        return;
    }
    let count = event["count"].as_u64().unwrap_or(1) + 1;
    event["count"] = count.into();
    event["lastTimestamp"] = now.into();
}

/// Which container an event is about, where there is but one.
fn container_path(pod: &Object, reason: &str) -> Option<String> {
    let about = ["Pulling", "Pulled", "Created", "Started", "Failed", "BackOff", "InspectFailed", "Killing"];
    let containers = pod.at("/spec/containers")?.as_array()?;
    let [only] = containers.as_slice() else { return None };
    about
        .contains(&reason)
        .then(|| format!("spec.containers{{{}}}", only["name"].as_str().unwrap_or_default()))
}
