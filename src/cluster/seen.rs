//! What is kept of the objects of a run: the few fields that say how it is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::api::DynamicObject;
use runtime_core::{
    jiff::Timestamp,
    k8s_openapi::{
        api::{
            batch::v1::Job,
            core::v1::{Container, ContainerState, ContainerStatus, Event, Pod, PodCondition},
        },
        apimachinery::pkg::apis::meta::v1::Time,
    },
    labels,
    plan::Role,
    pod::Quantity,
    serde_json::Value,
};

/// All that is seen of one attempt of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Its pods by name, also those that are gone.
    pub(super) pods: BTreeMap<String, Arc<PodSeen>>,
    /// Its main object, where that is no pod: a Job, or an object of an operator.
    pub(super) job: Option<JobSeen>,
    /// Warnings about it: the last one of each reason.
    pub(super) warnings: BTreeMap<String, Warning>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PodSeen {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// What it is to the run, and, where it is not the main one, its name there.
    pub(super) role: Role,
    pub(super) part: String,
    pub(super) created: Option<Timestamp>,
    pub(super) node: String,
    pub(super) phase: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// Somebody deleted it: when it has to be over.
    pub(super) deleted: Option<Timestamp>,
    /// How long it has to end by itself, from when somebody deleted it.
    pub(super) grace: Duration,
    /// That time is over, and nobody says that it ended.
    pub(super) given_up: bool,
    /// It is not there any more.
    pub(super) gone: bool,
    /// Why it is on no node.
    pub(super) unscheduled: Option<(String, String)>,
    /// Why it had to go: of the condition `DisruptionTarget`.
    pub(super) disrupted: Option<(String, String)>,
    /// Its node does not answer for it.
    pub(super) node_is_silent: bool,
    /// The containers that come before.
    pub(super) init: Vec<ContainerSeen>,
    /// The container that is the run.
    pub(super) main: ContainerSeen,
    /// Its containers are started again however they end: it is to stay.
    pub(super) stays: bool,
    /// What it may use of memory, in bytes.
    pub(super) memory: Option<u64>,
    pub(super) image: String,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ContainerSeen {
    pub(super) name: String,
    pub(super) state: State,
    /// It runs, and others may rely on it.
    pub(super) ready: bool,
    /// How it ended before it was started again.
    pub(super) before: State,
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum State {
    /// Nothing is known yet.
    #[default]
    None,
    Waiting {
        reason: String,
        message: String,
    },
    Running {
        since: Option<Timestamp>,
    },
    Ended {
        code: i32,
        signal: i32,
        reason: String,
        message: String,
        since: Option<Timestamp>,
    },
}

/// A Job, or what stands in its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct JobSeen {
    /// `Job`, or the kind of an operator's object.
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) gone: bool,
    /// Its pod ended well.
    pub(super) complete: bool,
    /// It has failed: reason and message.
    pub(super) failed: Option<(String, String)>,
    pub(super) suspended: bool,
    /// It makes another pod where one had to go.
    pub(super) repeats: bool,
}

/// A warning about an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Warning {
    /// The object's name.
    pub(super) about: String,
    pub(super) message: String,
    pub(super) time: Option<Timestamp>,
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// What is kept of a pod.
pub(super) fn pod(pod: &Pod) -> PodSeen {
    let spec = pod.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let main = containers.first();
    let label = |name| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let role = match label(labels::ROLE).map(String::as_str) {
        Some("service") => Role::Service,
        Some("worker") => Role::Worker,
        _ => Role::Main,
    };
    let mut seen = PodSeen {
        role,
        part: text(label(labels::PART)),
        namespace: text(pod.metadata.namespace.as_ref()),
        name: text(pod.metadata.name.as_ref()),
        uid: text(pod.metadata.uid.as_ref()),
        created: time(pod.metadata.creation_timestamp.as_ref()),
        deleted: time(pod.metadata.deletion_timestamp.as_ref()),
        grace: pod.metadata.deletion_grace_period_seconds.map(seconds).unwrap_or_default(),
        node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        stays: spec.and_then(|spec| spec.restart_policy.as_deref()) == Some("Always"),
        memory: main.and_then(memory),
        image: main.and_then(|main| main.image.clone()).unwrap_or_default(),
        ..PodSeen::default()
    };
    let Some(status) = &pod.status else { return seen };
    seen.phase = text(status.phase.as_ref());
    seen.reason = text(status.reason.as_ref());
    seen.message = text(status.message.as_ref());
    let condition = |kind: &str| {
        status.conditions.iter().flatten().find(|condition: &&PodCondition| condition.type_ == kind)
    };
    let said = |condition: &PodCondition| (text(condition.reason.as_ref()), text(condition.message.as_ref()));
    seen.unscheduled = condition("PodScheduled").filter(|it| it.status == "False").map(said);
    seen.disrupted = condition("DisruptionTarget").filter(|it| it.status == "True").map(said);
    seen.init = status.init_container_statuses.iter().flatten().map(container).collect();
    let name = main.map(|main| main.name.as_str()).unwrap_or_default();
    let found = status.container_statuses.iter().flatten().find(|status| status.name == name);
    seen.main = found.map(container).unwrap_or_default();
    // A kubelet says this of a container that runs only where it has a probe; else it is said for a node that is silent.
    seen.node_is_silent = seen.reason == "NodeLost"
        || matches!(seen.main.state, State::Running { .. })
            && found.is_some_and(|status| status.ready)
            && condition("Ready").is_some_and(|it| it.status != "True");
    seen
}

fn memory(container: &Container) -> Option<u64> {
    let limit = container.resources.as_ref()?.limits.as_ref()?.get("memory")?;
    limit.0.parse::<Quantity>().ok().map(Quantity::units)
}

fn container(status: &ContainerStatus) -> ContainerSeen {
    let seen = |told: &Option<ContainerState>| told.as_ref().map(state).unwrap_or_default();
    ContainerSeen {
        name: status.name.clone(),
        state: seen(&status.state),
        ready: status.ready,
        before: seen(&status.last_state),
    }
}

fn state(state: &ContainerState) -> State {
    if let Some(ended) = &state.terminated {
        return State::Ended {
            code: ended.exit_code,
            signal: ended.signal.unwrap_or_default(),
            reason: text(ended.reason.as_ref()),
            message: text(ended.message.as_ref()),
            since: time(ended.started_at.as_ref()),
        };
    }
    if let Some(running) = &state.running {
        return State::Running { since: time(running.started_at.as_ref()) };
    }
    match &state.waiting {
        Some(waiting) => {
            State::Waiting { reason: text(waiting.reason.as_ref()), message: text(waiting.message.as_ref()) }
        }
        None => State::None,
    }
}

/// What is kept of a Job.
pub(super) fn job(job: &Job) -> JobSeen {
    let conditions = || job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let condition = |kind: &str| conditions().find(|it| it.type_ == kind && it.status == "True");
    let failed = condition("Failed").map(|it| (text(it.reason.as_ref()), text(it.message.as_ref())));
    JobSeen {
        kind: "Job".to_owned(),
        namespace: text(job.metadata.namespace.as_ref()),
        name: text(job.metadata.name.as_ref()),
        complete: condition("Complete").is_some(),
        uid: text(job.metadata.uid.as_ref()),
        gone: false,
        failed,
        suspended: job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false),
        repeats: job.spec.as_ref().is_some_and(|spec| spec.pod_failure_policy.is_some()),
    }
}

/// What is kept of an operator's object: its conditions, where they are as Kubernetes has them, or the one state of an
/// application of Spark.
pub(super) fn custom(object: &DynamicObject) -> JobSeen {
    let conditions = object.data["status"]["conditions"].as_array();
    let application = &object.data["status"]["applicationState"];
    let is = |state: &str| application["state"] == state;
    let condition = |kinds: &[&str]| {
        conditions.into_iter().flatten().find(|it| {
            it["status"] == "True" && it["type"].as_str().is_some_and(|name| kinds.contains(&name))
        })
    };
    let word = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    JobSeen {
        kind: object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default(),
        namespace: text(object.metadata.namespace.as_ref()),
        name: text(object.metadata.name.as_ref()),
        uid: text(object.metadata.uid.as_ref()),
        gone: false,
        complete: condition(&["Succeeded", "Complete", "Completed"]).is_some() || is("COMPLETED"),
        failed: condition(&["Failed"])
            .map(|it| (word(it, "reason"), word(it, "message")))
            .or_else(|| is("FAILED").then(|| (String::new(), word(application, "errorMessage")))),
        suspended: condition(&["Suspended"]).is_some() || is("SUSPENDED"),
        repeats: false,
    }
}

/// What is kept of an event: its reason, and the rest.
pub(super) fn warning(event: &Event) -> (String, Warning) {
    let seen = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref());
    let seen = time(seen).or_else(|| event.event_time.as_ref().map(|time| time.0));
    let about = text(event.involved_object.name.as_ref());
    (text(event.reason.as_ref()), Warning { about, message: text(event.message.as_ref()), time: seen })
}

impl Seen {
    /// The pod that counts: the first, unless others may follow it; then the newest. Before 1.23 a Job makes another pod
    /// for one that somebody deleted, whatever it was told.
    pub(super) fn pod(&self) -> Option<&PodSeen> {
        let age = |pod: &&PodSeen| (pod.created, pod.name.clone());
        let pods = self.main_pods();
        match self.repeats() {
            true => pods.max_by_key(|pod| (!pod.gone, age(pod))),
            false => pods.min_by_key(age),
        }
    }

    /// The pods that are the run itself.
    pub(super) fn main_pods(&self) -> impl Iterator<Item = &PodSeen> {
        self.pods.values().map(|pod| &**pod).filter(|pod| pod.role == Role::Main)
    }

    fn repeats(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.repeats)
    }

    /// Whether its Job made another pod that does not count, and would do the work again.
    pub(super) fn is_doubled(&self) -> bool {
        let goes_on = self.job.as_ref().is_some_and(|job| !job.repeats && !job.gone && job.failed.is_none());
        goes_on && self.main_pods().filter(|pod| !pod.gone).count() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_pod_beside_the_one_that_counts_is_noticed() {
        let pods = |gone: &[bool]| {
            let named = |(number, &gone): (usize, &bool)| {
                let name = format!("run-{number}");
                (name.clone(), Arc::new(PodSeen { name, gone, ..PodSeen::default() }))
            };
            gone.iter().enumerate().map(named).collect::<BTreeMap<_, _>>()
        };
        let seen = |job, gone: &[bool]| Seen { job, pods: pods(gone), ..Seen::default() };
        let job = || Some(JobSeen::default());
        assert!(seen(job(), &[false, false]).is_doubled());
        for single in [
            seen(job(), &[false]),
            seen(job(), &[true, false]),
            // Nothing makes more of them.
            seen(None, &[false, false]),
            seen(Some(JobSeen { gone: true, ..JobSeen::default() }), &[false, false]),
            seen(Some(JobSeen { failed: Some(Default::default()), ..JobSeen::default() }), &[false, false]),
            // It is meant to.
            seen(Some(JobSeen { repeats: true, ..JobSeen::default() }), &[false, false]),
        ] {
            assert!(!single.is_doubled(), "{single:?}");
        }
    }
}
