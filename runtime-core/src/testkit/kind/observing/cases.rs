//! All that can be seen of a run, and what must be said of each end.

use std::time::Duration;

use super::Said;
use crate::{
    RunState,
    plan::Role,
    run::{Cause, CodeError, Reason, Report},
    target::{Exit, Observation, Part, Phase, StartError},
};

/// What a target says of a process that it lost.
pub(super) const LOST: &str = "the machine went down";

/// A run whose main process ended so.
pub(super) fn ended(main: &str, exit: Exit) -> Observation {
    Observation {
        parts: vec![part(main, Role::Main, Phase::Ended(exit))],
        ended: true,
        ..Observation::default()
    }
}

fn part(name: &str, role: Role, phase: Phase) -> Part {
    Part { name: name.to_owned(), role, phase }
}

/// What the code said.
pub(super) fn report(state: &str, error: Option<CodeError>) -> Report {
    Report { state: state.to_owned(), error, ..Report::default() }
}

fn code_error() -> CodeError {
    CodeError {
        class: "ValueError".to_owned(),
        message: "no such column".to_owned(),
        file: Some("train.py".to_owned()),
        line: Some(7),
        traceback: "Traceback ...".to_owned(),
    }
}

fn start_error(environment: bool) -> StartError {
    let help = Some("write a name that is there".to_owned());
    StartError { environment, message: "there is no package `nopkg`".to_owned(), help }
}

fn failed(reason: Reason, words: &'static [&'static str], exit_code: Option<i32>) -> Said {
    Said { state: RunState::Error, reason: Some(reason), words, exit_code }
}

/// Each way in which the main process can end, alone.
pub(super) fn exits() -> Vec<(Exit, Said)> {
    let completed = Said { state: RunState::Completed, reason: None, words: &[], exit_code: Some(0) };
    let aborted =
        Said { state: RunState::Aborted, reason: Some(Reason::Aborted), words: &[], exit_code: None };
    vec![
        (Exit::Code(0), completed),
        (Exit::Code(3), failed(Reason::ExitCode, &["3"], Some(3))),
        (Exit::Code(127), failed(Reason::ExitCode, &["127", "not found"], Some(127))),
        (Exit::Signal(9), failed(Reason::Signal, &["9", "SIGKILL"], Some(137))),
        (Exit::Signal(11), failed(Reason::Signal, &["11", "SIGSEGV"], Some(139))),
        (Exit::Signal(40), failed(Reason::Signal, &["signal 40"], Some(168))),
        (
            Exit::OutOfMemory { limit: Some(64 << 20) },
            failed(Reason::OutOfMemory, &["64Mi", "memory"], Some(137)),
        ),
        (Exit::OutOfMemory { limit: None }, failed(Reason::OutOfMemory, &["memory"], Some(137))),
        (Exit::Stopped, aborted),
        (Exit::Panic("index out of range".to_owned()), failed(Reason::Panic, &["index out of range"], None)),
        (Exit::Failed("too large".to_owned()), failed(Reason::Exception, &["too large"], None)),
        (
            Exit::For(Box::new(Cause::new(Reason::Evicted, "it was evicted from node-3"))),
            failed(Reason::Evicted, &["node-3"], None),
        ),
        (Exit::Lost(LOST.to_owned()), failed(Reason::Lost, &[LOST], None)),
    ]
}

/// Ends that more than the exit decides.
pub(super) fn special(main: &str) -> Vec<(Observation, Said)> {
    let limit = Some(Duration::from_secs(90));
    let stopped = ended(main, Exit::Stopped);
    let late = Observation { deadline: limit, ..stopped.clone() };
    let with_service = |exit: Exit| {
        let mut seen = stopped.clone();
        seen.parts.push(part("scheduler", Role::Service, Phase::Ended(exit)));
        seen
    };
    let raised =
        |exit: Exit| Observation { report: Some(report("error", Some(code_error()))), ..ended(main, exit) };
    let not_started = |environment| Observation {
        start_error: Some(start_error(environment)),
        ended: true,
        ..Observation::default()
    };
    let aborted =
        || Said { state: RunState::Aborted, reason: Some(Reason::Aborted), words: &[], exit_code: None };
    let completed = |exit_code| Said { state: RunState::Completed, reason: None, words: &[], exit_code };
    let mut served = ended(main, Exit::Code(0));
    served.parts.push(part("scheduler", Role::Service, Phase::Ended(Exit::Stopped)));
    let said =
        Observation { report: Some(report("completed", None)), ..ended(main, Exit::Lost(LOST.to_owned())) };
    vec![
        (late, failed(Reason::DeadlineExceeded, &["90s"], None)),
        (with_service(Exit::Code(2)), failed(Reason::ServiceEnded, &["scheduler", "2"], None)),
        (with_service(Exit::Signal(11)), failed(Reason::ServiceEnded, &["scheduler", "SIGSEGV"], None)),
        (
            with_service(Exit::Lost("it ended".to_owned())),
            failed(Reason::ServiceEnded, &["scheduler", "it ended"], None),
        ),
        (with_service(Exit::Stopped), aborted()),
        (served, completed(Some(0))),
        // The code had said its last word before it was lost.
        (said, completed(None)),
        (
            raised(Exit::Code(1)),
            failed(Reason::Exception, &["train.py:7", "ValueError", "no such column"], Some(1)),
        ),
        (not_started(true), failed(Reason::Environment, &["nopkg", "write a name"], None)),
        (not_started(false), failed(Reason::StartFailed, &["nopkg", "write a name"], None)),
    ]
}

/// Every combination of what can be seen, whether it makes sense or not.
pub(super) fn everything(main: &str) -> Vec<Observation> {
    let mut phases: Vec<Option<Phase>> =
        vec![None, Some(Phase::Waiting("its turn".to_owned())), Some(Phase::Running), Some(Phase::Ready)];
    phases.extend(exits().into_iter().map(|(exit, _)| Some(Phase::Ended(exit))));
    let reports = [
        None,
        Some(report("running", None)),
        Some(report("completed", None)),
        Some(report("error", Some(code_error()))),
    ];
    let starts = [None, Some(start_error(true)), Some(start_error(false))];
    let mut all = Vec::new();
    for of_main in &phases {
        for of_service in &phases {
            let phases = [(main, Role::Main, of_main), ("scheduler", Role::Service, of_service)];
            let mut parts: Vec<Part> = phases
                .into_iter()
                .filter_map(|(name, role, phase)| phase.clone().map(|phase| part(name, role, phase)))
                .collect();
            // A worker's end is the target's to mend: it decides nothing.
            parts.push(part("worker-0", Role::Worker, Phase::Ended(Exit::Signal(9))));
            for report in &reports {
                for start_error in &starts {
                    for deadline in [None, Some(Duration::from_secs(90))] {
                        for ended in [false, true] {
                            let (parts, report, start_error) =
                                (parts.clone(), report.clone(), start_error.clone());
                            let trouble = None;
                            let said = None;
                            all.push(Observation {
                                parts,
                                report,
                                said,
                                deadline,
                                start_error,
                                trouble,
                                ended,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}
