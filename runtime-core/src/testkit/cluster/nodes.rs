//! Nodes: there, lost, and found again.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    kubelet::ended,
    object::{Object, part},
    remove::Deletion,
    world::{NODES, Work, World},
};

/// So long a node may be silent before its pods are given up.
const PATIENCE: Duration = Duration::from_secs(300);

impl World {
    /// A node that is ready, where there is none of that name.
    pub(super) fn add_node(&mut self, name: &str) {
        let Some(nodes) = self.find(NODES.0, NODES.1) else { return };
        if self.tables[nodes].objects.contains_key(&(String::new(), name.to_owned())) {
            return;
        }
        let now = self.clock.stamp();
        let room = json!({"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"});
        let mut node = json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "spec": {},
            "status": {
                "capacity": room, "allocatable": room,
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                    "message": "kubelet is posting ready status", "lastHeartbeatTime": now, "lastTransitionTime": now}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": name}],
                "nodeInfo": {"kubeletVersion": "v1.33.0", "operatingSystem": "linux", "architecture": "amd64"},
            },
        });
        self.stamp_new(&mut node);
        self.put(nodes, node);
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

    fn pods_on(&self, node: &str) -> Vec<Arc<Object>> {
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
}
