//! The status of a pod, as a kubelet writes it.

use serde_json::{Map, Value, json};

use super::object::{Object, map, part};

/// Pod as JSON, and the time.
pub(super) struct Status<'a> {
    pub(super) pod: &'a mut Value,
    pub(super) now: &'a str,
}

impl Status<'_> {
    fn fields(&mut self) -> &mut Map<String, Value> {
        part(self.pod, "status")
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.fields().insert(field.to_owned(), value.into());
    }

    /// A condition; its time is that of its last change.
    pub(super) fn condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let mut new =
            json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": self.now});
        for (field, text) in [("reason", reason), ("message", message)] {
            if !text.is_empty() {
                new[field] = text.into();
            }
        }
        let conditions = self.fields().entry("conditions").or_insert_with(|| json!([]));
        let Some(conditions) = conditions.as_array_mut() else { return };
        match conditions.iter_mut().find(|one| one["type"] == kind) {
            Some(old) => {
                if old["status"] == status {
                    new["lastTransitionTime"] = old["lastTransitionTime"].clone();
                }
                *old = new;
            }
            None => conditions.push(new),
        }
    }

    /// The kubelet has taken the pod up.
    pub(super) fn admitted(&mut self, ip: &str) {
        if self.pod["status"].get("startTime").is_some() {
            return;
        }
        self.set("startTime", self.now);
        self.set("hostIP", "10.0.0.1");
        self.set("podIP", ip);
        self.set("podIPs", json!([{"ip": ip}]));
        let has_init = self.pod["spec"]["initContainers"].as_array().is_some_and(|all| !all.is_empty());
        let waiting = if has_init { "PodInitializing" } else { "ContainerCreating" };
        for (list, statuses) in
            [("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")]
        {
            let all = self.pod["spec"][list].as_array().cloned().unwrap_or_default();
            if !all.is_empty() {
                let all: Vec<_> = all.iter().map(|one| new_container(one, waiting)).collect();
                self.set(statuses, all);
            }
        }
        self.refresh();
    }

    pub(super) fn statuses(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        let fields = part(self.pod, "status");
        let lists = fields.iter_mut().filter(|(name, _)| name.ends_with("ontainerStatuses"));
        lists.filter_map(|(_, list)| list.as_array_mut()).flatten().map(map)
    }

    pub(super) fn container(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        self.statuses().find(|one| one.get("name").is_some_and(|own| own == name))
    }

    /// A container that does not run yet, or not again.
    pub(super) fn waiting(&mut self, name: &str, reason: &str, message: &str) {
        if let Some(one) = self.container(name) {
            let mut waiting = json!({"reason": reason});
            if !message.is_empty() {
                waiting["message"] = message.into();
            }
            one.insert("state".to_owned(), json!({"waiting": waiting}));
            one.insert("ready".to_owned(), false.into());
        }
        self.refresh();
    }

    pub(super) fn running(&mut self, name: &str, id: &str) -> bool {
        let now = self.now.to_owned();
        let Some(one) = self.container(name) else { return false };
        if one["state"].get("running").is_some() {
            return false;
        }
        let again = one["state"].get("terminated").or_else(|| one["lastState"].get("terminated")).cloned();
        if let Some(last) = again {
            one.insert("lastState".to_owned(), json!({"terminated": last}));
            let count = one["restartCount"].as_u64().unwrap_or_default() + 1;
            one.insert("restartCount".to_owned(), count.into());
        }
        one.insert("state".to_owned(), json!({"running": {"startedAt": now}}));
        one.insert("started".to_owned(), true.into());
        one.insert("containerID".to_owned(), id.into());
        true
    }

    pub(super) fn terminated(&mut self, name: &str, mut end: Value) {
        let now = self.now.to_owned();
        let Some(one) = self.container(name) else { return };
        let began = one["state"]["running"]["startedAt"].clone();
        end["startedAt"] = if began.is_null() { json!(now) } else { began };
        end["finishedAt"] = now.into();
        end["containerID"] = one.get("containerID").cloned().unwrap_or_default();
        one.insert("state".to_owned(), json!({"terminated": end}));
        one.insert("ready".to_owned(), false.into());
        one.insert("started".to_owned(), false.into());
        self.refresh();
    }

    /// Phase and conditions, as they follow from the containers.
    pub(super) fn refresh(&mut self) {
        let status = self.pod["status"].clone();
        let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
        let (init, main) = (list("initContainerStatuses"), list("containerStatuses"));
        let policy = self.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always").to_owned();
        let phase = phase(&init, &main, &policy);
        self.set("phase", phase);
        let initialized = init.iter().all(|one| one["state"]["terminated"]["exitCode"] == 0);
        match (initialized, phase) {
            (true, "Succeeded") => self.condition("Initialized", "True", "PodCompleted", ""),
            (true, _) => self.condition("Initialized", "True", "", ""),
            (false, _) => {
                let names = names_of(init.iter().filter(|one| one["state"]["terminated"]["exitCode"] != 0));
                let message = format!("containers with incomplete status: [{names}]");
                self.condition("Initialized", "False", "ContainersNotInitialized", &message);
            }
        }
        let unready: Vec<_> = main.iter().filter(|one| one["ready"] != true).collect();
        let (status, reason, message) = match phase {
            "Succeeded" => ("False", "PodCompleted", String::new()),
            "Failed" => ("False", "PodFailed", String::new()),
            _ if unready.is_empty() && !main.is_empty() => ("True", "", String::new()),
            _ => {
                let message = format!("containers with unready status: [{}]", names_of(unready.into_iter()));
                ("False", "ContainersNotReady", message)
            }
        };
        self.condition("Ready", status, reason, &message);
        self.condition("ContainersReady", status, reason, &message);
    }
}

fn names_of<'a>(all: impl Iterator<Item = &'a Value>) -> String {
    let names: Vec<_> = all.filter_map(|one| one["name"].as_str()).collect();
    names.join(" ")
}

fn new_container(container: &Value, waiting: &str) -> Value {
    json!({
        "name": container["name"], "state": {"waiting": {"reason": waiting}}, "lastState": {}, "ready": false,
        "restartCount": 0, "image": container["image"], "imageID": "", "started": false,
    })
}

/// The phase, by the rules of the kubelet.
fn phase(init: &[Value], main: &[Value], policy: &str) -> &'static str {
    let code = |one: &Value| one["state"]["terminated"]["exitCode"].as_i64();
    if init.iter().any(|one| code(one).is_some_and(|code| code != 0)) && policy == "Never" {
        return "Failed";
    }
    if init.iter().any(|one| code(one) != Some(0)) {
        return "Pending";
    }
    let running = main.iter().any(|one| one["state"].get("running").is_some());
    let began = |one: &Value| code(one).is_some() || one["lastState"].get("terminated").is_some();
    if running {
        return "Running";
    }
    if main.is_empty() || !main.iter().all(began) {
        return "Pending";
    }
    let ended = main.iter().all(|one| code(one).is_some());
    let failed = main.iter().any(|one| code(one) != Some(0));
    match (policy, ended, failed) {
        ("Never" | "OnFailure", true, false) => "Succeeded",
        ("Never", true, true) => "Failed",
        _ => "Running",
    }
}

/// Whether a pod says that it is ready.
pub(super) fn is_ready(pod: &Object) -> bool {
    let conditions = pod.at("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}
