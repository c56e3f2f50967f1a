//! One pure step: a run, and what is true of it now, give the run as it is to be recorded.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runtime_core::{
    Run, RunState, labels,
    run::{Cause, Reason, Report, Verdict},
};

use super::retry;

/// What is true where a target says nothing more.
pub(super) fn lost() -> Verdict {
    let cause = Cause::new(Reason::Lost, "the target stopped reporting");
    Verdict { state: RunState::Error, cause: Some(cause), ..Verdict::default() }
}

/// What a verdict on the attempt that goes on makes of its run: it goes on, waits for another attempt, or ends, once.
/// Returns whether anything changed.
pub(super) fn step(
    run: &mut Run,
    verdict: &Verdict,
    log_end: u64,
    started: Timestamp,
    now: Timestamp,
) -> bool {
    // The attempt has ended, and the next one has not begun: what comes is late.
    if run.state().is_terminal() || run.state() == RunState::PendingRetry {
        return false;
    }
    // These are decided here: a kind that saw them would have a run wait for nothing.
    if matches!(verdict.state, RunState::Created | RunState::PendingRetry | RunState::Aborting) {
        return false;
    }
    let changed = retry::again(run, verdict, log_end, started, now) || reduce(run, verdict, started, now);
    if run.state().is_terminal() {
        retry::close(run, log_end, now);
    }
    changed
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
    let moved = run.transition(to, now).unwrap_or(false);
    let reported = verdict.report.as_ref().is_some_and(|report| take_report(run, report));
    let troubled = say_trouble(run, verdict);
    if !moved {
        if reported {
            run.status.last_update = Some(now);
        }
        return reported || troubled;
    }
    if to.is_terminal() {
        run.status.exit_code = verdict.exit_code;
        run.status.cause = match to {
            RunState::Aborted => Some(Cause::new(Reason::Aborted, "it was stopped on request")),
            _ => verdict.cause.clone(),
        };
        run.status.error = run.status.cause.as_ref().map(|cause| cause.message.clone());
    }
    true
}

/// Keeps what is wrong with a run that has not ended, as long as it is: also with one that is to stop and cannot be
/// stopped. Whether that changed.
fn say_trouble(run: &mut Run, verdict: &Verdict) -> bool {
    let state = run.state();
    let of_now = state == verdict.state || state == RunState::Aborting;
    let new = !state.is_terminal() && of_now && run.status.cause != verdict.cause;
    if new {
        run.status.cause.clone_from(&verdict.cause);
    }
    new
}

/// What was asked to stop and then failed was stopped: a program that is told to end may well end badly. Until then it
/// stays what it is.
fn target_state(from: RunState, verdict: &Verdict) -> RunState {
    match (from, verdict.state) {
        (RunState::Aborting, RunState::Error) => RunState::Aborted,
        (RunState::Aborting, to) if !to.is_terminal() => RunState::Aborting,
        (_, to) => to,
    }
}

/// Puts on the run what its code says, on its way or at its end. Returns whether that is news.
fn take_report(run: &mut Run, report: &Report) -> bool {
    let mut changed = false;
    for (name, value) in &report.results {
        if run.status.results.get(name) != Some(value) {
            run.status.results.insert(name.clone(), value.clone());
            changed = true;
        }
    }
    changed |= replace(&mut run.status.artifacts, &report.artifacts);
    changed |= replace(&mut run.status.iterations, &report.iterations);
    let (mut kept, metadata) = (Vec::new(), &mut run.metadata);
    for (is, with) in
        [(&mut metadata.labels, &report.labels), (&mut metadata.annotations, &report.annotations)]
    {
        changed |= extend(is, with, &mut kept);
    }
    for name in kept {
        changed |= add_note(run, &format!("{name:?} says what the run is: its code cannot change it"));
    }
    for note in &report.notes {
        changed |= add_note(run, note);
    }
    changed
}

fn replace<T: Clone + PartialEq>(is: &mut Vec<T>, to: &[T]) -> bool {
    let changed = *is != to;
    if changed {
        *is = to.to_vec();
    }
    changed
}

/// Adds what is new. What whoever follows the run goes by stays as it is, and is named in `kept`.
fn extend(
    is: &mut BTreeMap<String, String>,
    with: &BTreeMap<String, String>,
    kept: &mut Vec<String>,
) -> bool {
    let news = with.iter().filter(|(name, value)| is.get(*name) != Some(*value));
    let (ours, news): (Vec<_>, Vec<_>) =
        news.partition(|(name, _)| name.starts_with(labels::PREFIX) || *name == "kind");
    kept.extend(ours.into_iter().map(|(name, _)| name.clone()));
    let changed = !news.is_empty();
    is.extend(news.into_iter().map(|(name, value)| (name.clone(), value.clone())));
    changed
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
mod model;

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
    fn code_does_not_change_what_its_run_is() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::default();
        run.metadata.labels.insert("kind".to_owned(), "job".to_owned());
        run.metadata.annotations.insert(labels::NAMESPACE.to_owned(), "ml".to_owned());
        let (labels_set, annotations) = (
            [("kind", "build"), ("team", "a")].map(|(name, value)| (name.to_owned(), value.to_owned())),
            [(labels::NAMESPACE.to_owned(), "kube-system".to_owned())],
        );
        let report =
            Report { labels: labels_set.into(), annotations: annotations.into(), ..Report::default() };
        let verdict = Verdict { report: Some(report), ..verdict(RunState::Running) };
        assert!(reduce(&mut run, &verdict, now, now));
        assert!(!reduce(&mut run, &verdict, now, now), "it is said once");
        let labels_are = &run.metadata.labels;
        assert_eq!((labels_are["kind"].as_str(), labels_are["team"].as_str()), ("job", "a"));
        assert_eq!(run.metadata.annotations[labels::NAMESPACE], "ml");
        assert_eq!(run.status.notes.len(), 2, "{:?}", run.status.notes);
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
    fn what_the_code_says_on_its_way_is_on_the_run_once() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::default();
        let mut said = verdict(RunState::Running);
        assert!(reduce(&mut run, &said, now, now));
        let mut report = Report::default();
        report.results.insert("a".to_owned(), 1.into());
        report.labels.insert("b".to_owned(), "c".to_owned());
        said.report = Some(report);
        assert!(reduce(&mut run, &said, now, now));
        assert_eq!((&run.status.results["a"], run.metadata.labels["b"].as_str()), (&1.into(), "c"));
        assert!(!reduce(&mut run, &said, now, now), "it is no news twice");
        run.transition(RunState::Completed, now).unwrap();
        said.report.as_mut().unwrap().results.insert("a".to_owned(), 2.into());
        assert!(!reduce(&mut run, &said, now, now), "nothing comes after the end");
    }

    #[test]
    fn a_failure_after_a_request_to_stop_is_a_stop() {
        let now = Timestamp::UNIX_EPOCH;
        for (seen, is) in [(RunState::Error, RunState::Aborted), (RunState::Completed, RunState::Completed)] {
            let mut run = Run::default();
            run.transition(RunState::Running, now).unwrap();
            run.transition(RunState::Aborting, now).unwrap();
            // What is in the way is said meanwhile.
            assert!(reduce(&mut run, &verdict(RunState::Running), now, now));
            assert_eq!((run.state(), run.status.cause.is_some()), (RunState::Aborting, true));
            assert!(reduce(&mut run, &verdict(seen), now, now));
            assert_eq!(run.state(), is);
        }
    }
}
