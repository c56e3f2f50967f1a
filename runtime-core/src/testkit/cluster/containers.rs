//! Containers start and end; nodes are lost; events tell of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    kubelet::ended,
    object::{Object, map, part},
    remove::Deletion,
    world::{EVENTS, NODES, Work, World},
};

/// So long a node may be silent before its pods are given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Code, reason, message, signal.
type End = (i32, Option<String>, Option<String>, Option<i32>);

impl World {
    pub(super) fn run(&mut self, uid: &str, pod: &Object) {
        let chosen = |list: &str| {
            let all = pod.at(list).and_then(Value::as_array).cloned().unwrap_or_default();
            all.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let (init, main) = (chosen("/spec/initContainers"), chosen("/spec/containers"));
        let ids: Vec<_> = main
            .iter()
            .map(|_| format!("containerd://{:016x}{:016x}", self.number(), self.number()))
            .collect();
        let mut begun = Vec::new();
        self.change(pod, |status| {
            for name in &init {
                if status.container(name).is_some_and(|one| one["state"].get("terminated").is_none()) {
                    status.terminated(name, json!({"exitCode": 0, "reason": "Completed"}));
                }
            }
            for (name, id) in main.iter().zip(&ids) {
                if status.running(name, id) {
                    begun.push(name.clone());
                }
            }
            status.refresh();
        });
        for name in begun {
            self.logs.begin(uid, &name);
            self.event(pod, false, "Created", "kubelet", &format!("Created container: {name}"));
            self.event(pod, false, "Started", "kubelet", &format!("Started container {name}"));
        }
        if let Some(seconds) = pod.at("/spec/activeDeadlineSeconds").and_then(Value::as_u64) {
            self.later(Duration::from_secs(seconds), Work::Deadline(pod.key(), uid.to_owned()));
        }
    }

    /// The pod was active for too long.
    pub(super) fn deadline(&mut self, pod: &Object) {
        if !ended(pod) && !pod.being_deleted() {
            let message = "Pod was active on the node longer than the specified deadline";
            self.event(pod, false, "DeadlineExceeded", "kubelet", message);
            self.fail(pod.uid(), pod, "DeadlineExceeded", message);
        }
    }

    /// A container ends, and the others with it where none was chosen.
    pub(super) fn exit(&mut self, uid: &str, pod: &Object, (code, reason, message, signal): End) {
        let chosen = self.chosen(uid);
        let first = chosen.clone().unwrap_or_else(|| pod.str_at("/spec/containers/0/name").to_owned());
        let policy = pod.str_at("/spec/restartPolicy").to_owned();
        let mut end = json!({"exitCode": code});
        end["reason"] =
            reason.unwrap_or_else(|| if code == 0 { "Completed" } else { "Error" }.to_owned()).into();
        if let Some(message) = message {
            end["message"] = message.into();
        }
        if let Some(signal) = signal {
            end["signal"] = signal.into();
        }
        let all = pod.at("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
        let others = all
            .iter()
            .filter_map(|one| one["name"].as_str())
            .filter(|name| *name != first && chosen.is_none());
        let others: Vec<_> = others.map(str::to_owned).collect();
        // Where it is started again, the end is seen before.
        self.change(pod, |status| {
            status.terminated(&first, end);
            for name in &others {
                if status.container(name).is_some_and(|one| one["state"].get("running").is_some()) {
                    status.terminated(name, json!({"exitCode": 0, "reason": "Completed"}));
                }
            }
        });
        self.logs.end(uid, &first);
        others.iter().for_each(|name| self.logs.end(uid, name));
        if !pod.being_deleted() && (policy == "Always" || (policy == "OnFailure" && code != 0)) {
            self.back_off(pod, &first);
        }
    }

    /// A container that is to be started again waits before.
    fn back_off(&mut self, pod: &Object, name: &str) {
        let message = format!(
            "Back-off restarting failed container {name} in pod {}_{}({})",
            pod.name(),
            pod.namespace(),
            pod.uid()
        );
        self.event(pod, true, "BackOff", "kubelet", &message);
        let text = format!(
            "back-off 10s restarting failed container={name} pod={}_{}({})",
            pod.name(),
            pod.namespace(),
            pod.uid()
        );
        self.change(pod, |status| {
            if let Some(one) = status.container(name) {
                let last = one["state"].clone();
                one.insert("lastState".to_owned(), last);
            }
            status.waiting(name, "CrashLoopBackOff", &text);
        });
    }

    /// The kubelet ends the pod as a whole.
    pub(super) fn fail(&mut self, uid: &str, pod: &Object, reason: &str, message: &str) {
        self.change(pod, |status| {
            let names: Vec<_> =
                status.statuses().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
            for name in names {
                if status.container(&name).is_some_and(|one| one["state"].get("running").is_some()) {
                    status.terminated(&name, json!({"exitCode": 137, "reason": "Error"}));
                }
            }
            if reason == "Evicted" {
                status.condition("DisruptionTarget", "True", "TerminationByKubelet", message);
            }
            for kind in ["Ready", "ContainersReady"] {
                status.condition(kind, "False", "PodFailed", "");
            }
            status.set("phase", "Failed");
            status.set("reason", reason);
            status.set("message", message);
        });
        self.logs.end_all(uid);
    }

    /// A node is not heard of any more: it is unknown, its pods are not ready, and given up after five minutes.
    pub(super) fn lose_node(&mut self, name: &str) {
        if !self.lost_nodes.insert(name.to_owned()) {
            return;
        }
        self.set_node(name, false);
        for pod in self.pods_on(name) {
            self.event(&pod, true, "NodeNotReady", "node-controller", "Node is not ready");
            self.change(&pod, |status| {
                let conditions = status.pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let ready = conditions.iter().find(|one| one["type"] == "Ready").cloned().unwrap_or_default();
                let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
                status.condition("Ready", "False", &text("reason"), &text("message"));
            });
        }
        self.later(PATIENCE, Work::NodeGone(name.to_owned()));
    }

    /// Its pods are to be deleted; nobody there does it.
    pub(super) fn node_gone(&mut self, name: &str) {
        if !self.lost_nodes.contains(name) {
            return;
        }
        for pod in self.pods_on(name).into_iter().filter(|pod| !pod.being_deleted()) {
            let message = format!("Marking for deletion Pod {}/{}", pod.namespace(), pod.name());
            self.event(&pod, false, "TaintManagerEviction", "taint-eviction-controller", &message);
            self.change(&pod, |status| {
                let message = "Taint manager: deleting due to NoExecute taint";
                status.condition("DisruptionTarget", "True", "DeletionByTaintManager", message);
            });
            self.delete(self.pods(), &pod.key(), &Deletion::background());
        }
    }

    /// The node is back: what was to end ends, what lived goes on.
    pub(super) fn find_node(&mut self, name: &str) {
        if !self.lost_nodes.remove(name) {
            return;
        }
        self.set_node(name, true);
        for pod in self.pods_on(name) {
            if pod.being_deleted() {
                self.work.push_back(Work::Terminate(pod.key()));
            } else {
                self.change(&pod, |status| status.refresh());
                self.work.push_back(Work::Live(pod.uid().to_owned()));
            }
        }
    }

    fn pods_on(&self, node: &str) -> Vec<std::sync::Arc<Object>> {
        let pods = self.tables[self.pods()].objects.values();
        pods.filter(|pod| pod.str_at("/spec/nodeName") == node && !ended(pod)).cloned().collect()
    }

    fn set_node(&mut self, name: &str, ready: bool) {
        let Some(nodes) = self.find(NODES.0, NODES.1) else { return };
        let Some(node) = self.object(NODES, &(String::new(), name.to_owned())) else { return };
        let now = self.clock.stamp();
        let mut value = node.value.clone();
        let (status, reason, message) = if ready {
            ("True", "KubeletReady", "kubelet is posting ready status")
        } else {
            ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
        };
        let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now});
        part(&mut value, "status").insert("conditions".to_owned(), json!([condition]));
        let spec = part(&mut value, "spec");
        if ready {
            spec.shift_remove("taints");
        } else {
            let taint = |effect: &str| json!({"key": "node.kubernetes.io/unreachable", "effect": effect, "timeAdded": now});
            spec.insert("taints".to_owned(), json!([taint("NoSchedule"), taint("NoExecute")]));
        }
        self.put(nodes, value);
    }

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
