//! One pure step: a run, and what is true of it now, give the run as it is to be recorded.

use jiff::Timestamp;
use runtime_core::{
    Run, RunState,
    run::{Cause, Reason, Report, Verdict},
};

/// What is true where a target says nothing more.
pub(super) fn lost() -> Verdict {
    let cause = Cause::new(Reason::Lost, "the target stopped reporting");
    Verdict { state: RunState::Error, cause: Some(cause), ..Verdict::default() }
}

/// Brings a run up to what is true now. Returns whether anything changed. A verdict that comes late, twice or out of
/// order changes nothing that it should not: no run goes back, and none leaves its end.
pub(super) fn reduce(run: &mut Run, verdict: &Verdict, started: Timestamp, now: Timestamp) -> bool {
    let to = target_state(run.state(), verdict);
    if run.state().is_terminal() || !run.state().may_become(to) {
        return false;
    }
    if to.is_terminal() && run.status.start_time.is_none() && verdict.exit_code.is_some() {
        run.status.start_time = Some(started);
    }
    if !run.transition(to, now).unwrap_or(false) {
        return say_trouble(run, verdict);
    }
    say_trouble(run, verdict);
    if to.is_terminal() {
        if let Some(report) = &verdict.report {
            take_report(run, report);
        }
        run.status.exit_code = verdict.exit_code;
        run.status.cause = match to {
            RunState::Aborted => Some(Cause::new(Reason::Aborted, "it was stopped on request")),
            _ => verdict.cause.clone(),
        };
        run.status.error = run.status.cause.as_ref().map(|cause| cause.message.clone());
    }
    true
}

/// Keeps what is wrong with a run that has not ended, as long as it is. Whether that changed.
fn say_trouble(run: &mut Run, verdict: &Verdict) -> bool {
    let new = !run.state().is_terminal() && run.state() == verdict.state && run.status.cause != verdict.cause;
    if new {
        run.status.cause.clone_from(&verdict.cause);
    }
    new
}

/// What was asked to stop and then failed was stopped: a program that is told to end may well end badly.
fn target_state(from: RunState, verdict: &Verdict) -> RunState {
    match (from, verdict.state) {
        (RunState::Aborting, RunState::Error) => RunState::Aborted,
        (_, to) => to,
    }
}

fn take_report(run: &mut Run, report: &Report) {
    run.status.results.extend(report.results.clone());
    run.status.artifacts.clone_from(&report.artifacts);
    run.status.iterations.clone_from(&report.iterations);
    run.metadata.labels.extend(report.labels.clone());
    run.metadata.annotations.extend(report.annotations.clone());
    for note in &report.notes {
        add_note(run, note);
    }
}

/// Keeps a note, once.
pub(super) fn add_note(run: &mut Run, note: &str) -> bool {
    let new = !run.status.notes.iter().any(|known| known == note);
    if new {
        run.status.notes.push(note.to_owned());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(state: RunState) -> Verdict {
        Verdict {
            state,
            exit_code: Some(1),
            cause: Some(Cause::new(Reason::ExitCode, "1")),
            ..Verdict::default()
        }
    }

    #[test]
    fn no_run_goes_back_or_leaves_its_end() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::default();
        assert!(reduce(&mut run, &verdict(RunState::Running), now, now));
        assert!(!reduce(&mut run, &verdict(RunState::Pending), now, now));
        assert!(reduce(&mut run, &verdict(RunState::Error), now, now));
        assert_eq!(run.status.error.as_deref(), Some("1"));
        let end = run.clone();
        for state in RunState::ALL {
            assert!(!reduce(&mut run, &verdict(state), now, now), "{state}");
        }
        assert_eq!(run, end);
    }

    #[test]
    fn a_failure_after_a_request_to_stop_is_a_stop() {
        let now = Timestamp::UNIX_EPOCH;
        for (seen, is) in [(RunState::Error, RunState::Aborted), (RunState::Completed, RunState::Completed)] {
            let mut run = Run::default();
            run.transition(RunState::Running, now).unwrap();
            run.transition(RunState::Aborting, now).unwrap();
            assert!(!reduce(&mut run, &verdict(RunState::Running), now, now));
            assert!(reduce(&mut run, &verdict(seen), now, now));
            assert_eq!(run.state(), is);
        }
    }
}
