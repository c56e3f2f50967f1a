//! Lives pods: scheduler, kubelet and containers, by their scripts.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;

use super::{
    life::{Life, NODE, Step},
    object::{Key, Object, map},
    pod_status::Status,
    process::{self, Process},
    remove::Deletion,
    server::Server,
    world::{PODS, TableId, Work, World},
};

/// The lives of all pods.
#[derive(Debug, Default)]
pub(super) struct Lives {
    by_uid: HashMap<String, Running>,
    /// Who waits for a word.
    waiting: HashMap<String, Vec<String>>,
    said: HashSet<String>,
}

/// A life that is lived.
#[derive(Debug, Default)]
struct Running {
    steps: VecDeque<Step>,
    on_term: Option<Vec<Step>>,
    /// Which container steps are about.
    container: Option<String>,
    /// It waits for a word, a time, or for ever.
    held: bool,
    terminating: bool,
    /// What runs on this machine; it is killed when this is dropped.
    process: Option<Process>,
}

impl Lives {
    pub(super) fn forget(&mut self, uid: &str) {
        self.by_uid.remove(uid);
    }

    /// Says a word, for now and ever; gives whoever waited for it.
    pub(super) fn say(&mut self, word: &str) -> Vec<String> {
        self.said.insert(word.to_owned());
        self.waiting.remove(word).unwrap_or_default()
    }

    pub(super) fn said(&self, word: &str) -> bool {
        self.said.contains(word)
    }
}

impl World {
    pub(super) fn pods(&self) -> TableId {
        self.find(PODS.0, PODS.1).unwrap_or_default()
    }

    /// A pod begins to live.
    pub(super) fn begin(&mut self, uid: &str, life: Life) {
        let steps = life.steps.into();
        let life = Running { steps, on_term: life.on_term, ..Running::default() };
        self.lives.by_uid.insert(uid.to_owned(), life);
        self.work.push_back(Work::Live(uid.to_owned()));
    }

    /// Further steps, after those that are still to come.
    pub(super) fn then(&mut self, uid: &str, life: Life) {
        match self.lives.by_uid.get_mut(uid) {
            Some(running) => {
                running.steps.extend(life.steps);
                running.on_term = life.on_term.or(running.on_term.take());
                self.work.push_back(Work::Live(uid.to_owned()));
            }
            None => self.begin(uid, life),
        }
    }

    /// What was waited for is there.
    pub(super) fn released(&mut self, uid: &str) {
        if let Some(running) = self.lives.by_uid.get_mut(uid) {
            running.held = false;
            self.work.push_back(Work::Live(uid.to_owned()));
        }
    }

    /// Does the next steps of a pod, as far as it comes.
    pub(super) fn live(&mut self, uid: &str) {
        loop {
            let Some((_, pod)) = self.by_uid(uid) else { return self.lives.forget(uid) };
            let lost = self.lost_nodes.contains(pod.str_at("/spec/nodeName"));
            let Some(life) = self.lives.by_uid.get_mut(uid) else { return };
            if life.held || lost || (pod.being_deleted() && !life.terminating) {
                return;
            }
            let Some(step) = life.steps.pop_front() else {
                if life.terminating {
                    self.ended(&pod.key());
                }
                return;
            };
            let held = match &step {
                Step::Wait(word) if !self.lives.said(word) => {
                    self.lives.waiting.entry(word.clone()).or_default().push(uid.to_owned());
                    true
                }
                Step::Delay(delay) => {
                    self.later(*delay, Work::Released(uid.to_owned()));
                    true
                }
                Step::Forever => true,
                Step::Execute if !ended(&pod) => {
                    self.work.push_back(Work::Execute(uid.to_owned()));
                    true
                }
                _ => false,
            };
            if held {
                if let Some(life) = self.lives.by_uid.get_mut(uid) {
                    life.held = true;
                }
                return;
            }
            if let Step::Container(name) = &step
                && let Some(life) = self.lives.by_uid.get_mut(uid)
            {
                life.container = Some(name.clone());
            }
            self.step(uid, &pod, step);
        }
    }

    /// The pod is asked to end.
    pub(super) fn terminate(&mut self, key: &Key) {
        let Some(pod) = self.object(PODS, key).filter(|pod| pod.being_deleted()) else { return };
        if self.lost_nodes.contains(pod.str_at("/spec/nodeName")) || ended(&pod) {
            return;
        }
        let uid = pod.uid().to_owned();
        let Some(life) = self.lives.by_uid.get_mut(&uid) else { return self.ended(key) };
        if life.terminating {
            return;
        }
        life.terminating = true;
        let runs = pod.str_at("/status/phase") == "Running";
        // A process ends when it does.
        life.held = life.process.is_some();
        life.process.iter().for_each(Process::ask);
        life.steps = match &life.on_term {
            _ if life.held => VecDeque::new(),
            Some(steps) if runs => steps.clone().into(),
            _ if runs => [Step::Exit { code: 143, reason: None, message: None, signal: None }].into(),
            _ => VecDeque::new(),
        };
        self.event(&pod, false, "Killing", "kubelet", "Stopping container");
        self.work.push_back(Work::Live(uid));
    }

    /// The grace of a pod is over.
    pub(super) fn expired(&mut self, id: TableId, key: &Key, uid: &str) {
        let Some(object) = self.tables[id].objects.get(key).cloned().filter(|object| object.uid() == uid)
        else {
            return;
        };
        if id != self.pods() {
            self.delete(id, key, &Deletion::background());
            return;
        }
        if self.lost_nodes.contains(object.str_at("/spec/nodeName")) {
            return;
        }
        if let Some(process) = self.lives.by_uid.get(uid).and_then(|life| life.process.as_ref()) {
            return process.kill();
        }
        if !ended(&object) && object.str_at("/status/phase") == "Running" {
            self.step(uid, &object, Step::Exit { code: 137, reason: None, message: None, signal: None });
        }
        self.ended(key);
    }

    /// Starts a process for a pod.
    pub(super) fn execute(&mut self, uid: &str, server: Server) {
        let Some((_, pod)) = self.by_uid(uid).filter(|(_, pod)| !ended(pod) && !pod.being_deleted()) else {
            return;
        };
        let name = self.container_of(uid, &pod);
        let containers = pod.at("/spec/containers").and_then(Value::as_array);
        let spec = containers.into_iter().flatten().find(|one| one["name"] == name.as_str());
        let command = match process::Command::of(spec.unwrap_or(&Value::Null), pod.name()) {
            Ok(command) => command,
            Err(why) => return self.next(uid, Step::ConfigError(why)),
        };
        self.run(uid, &pod);
        self.step(uid, &pod, Step::Ready(true));
        match command.start(uid, &name, server) {
            Ok(process) => {
                if let Some(life) = self.lives.by_uid.get_mut(uid) {
                    life.process = Some(process);
                }
            }
            Err(why) => {
                let (reason, message) = (Some("StartError".to_owned()), Some(why));
                self.next(uid, Step::Exit { code: 128, reason, message, signal: None });
            }
        }
    }

    /// A pod does this next, and then what it was to do.
    fn next(&mut self, uid: &str, step: Step) {
        if let Some(life) = self.lives.by_uid.get_mut(uid) {
            life.held = false;
            life.steps.push_front(step);
            self.work.push_back(Work::Live(uid.to_owned()));
        }
    }

    /// What runs of a pod as a process is killed.
    pub(super) fn kill(&self, uid: &str) {
        self.lives.by_uid.get(uid).and_then(|life| life.process.as_ref()).iter().for_each(|it| it.kill());
    }

    /// A process printed a line, or a piece of one.
    pub(super) fn printed(&mut self, uid: &str, container: &str, bytes: bytes::Bytes, ends: bool) {
        if self.lives.by_uid.contains_key(uid) {
            self.logs.print(uid, container, self.clock.now(), bytes, ends);
        }
    }

    /// A process has ended, and all that it started.
    pub(super) fn exited(&mut self, uid: &str, code: i32) {
        if let Some(life) = self.lives.by_uid.get_mut(uid) {
            life.process = None;
            self.next(uid, Step::Exit { code, reason: None, message: None, signal: None });
        }
    }

    /// Nothing of the pod runs any more: the kubelet lets it go.
    fn ended(&mut self, key: &Key) {
        let id = self.pods();
        if self.tables[id].objects.get(key).is_some_and(|pod| pod.being_deleted()) {
            self.delete(id, key, &Deletion::now());
        }
    }

    fn step(&mut self, uid: &str, pod: &Object, step: Step) {
        if ended(pod) && !matches!(step, Step::Event { .. }) {
            return;
        }
        match step {
            Step::Schedule(node) => self.schedule(pod, &node),
            Step::Unschedulable(message) => {
                self.event(pod, true, "FailedScheduling", "default-scheduler", &message);
                self.change(pod, |status| {
                    status.condition("PodScheduled", "False", "Unschedulable", &message)
                });
            }
            Step::Pull => self.pull(pod),
            Step::PullFails(message) => self.image_error(pod, uid, "ErrImagePull", &message),
            Step::PullBacksOff => self.image_error(pod, uid, "ImagePullBackOff", ""),
            Step::InvalidImageName => self.image_error(pod, uid, "InvalidImageName", ""),
            Step::ConfigError(message) => {
                self.event(pod, true, "Failed", "kubelet", &format!("Error: {message}"));
                let name = self.container_of(uid, pod);
                self.change(pod, |status| status.waiting(&name, "CreateContainerConfigError", &message));
            }
            Step::MountFails(volume, message) => {
                let message = format!("MountVolume.SetUp failed for volume {volume:?} : {message}");
                self.event(pod, true, "FailedMount", "kubelet", &message);
            }
            Step::Run => self.run(uid, pod),
            Step::Ready(ready) => self.change(pod, |status| {
                for one in status.statuses().filter(|one| one["state"].get("running").is_some()) {
                    one.insert("ready".to_owned(), ready.into());
                }
                status.refresh();
            }),
            Step::Print(line) => {
                let name = self.container_of(uid, pod);
                let now = self.clock.now();
                self.logs.print(uid, &name, now, line.into(), true);
            }
            Step::Exit { code, reason, message, signal } => {
                self.exit(uid, pod, (code, reason, message, signal))
            }
            Step::Evict(message) => {
                self.event(pod, true, "Evicted", "kubelet", &message);
                self.fail(uid, pod, "Evicted", &message);
            }
            Step::Preempt(by) => self.preempt(pod, &by),
            Step::NodeLost => {
                let node = pod.str_at("/spec/nodeName").to_owned();
                self.lose_node(&node);
            }
            Step::Event { warning, reason, message } => {
                self.event(pod, warning, &reason, "kubelet", &message)
            }
            Step::Container(_) | Step::Wait(_) | Step::Delay(_) | Step::Forever | Step::Execute => {}
        }
    }

    /// The container that steps are about.
    fn container_of(&self, uid: &str, pod: &Object) -> String {
        let chosen = self.lives.by_uid.get(uid).and_then(|life| life.container.clone());
        chosen.unwrap_or_else(|| pod.str_at("/spec/containers/0/name").to_owned())
    }

    /// The container that a script chose.
    pub(super) fn chosen(&self, uid: &str) -> Option<String> {
        self.lives.by_uid.get(uid)?.container.clone()
    }

    /// Writes a new status.
    pub(super) fn change(&mut self, pod: &Object, change: impl FnOnce(&mut Status<'_>)) {
        let now = self.clock.stamp();
        let id = self.pods();
        // What the caller has may be older than what is kept by now.
        let Some(pod) = self.tables[id].objects.get(&pod.key()) else { return };
        let mut value = pod.value.clone();
        change(&mut Status { pod: &mut value, now: &now });
        self.put(id, value);
    }

    fn schedule(&mut self, pod: &Object, node: &str) {
        let own = pod.str_at("/spec/nodeName");
        let selected =
            pod.at("/spec/nodeSelector").and_then(|selector| selector["kubernetes.io/hostname"].as_str());
        let node = if !own.is_empty() {
            own.to_owned()
        } else if node.is_empty() {
            selected.unwrap_or(NODE).to_owned()
        } else {
            node.to_owned()
        };
        self.add_node(&node);
        let message = format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
        self.event(pod, false, "Scheduled", "default-scheduler", &message);
        self.change(pod, |status| {
            if let Some(spec) = status.pod.get_mut("spec") {
                map(spec).insert("nodeName".to_owned(), node.into());
            }
            status.condition("PodScheduled", "True", "", "");
        });
        let number = self.number();
        let ip = format!("10.244.{}.{}", number & 0xff, (number >> 8) % 254 + 1);
        self.change(pod, |status| status.admitted(&ip));
    }

    fn pull(&mut self, pod: &Object) {
        let containers = pod.at("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
        for one in containers {
            let image = one["image"].as_str().unwrap_or_default();
            let message = format!("Container image {image:?} already present on machine");
            self.event(pod, false, "Pulled", "kubelet", &message);
        }
    }

    fn image_error(&mut self, pod: &Object, uid: &str, reason: &str, said: &str) {
        let name = self.container_of(uid, pod);
        let containers = pod.at("/spec/containers").and_then(Value::as_array);
        let image = containers.into_iter().flatten().find(|one| one["name"] == name.as_str());
        let image = image.and_then(|one| one["image"].as_str()).unwrap_or_default().to_owned();
        let message = match reason {
            "ErrImagePull" => {
                self.event(pod, false, "Pulling", "kubelet", &format!("Pulling image {image:?}"));
                self.event(
                    pod,
                    true,
                    "Failed",
                    "kubelet",
                    &format!("Failed to pull image {image:?}: {said}"),
                );
                said.to_owned()
            }
            "ImagePullBackOff" => {
                let message = format!("Back-off pulling image {image:?}");
                self.event(pod, false, "BackOff", "kubelet", &message);
                message
            }
            _ => {
                let message = format!(
                    "Failed to apply default image tag {image:?}: couldn't parse image reference {image:?}: \
                    invalid reference format"
                );
                self.event(pod, true, "InspectFailed", "kubelet", &message);
                message
            }
        };
        self.event(pod, true, "Failed", "kubelet", &format!("Error: {reason}"));
        self.change(pod, |status| status.waiting(&name, reason, &message));
    }

    fn preempt(&mut self, pod: &Object, by: &str) {
        let node = pod.str_at("/spec/nodeName").to_owned();
        let message = format!("Preempted by {by} on node {node}");
        self.event(pod, false, "Preempted", "default-scheduler", &message);
        let scheduler = pod.str_at("/spec/schedulerName").to_owned();
        self.change(pod, |status| {
            let message = format!("{scheduler}: preempting to accommodate a higher priority pod");
            status.condition("DisruptionTarget", "True", "PreemptionByScheduler", &message);
        });
        self.delete(self.pods(), &pod.key(), &Deletion::background());
    }
}

/// Whether nothing can happen to a pod any more.
pub(super) fn ended(pod: &Object) -> bool {
    matches!(pod.str_at("/status/phase"), "Succeeded" | "Failed")
}
