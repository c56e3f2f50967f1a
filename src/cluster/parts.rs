//! Pure: the pods of a run that are not its main one, as a scheduler and workers are: how they are, and what is wrong.

use runtime_core::{
    plan::Role,
    run::Cause,
    target::{Exit, Part, Phase},
};

use super::{
    cause,
    observe::{exit, waits_for},
    seen::{PodSeen, Seen, State},
};

const DELETED: &str = "its pod was deleted";

/// The parts of a run beside its main one, services first. A worker that ended is none any more: whoever made it makes
/// another one.
pub(super) fn of(seen: &Seen) -> Vec<Part> {
    let of_role = |role: Role| {
        let pods = seen.pods.values().filter(move |pod| pod.role == role);
        pods.filter_map(move |pod| {
            let phase = if role == Role::Service { service(pod) } else { worker(pod) }?;
            Some(Part { name: name(pod), role, phase })
        })
    };
    of_role(Role::Service).chain(of_role(Role::Worker)).collect()
}

/// Of several pods of a part each has a name of its own: with the letters that its pod's ends with.
pub(super) fn name(pod: &PodSeen) -> String {
    match (pod.role, pod.part.as_str()) {
        (_, "") => pod.name.clone(),
        (Role::Service, part) => part.to_owned(),
        (_, part) => {
            format!("{part}-{}", &pod.name[pod.name.floor_char_boundary(pod.name.len().saturating_sub(5))..])
        }
    }
}

/// A service that ended has forgotten what it knew, also where it is started again.
fn service(pod: &PodSeen) -> Option<Phase> {
    match (&pod.main.before, &pod.main.state) {
        (ended @ State::Ended { .. }, _) | (_, ended @ State::Ended { .. }) => {
            let State::Ended { code, signal, reason, message, .. } = ended else { return None };
            if pod.deleted.is_some() {
                return Some(Phase::Ended(Exit::Lost(DELETED.to_owned())));
            }
            Some(Phase::Ended(match exit(pod, *code, *signal, reason, message) {
                // Well or not, it is missed.
                Exit::Code(0) => Exit::Lost("exit code 0".to_owned()),
                exit => exit,
            }))
        }
        (_, State::Running { .. }) if pod.gone => Some(Phase::Ended(Exit::Lost(DELETED.to_owned()))),
        (_, State::Running { .. }) => Some(Phase::Running),
        _ if pod.gone => None,
        _ => Some(Phase::Waiting(waits_for(pod))),
    }
}

fn worker(pod: &PodSeen) -> Option<Phase> {
    match &pod.main.state {
        _ if pod.gone => None,
        State::Ended { .. } => None,
        State::Running { .. } => Some(Phase::Running),
        _ => Some(Phase::Waiting(waits_for(pod))),
    }
}

/// Whether something ended that the run cannot go on without.
pub(super) fn lost_service(parts: &[Part]) -> bool {
    parts.iter().any(|part| part.role == Role::Service && matches!(part.phase, Phase::Ended(_)))
}

/// What is wrong with the parts, services first.
pub(super) fn trouble(seen: &Seen) -> Option<Cause> {
    let of_role = |role: Role| seen.pods.values().filter(move |pod| pod.role == role && !pod.gone);
    let mut pods = of_role(Role::Service).chain(of_role(Role::Worker));
    pods.find_map(|pod| {
        let warnings = || {
            let said = seen.warnings.iter().filter(|(_, warning)| warning.about == pod.name);
            cause::of_warning(said.max_by_key(|(_, warning)| warning.time)?)
        };
        let cause = match &pod.main.state {
            State::Running { .. } => cause::of_running(pod),
            State::Ended { .. } => None,
            _ => cause::of_waiting(pod).or_else(warnings),
        }?;
        Some(Cause { message: format!("{}: {}", name(pod), cause.message), ..cause })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runtime_core::run::Reason;

    use super::*;
    use crate::cluster::seen::ContainerSeen;

    fn seen(role: Role, state: State, before: State) -> Seen {
        let main = ContainerSeen { state, before, ..ContainerSeen::default() };
        let pod = PodSeen { name: "x-1".into(), part: "x".into(), role, main, ..PodSeen::default() };
        Seen { pods: [("x-1".to_owned(), Arc::new(pod))].into(), ..Seen::default() }
    }

    fn ended(code: i32) -> State {
        State::Ended { code, signal: 0, reason: "Error".into(), message: String::new(), since: None }
    }

    fn running() -> State {
        State::Running { since: None }
    }

    #[test]
    fn a_service_that_was_started_again_has_ended() {
        for (state, before, lost) in [
            (running(), State::None, false),
            (running(), ended(0), true),
            (ended(1), State::None, true),
            (State::None, State::None, false),
        ] {
            let parts = of(&seen(Role::Service, state.clone(), before.clone()));
            assert_eq!((parts[0].name.as_str(), lost_service(&parts)), ("x", lost), "{state:?} {before:?}");
        }
    }

    #[test]
    fn workers_come_and_go() {
        assert_eq!(of(&seen(Role::Worker, running(), ended(1)))[0].phase, Phase::Running);
        assert!(of(&seen(Role::Worker, ended(1), State::None)).is_empty());
        let main = seen(Role::Main, running(), State::None);
        assert!(of(&main).is_empty() && main.pod().is_some());
        assert!(seen(Role::Worker, running(), State::None).pod().is_none());
    }

    #[test]
    fn what_is_wrong_with_a_part_names_it() {
        let waiting = State::Waiting { reason: "ErrImagePull".into(), message: "no such image".into() };
        let cause = trouble(&seen(Role::Service, waiting, State::None)).unwrap();
        assert_eq!(cause.reason, Reason::ImagePull);
        assert!(cause.message.starts_with("x: the image "), "{}", cause.message);
        assert!(trouble(&seen(Role::Service, running(), State::None)).is_none());
    }
}
