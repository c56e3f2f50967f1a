//! Containers start and end; nodes are lost; events tell of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    kubelet::ended,
    object::Object,
    world::{Work, World},
};

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
        self.kill(uid);
        self.logs.end_all(uid);
    }
}
