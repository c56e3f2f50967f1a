//! Pure: why a run waits or ended, as the cluster says it: the reason, the evidence, and what to do.

use runtime_core::{
    plan::Role,
    run::{Cause, Reason},
};

use super::seen::{PodSeen, Seen, State, Warning};

/// What a waiting pod waits for, where that is more than its turn.
pub(super) fn of_waiting(pod: &PodSeen) -> Option<Cause> {
    if let Some((reason, message)) = &pod.unscheduled {
        return (reason == "Unschedulable").then(|| unschedulable(message));
    }
    pod.init.iter().chain([&pod.main]).find_map(|container| match &container.state {
        State::Waiting { reason, message } => of_container(pod, reason, message),
        _ => None,
    })
}

fn of_container(pod: &PodSeen, reason: &str, message: &str) -> Option<Cause> {
    let image = &pod.image;
    let with = |reason: Reason, text: String, help: &str| Some(Cause::new(reason, text).help(help));
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ErrImageNeverPull" => with(
            Reason::ImagePull,
            format!("the image {image} cannot be pulled on {}: {}", pod.node, shortened(message)),
            "check the name and the tag, that the node reaches the registry, and `spec.image_pull_secret` for a private one",
        ),
        "InvalidImageName" | "ErrImageInspect" | "ImageInspectError" => with(
            Reason::InvalidImageName,
            format!("{image:?} is no image: {message}"),
            "write it as REGISTRY/NAME:TAG, in small letters",
        ),
        "CreateContainerConfigError" => with(
            Reason::ContainerConfig,
            format!("its container cannot be made: {message}"),
            "create what is missing in the namespace, or mark the reference as optional; it goes on by itself then",
        ),
        "CreateContainerError" | "RunContainerError" => with(
            Reason::StartFailed,
            format!("its container cannot be started: {message}"),
            "check `spec.command`, `spec.workdir` and the image: the program must be in it",
        ),
        "CrashLoopBackOff" => with(
            Reason::ExitCode,
            format!("its container ends again and again: {message}"),
            "its log says why",
        ),
        _ => None,
    }
}

/// Of a long story, where each part quotes the one before, the last part.
fn shortened(message: &str) -> String {
    let message = message.trim();
    match message.strip_prefix("Back-off pulling image ") {
        Some(_) => "the registry does not give it; it is tried again".to_owned(),
        None => message.to_owned(),
    }
}

fn unschedulable(message: &str) -> Cause {
    let help = if message.contains("Insufficient") {
        "ask for less (`spec.resources`), wait until others have ended, or add a node that is large enough"
    } else if message.contains("taint") {
        "add `spec.tolerations` for the taints that it names, or use other nodes"
    } else if message.contains("selector") || message.contains("affinity") {
        "check `spec.node_selector` and `spec.affinity` against the labels of the nodes: `kubectl get nodes --show-labels`"
    } else if message.contains("persistentvolumeclaim") {
        "create the claim that it names, or mount another one"
    } else {
        "`kubectl get nodes` shows which nodes there are"
    };
    Cause::new(Reason::Unschedulable, format!("no node can take it: {message}")).help(help)
}

/// What is wrong with a pod that runs.
pub(super) fn of_running(pod: &PodSeen) -> Option<Cause> {
    pod.node_is_silent.then(|| {
        let message = format!("its node {} does not answer; whether it goes on there is not known", pod.node);
        Cause::new(Reason::NodeLost, message)
            .help("the cluster gives the node up after a while (5 minutes, mostly); the run ends then")
    })
}

/// Why a pod is not waited for that was deleted long ago, and of which nobody says that it ended.
pub(super) fn of_given_up(pod: &PodSeen) -> Cause {
    let PodSeen { namespace, name, node, .. } = pod;
    let message = format!(
        "its pod was deleted, and its node {node} does not say that it ended; whether it goes on there is not known"
    );
    Cause::new(Reason::NodeLost, message).help(format!(
        "let it be tried again (`retry`); the pod goes when the node is back, or by `kubectl delete pod -n {namespace} {name} --force`, \
         once it is sure that the node is off"
    ))
}

/// Why a pod had to go, where the cluster says so.
pub(super) fn of_end(pod: &PodSeen) -> Option<Cause> {
    let said = |reason: &str, message: &str| {
        let node = &pod.node;
        let message = message.trim();
        Some(match reason {
            "Evicted" | "TerminationByKubelet" | "EvictionByEvictionAPI" => {
                Cause::new(Reason::Evicted, format!("it was evicted from {node}: {message}")).help(
                    "give it what it needs (`spec.resources.requests`), or let it be tried again (`retry`)",
                )
            }
            "Preempting" | "Preempted" | "PreemptionByScheduler" => Cause::new(
                Reason::Preempted,
                format!("it had to make room on {node}: {message}"),
            )
            .help(
                "give it a higher priority (`spec.priority_class_name`), or let it be tried again (`retry`)",
            ),
            "NodeLost"
            | "DeletionByTaintManager"
            | "DeletionByPodGC"
            | "NodeShutdown"
            | "Terminated"
            | "Shutdown" => Cause::new(Reason::NodeLost, format!("its node {node} went away: {message}"))
                .help("let it be tried again (`retry`)"),
            "DeadlineExceeded" => of_job("Job", reason, message),
            "OutOfcpu" | "OutOfmemory" | "OutOfpods" | "NodeAffinity" | "UnexpectedAdmissionError" => {
                Cause::new(Reason::Unschedulable, format!("{node} did not take it: {message}"))
                    .help("let it be tried again (`retry`)")
            }
            _ => return None,
        })
    };
    let condition = pod.disrupted.as_ref().and_then(|(reason, message)| said(reason, message));
    let gone = pod.phase == "Failed" || pod.gone;
    condition.filter(|_| gone).or_else(|| said(&pod.reason, &pod.message).filter(|_| gone))
}

/// Why a Job failed without a pod that says so.
pub(super) fn of_job(kind: &str, reason: &str, message: &str) -> Cause {
    match reason {
        "DeadlineExceeded" => {
            Cause::new(Reason::DeadlineExceeded, "the cluster stopped it: it took longer than its pod may")
                .help("raise the limit (`--timeout`, or `state_thresholds.executing`), or make it faster")
        }
        // What an operator says that could not even make a pod.
        "" => Cause::new(Reason::StartFailed, format!("its {kind} failed: {}", message.trim())),
        _ => Cause::new(
            Reason::Lost,
            format!("its {kind} failed, and no pod of it is left: {message} ({reason})"),
        ),
    }
}

/// What the warnings about a run's objects say, where the objects themselves do not.
pub(super) fn of_warnings(seen: &Seen) -> Option<Cause> {
    // What is said of its other pods is not about the one that counts.
    let about_main =
        |warning: &Warning| seen.pods.get(&warning.about).is_none_or(|pod| pod.role == Role::Main);
    let own = seen.warnings.iter().filter(|(_, warning)| about_main(warning));
    let latest = own.max_by_key(|(_, warning)| warning.time);
    of_warning(latest?)
}

/// What a warning of this reason says.
pub(super) fn of_warning((reason, warning): (&String, &Warning)) -> Option<Cause> {
    let message = &warning.message;
    match reason.as_str() {
        "FailedCreate" => Some(refused(message)),
        // Its node has not heard of the volume yet: that passes by itself.
        "FailedMount" if message.contains("failed to sync") => None,
        "FailedMount" | "FailedAttachVolume" => Some(
            Cause::new(Reason::Mount, format!("a volume cannot be mounted: {message}"))
                .help("create what it names in the namespace; it goes on by itself then"),
        ),
        "FailedScheduling" => Some(unschedulable(message)),
        "FailedCreatePodSandBox" => Some(
            Cause::new(Reason::StartFailed, format!("its node cannot prepare it: {message}"))
                .help("this is the node's matter, mostly its network: it is tried again"),
        ),
        _ => None,
    }
}

/// Why a Job may not have its pod.
fn refused(message: &str) -> Cause {
    if message.contains("exceeded quota") || message.contains("must specify") {
        return Cause::new(
            Reason::Quota,
            format!("the quota of the namespace does not allow its pod: {message}"),
        )
        .help("free some of that quota, ask for less, or have it raised");
    }
    if message.contains("serviceaccount") {
        return Cause::new(Reason::ContainerConfig, format!("its pod cannot be made: {message}")).help(
            "create the service account in the namespace, or name another one (`spec.service_account`)",
        );
    }
    Cause::new(Reason::AdmissionDenied, format!("the cluster refuses its pod: {message}"))
        .help("change what the message names")
}
