//! Pure: what is seen of a run's objects -> how the run is. The same whatever the order in which it was seen.

use runtime_core::{
    plan::Role,
    run::{Cause, Reason, Report},
    serde_json,
    target::{Exit, Observation, Part, Phase},
};

use super::{
    cause, parts,
    seen::{JobSeen, PodSeen, Seen, State},
};

/// How a run is, and whether nothing more is to come.
pub(super) fn observe(seen: &Seen) -> Observation {
    let mut observation = Observation::default();
    let phase = match seen.pod() {
        Some(pod) => of_pod(pod, seen, &mut observation),
        None => without_pod(seen, &mut observation),
    };
    observation.ended = matches!(phase, Phase::Ended(_));
    if observation.ended {
        observation.trouble = None;
    }
    if !observation.ended && observation.trouble.is_none() {
        observation.trouble = parts::trouble(seen);
    }
    observation.parts = parts::of(seen);
    observation.parts.insert(0, Part { name: "main".to_owned(), role: Role::Main, phase });
    observation
}

fn ended(cause: Cause) -> Phase {
    Phase::Ended(Exit::For(Box::new(cause)))
}

fn without_pod(seen: &Seen, observation: &mut Observation) -> Phase {
    match &seen.job {
        Some(JobSeen { kind, failed: Some((reason, message)), .. }) => {
            ended(cause::of_job(kind, reason, message))
        }
        Some(JobSeen { complete: true, .. }) => Phase::Ended(Exit::Code(0)),
        Some(JobSeen { kind, gone: true, .. }) => {
            Phase::Ended(Exit::Lost(format!("its {kind} was deleted before it had a pod")))
        }
        Some(JobSeen { suspended: true, .. }) => Phase::Waiting("its turn in the queue".to_owned()),
        _ => {
            observation.trouble = cause::of_warnings(seen);
            Phase::Waiting("its pod".to_owned())
        }
    }
}

/// Whether an end is concluded from what is not there: then the Job may know better, and is asked first.
pub(super) fn is_guessed(seen: &Seen) -> bool {
    seen.pod().is_none_or(|pod| (pod.gone || pod.given_up) && !matches!(pod.main.state, State::Ended { .. }))
}

fn of_pod(pod: &PodSeen, seen: &Seen, observation: &mut Observation) -> Phase {
    let overdue = seen.job.as_ref().and_then(|job| job.failed.as_ref());
    let overdue = overdue.filter(|(reason, _)| reason == "DeadlineExceeded");
    if let State::Ended { code, signal, reason, message, .. } = &pod.main.state {
        observation.report = report(message);
        if observation.report.is_none() && !message.trim().is_empty() {
            observation.said = Some(message.clone());
        }
        return match overdue {
            // It was told to stop, and did.
            Some((reason, message)) if *code != 0 => ended(cause::of_job("Job", reason, message)),
            _ => Phase::Ended(exit(pod, *code, *signal, reason, message)),
        };
    }
    if let Some(cause) = cause::of_end(pod) {
        return replaced(pod, seen, cause, observation);
    }
    if pod.gone || pod.given_up {
        if let Some((reason, message)) = overdue {
            return ended(cause::of_job("Job", reason, message));
        }
        // Its Job has seen what was missed here.
        if seen.job.as_ref().is_some_and(|job| job.complete) {
            return Phase::Ended(Exit::Code(0));
        }
    }
    if pod.given_up {
        return replaced(pod, seen, cause::of_given_up(pod), observation);
    }
    if pod.gone {
        let message = match pod.deleted {
            Some(_) => "its pod was deleted while it ran",
            None => "its pod is gone, and its end was not seen",
        };
        return replaced(pod, seen, Cause::new(Reason::Lost, message), observation);
    }
    let failed_init = pod.init.iter().find_map(|container| match &container.state {
        State::Ended { code, message, .. } if *code != 0 && pod.phase == "Failed" => {
            Some((container, code, message))
        }
        _ => None,
    });
    if let Some((container, code, message)) = failed_init {
        let text = format!(
            "its container `{}`, which comes first, ended with exit code {code}: {message}",
            container.name
        );
        return ended(Cause::new(Reason::StartFailed, text.trim_end_matches([':', ' '])));
    }
    match &pod.main.state {
        _ if pod.phase == "Succeeded" => Phase::Ended(Exit::Code(0)),
        State::Running { .. } if pod.phase == "Failed" => Phase::Ended(Exit::Lost(format!(
            "its pod failed, and its container was not seen to end: {}",
            if pod.message.is_empty() { &pod.reason } else { &pod.message }
        ))),
        State::Running { .. } => {
            observation.trouble = cause::of_running(pod);
            Phase::Running
        }
        _ if pod.phase == "Failed" => {
            let said = if pod.message.is_empty() { &pod.reason } else { &pod.message };
            ended(Cause::new(Reason::StartFailed, format!("its pod failed: {said}")))
        }
        _ => {
            observation.trouble = cause::of_waiting(pod).or_else(|| cause::of_warnings(seen));
            Phase::Waiting(waits_for(pod))
        }
    }
}

/// A pod that had to go may have a successor, where its Job makes one.
fn replaced(pod: &PodSeen, seen: &Seen, cause: Cause, observation: &mut Observation) -> Phase {
    let next = seen.job.as_ref().filter(|job| !job.gone && job.failed.is_none());
    match next {
        // Only for these does a Job of ours make another pod, and only where it may.
        Some(job) if job.repeats && pod.disrupted.is_some() => {
            observation.trouble = Some(cause);
            Phase::Waiting("another pod".to_owned())
        }
        _ => ended(cause),
    }
}

pub(super) fn waits_for(pod: &PodSeen) -> String {
    if pod.node.is_empty() {
        return "a node".to_owned();
    }
    let first = pod.init.iter().find(|container| !matches!(container.state, State::Ended { code: 0, .. }));
    match (first, &pod.main.state) {
        (Some(first), _) => format!("its container `{}` on {}", first.name, pod.node),
        (None, State::Waiting { reason, .. })
            if reason == "ContainerCreating" || reason == "PodInitializing" =>
        {
            format!("its container on {}", pod.node)
        }
        _ => format!("the image {} on {}", pod.image, pod.node),
    }
}

pub(super) fn exit(pod: &PodSeen, code: i32, signal: i32, reason: &str, message: &str) -> Exit {
    match reason {
        "OOMKilled" => Exit::OutOfMemory { limit: pod.memory },
        "ContainerCannotRun" | "StartError" | "RunContainerError" | "CreateContainerError" => {
            let what = format!("its program cannot be started: {message}");
            let cause = Cause::new(Reason::StartFailed, what.trim_end_matches([':', ' ']));
            Exit::For(Box::new(cause.help("check `spec.command` and the image: the program must be in it")))
        }
        "DeadlineExceeded" => Exit::For(Box::new(cause::of_job("Job", reason, message))),
        // What a kubelet says of a container that it lost, and of one that somebody made it stop.
        "ContainerStatusUnknown" => Exit::Lost(format!("its node cannot say how it ended: {message}")),
        _ => by_code(pod, code, signal),
    }
}

/// What the code of a container says, that its reason does not.
fn by_code(pod: &PodSeen, code: i32, signal: i32) -> Exit {
    match cause::of_end(pod) {
        Some(cause) if code != 0 => Exit::For(Box::new(cause)),
        _ if pod.deleted.is_some() && (code > 128 || pod.stays) => {
            Exit::For(Box::new(Cause::new(Reason::Lost, "its pod was deleted while it ran")))
        }
        _ if signal > 0 => Exit::Signal(signal),
        _ if (129..160).contains(&code) => Exit::Signal(code - 128),
        _ => Exit::Code(code),
    }
}

/// What the agent wrote as its last word.
fn report(message: &str) -> Option<Report> {
    let begins = message.trim_start().starts_with('{');
    begins
        .then(|| serde_json::from_str::<Report>(message).ok())
        .flatten()
        .filter(|report| !report.state.is_empty())
}
