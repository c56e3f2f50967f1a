//! From what is seen to what is true: the reading that batch kinds share.

use super::{Cause, Reason, Report, RunState};
use crate::{
    plan::Role,
    target::{Exit, Observation, Phase},
};

/// What is true of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Its state.
    pub state: RunState,
    /// Why it failed, where it did; until it ends, what is wrong at the moment.
    pub cause: Option<Cause>,
    /// The exit code, where there is one.
    pub exit_code: Option<i32>,
    /// What the code reported.
    pub report: Option<Report>,
    /// What it waits for, where it does.
    pub waiting: Option<String>,
}

/// Reads a run whose main process is the run: pure, and the same for every batch kind on this machine.
pub fn observe_main(seen: &Observation) -> Verdict {
    let mut verdict =
        Verdict { report: seen.report.clone(), cause: seen.trouble.clone(), ..Verdict::default() };
    let main = seen.parts.iter().find(|part| part.role == Role::Main).map(|part| &part.phase);
    if seen.ended {
        verdict.cause = None;
        match (&seen.start_error, main) {
            (Some(error), _) => {
                let reason = if error.environment { Reason::Environment } else { Reason::StartFailed };
                verdict.state = RunState::Error;
                verdict.cause =
                    Some(Cause { reason, message: error.message.clone(), help: error.help.clone() });
            }
            (None, Some(Phase::Ended(exit))) => end(&mut verdict, exit, seen),
            (None, _) => {
                end(&mut verdict, &Exit::Lost("it is gone, and its end was not seen".to_owned()), seen)
            }
        }
        return verdict;
    }
    match main {
        None => verdict.state = RunState::Pending,
        Some(Phase::Waiting(what)) => {
            verdict.state = RunState::Pending;
            verdict.waiting = Some(what.clone());
        }
        Some(Phase::Running | Phase::Ready) => verdict.state = RunState::Running,
        // The end counts when nothing of the run is left.
        Some(Phase::Ended(_)) => verdict.state = RunState::Running,
    }
    verdict
}

fn end(verdict: &mut Verdict, exit: &Exit, seen: &Observation) {
    verdict.exit_code = match exit {
        Exit::Code(code) => Some(*code),
        Exit::Signal(signal) => Some(128 + signal),
        Exit::OutOfMemory { .. } => Some(137),
        _ => None,
    };
    let failed = |role: Role| {
        seen.parts.iter().find(move |part| {
            let well = matches!(part.phase, Phase::Ended(Exit::Stopped | Exit::Code(0)));
            part.role == role && !well && matches!(part.phase, Phase::Ended(_))
        })
    };
    // A worker is replaced as often as it may be; only then does its end stop the others.
    let worker = || failed(Role::Worker).filter(|_| *exit == Exit::Stopped);
    let service = failed(Role::Service).or_else(worker);
    let own = exit_cause(exit, verdict.report.as_ref());
    verdict.state = RunState::Error;
    verdict.cause = match (seen.deadline, service) {
        (Some(limit), _) => Some(
            Cause::new(Reason::DeadlineExceeded, format!("it was stopped after its time limit of {limit:?}"))
                .help("raise the limit (`--timeout`, or `state_thresholds.executing`), or make it faster"),
        ),
        // What ended well did so before it missed the service.
        (None, Some(service)) if own.is_some() => Some(Cause::new(
            Reason::ServiceEnded,
            format!("{}, which it needs, ended first: {}", service.name, describe_phase(&service.phase)),
        )),
        (None, _) if *exit == Exit::Stopped => {
            verdict.state = RunState::Aborted;
            own
        }
        (None, _) if own.is_none() => {
            verdict.state = RunState::Completed;
            None
        }
        (None, _) => own,
    };
}

fn exit_cause(exit: &Exit, report: Option<&Report>) -> Option<Cause> {
    let error = report.and_then(|report| report.error.as_ref());
    match (exit, error) {
        (Exit::Code(_), Some(error)) => {
            let place = match (&error.file, error.line) {
                (Some(file), Some(line)) => format!("{file}:{line}: "),
                (Some(file), None) => format!("{file}: "),
                _ => String::new(),
            };
            let text = match (error.class.as_str(), error.message.trim()) {
                ("", message) => message.to_owned(),
                (class, "") => class.to_owned(),
                (class, message) => format!("{class}: {message}"),
            };
            let reason = if error.class == "MemoryError" { Reason::OutOfMemory } else { Reason::Exception };
            let cause = Cause::new(reason, format!("{place}{text}"));
            Some(if reason == Reason::OutOfMemory {
                cause.help("raise resources.limits.memory, or use less")
            } else {
                cause
            })
        }
        (Exit::Code(0), None) => None,
        (Exit::Code(code), None) => {
            let cause = Cause::new(Reason::ExitCode, format!("it ended with exit code {code}"));
            Some(match code {
                126 => cause
                    .help("126: the program was found but could not be executed; check its mode and format"),
                127 => cause.help("127: a program was not found; check the command and PATH"),
                _ => cause,
            })
        }
        (Exit::Signal(signal), _) => {
            let cause = Cause::new(Reason::Signal, format!("it was ended by {}", signal_name(*signal)));
            Some(match signal {
                9 => cause.help("nobody here sent it: often the kernel's out-of-memory killer; see `dmesg`"),
                _ => cause,
            })
        }
        (Exit::OutOfMemory { limit }, _) => {
            let of =
                limit.map(|bytes| format!(" of {}", crate::pod::format_bytes(bytes))).unwrap_or_default();
            Some(
                Cause::new(Reason::OutOfMemory, format!("it needed more memory than its limit{of}"))
                    .help("raise resources.limits.memory, or use less"),
            )
        }
        (Exit::Stopped, _) => Some(Cause::new(Reason::Aborted, "it was stopped on request")),
        (Exit::Panic(message), _) => {
            Some(Cause::new(Reason::Panic, format!("the handler panicked: {message}")))
        }
        // What the code says of itself is nearer to the matter.
        (Exit::For(cause), error) => match error {
            Some(_) => exit_cause(&Exit::Code(1), report),
            None => Some((**cause).clone()),
        },
        (Exit::Failed(message), _) => Some(Cause::new(Reason::Exception, message.clone())),
        (Exit::Lost(what), error) => match report.map(|report| report.state.as_str()) {
            // The code had said the last word before its supervisor went away.
            Some("completed") if error.is_none() => None,
            Some("error") => exit_cause(&Exit::Code(1), report),
            _ => Some(Cause::new(Reason::Lost, what.clone())),
        },
    }
}

fn describe_phase(phase: &Phase) -> String {
    match phase {
        Phase::Ended(Exit::Code(code)) => format!("exit code {code}"),
        Phase::Ended(Exit::Signal(signal)) => signal_name(*signal),
        Phase::Ended(Exit::OutOfMemory { .. }) => "out of memory".to_owned(),
        Phase::Ended(Exit::Lost(what)) => what.clone(),
        Phase::Ended(Exit::For(cause)) => cause.message.clone(),
        Phase::Ended(_) => "gone".to_owned(),
        _ => "running".to_owned(),
    }
}

/// `signal 9 (SIGKILL)`.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run::CodeError, target::Part};

    fn seen(exit: Exit, report: Option<Report>) -> Observation {
        let part = Part { name: "main".into(), role: Role::Main, phase: Phase::Ended(exit) };
        Observation { parts: vec![part], report, ended: true, ..Observation::default() }
    }

    #[test]
    fn an_exit_is_named() {
        assert_eq!(observe_main(&seen(Exit::Code(0), None)).state, RunState::Completed);
        let verdict = observe_main(&seen(Exit::Signal(11), None));
        assert_eq!(verdict.exit_code, Some(139));
        assert!(verdict.cause.unwrap().message.contains("SIGSEGV"));
        let verdict = observe_main(&seen(Exit::OutOfMemory { limit: Some(64 << 20) }, None));
        let cause = verdict.cause.unwrap();
        assert_eq!(cause.reason, Reason::OutOfMemory);
        assert!(cause.message.contains("64Mi"), "{}", cause.message);
        assert_eq!(observe_main(&seen(Exit::Stopped, None)).state, RunState::Aborted);
    }

    #[test]
    fn what_the_code_reported_survives_a_lost_supervisor() {
        let lost = || Exit::Lost("its supervisor is gone".into());
        let said = |state: &str, error| Report { state: state.into(), error, ..Report::default() };
        assert_eq!(observe_main(&seen(lost(), Some(said("completed", None)))).state, RunState::Completed);
        assert_eq!(observe_main(&seen(lost(), Some(said("running", None)))).state, RunState::Error);
        let error = CodeError {
            class: "ValueError".into(),
            file: Some("a.py".into()),
            line: Some(3),
            ..Default::default()
        };
        let verdict = observe_main(&seen(lost(), Some(said("error", Some(error)))));
        assert_eq!(verdict.cause.unwrap().message, "a.py:3: ValueError");
    }

    #[test]
    fn the_end_counts_when_nothing_is_left() {
        let mut seen = seen(Exit::Code(0), None);
        seen.ended = false;
        assert_eq!(observe_main(&seen).state, RunState::Running);
    }
}
