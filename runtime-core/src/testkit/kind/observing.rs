//! Reading what is seen: total and pure, never early with an end, never without one, and every end has its name.

use super::Subject;
use crate::{
    Plan, RunState,
    plan::Role,
    run::{Cause, Reason, Report, Verdict},
    target::{Exit, Observation, Part, Phase},
};

mod cases;

/// What must be said of an end: the state, the reason, words of the message, the exit code.
struct Said {
    state: RunState,
    reason: Option<Reason>,
    words: &'static [&'static str],
    exit_code: Option<i32>,
}

/// Checks the kind's reading of all that can be seen of the sample's plan.
pub(super) fn check(subject: &Subject<'_>, plan: &Plan) {
    let main = match plan {
        Plan::Host(host) => host.main().map(|main| main.name.clone()).unwrap_or_default(),
        Plan::Cluster(_) => "main".to_owned(),
    };
    let all = cases::everything(&main);
    let verdicts: Vec<Verdict> = all.iter().map(|seen| subject.runtime.observe(seen)).collect();
    if subject.runtime.capability().batch {
        for (seen, verdict) in all.iter().zip(&verdicts) {
            sound(subject, seen, verdict);
        }
        named(subject, &main);
        carried(subject, &main);
    }
    // Backwards, and each twice: what was seen before must not matter.
    for (seen, verdict) in all.iter().zip(&verdicts).rev() {
        for _ in 0..2 {
            let again = subject.runtime.observe(seen);
            assert_eq!(
                again, *verdict,
                "{}: the reading depends on what was seen before: {seen:?}",
                subject.what
            );
        }
    }
}

/// What holds for whatever is seen.
fn sound(subject: &Subject<'_>, seen: &Observation, verdict: &Verdict) {
    let what = &subject.what;
    let state = verdict.state;
    assert_eq!(
        state.is_terminal(),
        seen.ended,
        "{what}: {state}, and the end was seen: {}; of {seen:?}",
        seen.ended
    );
    assert_eq!(verdict.report, seen.report, "{what}: what the code reported must not be lost");
    let failed = state == RunState::Error;
    assert_eq!(verdict.cause.is_some(), failed || state == RunState::Aborted, "{what}: {state} of {seen:?}");
    if let Some(cause) = &verdict.cause {
        assert!(!cause.message.is_empty(), "{what}: a cause must say something: {seen:?}");
    }
    let mut turned = seen.clone();
    turned.parts.reverse();
    let turned = subject.runtime.observe(&turned);
    let reason = |verdict: &Verdict| verdict.cause.as_ref().map(|cause| cause.reason);
    assert_eq!(
        (turned.state, reason(&turned), turned.exit_code),
        (state, reason(verdict), verdict.exit_code),
        "{what}: the order of the parts must not matter: {seen:?}"
    );
}

/// Each way to end is told from the others.
fn named(subject: &Subject<'_>, main: &str) {
    for (exit, said) in cases::exits() {
        let seen = cases::ended(main, exit);
        said.check(subject, &seen);
        // A report without an error adds nothing and hides nothing.
        if seen.parts[0].phase != Phase::Ended(Exit::Lost(cases::LOST.to_owned())) {
            said.check(subject, &Observation { report: Some(cases::report("completed", None)), ..seen });
        }
    }
    for (seen, said) in cases::special(main) {
        said.check(subject, &seen);
    }
}

impl Said {
    fn check(&self, subject: &Subject<'_>, seen: &Observation) {
        let verdict = subject.runtime.observe(seen);
        let what = &subject.what;
        let (reason, message) = match &verdict.cause {
            Some(cause) => {
                (Some(cause.reason), format!("{} {}", cause.message, cause.help.as_deref().unwrap_or("")))
            }
            None => (None, String::new()),
        };
        assert_eq!((verdict.state, reason), (self.state, self.reason), "{what}: {message:?} of {seen:?}");
        assert_eq!(verdict.exit_code, self.exit_code, "{what}: the exit code of {seen:?}");
        for word in self.words {
            assert!(message.contains(word), "{what}: {message:?} must say {word:?} of {seen:?}");
        }
    }
}

/// On the way: what it waits for, that it runs, that its end counts only when nothing is left.
fn carried(subject: &Subject<'_>, main: &str) {
    let seen = |phase: Phase| {
        let parts = vec![Part { name: main.to_owned(), role: Role::Main, phase }];
        subject.runtime.observe(&Observation { parts, ..Observation::default() })
    };
    let what = &subject.what;
    let waiting = seen(Phase::Waiting("a place to run".to_owned()));
    assert_eq!(waiting.state, RunState::Pending, "{what}: what waits is pending");
    assert_eq!(waiting.waiting.as_deref(), Some("a place to run"), "{what}: what it waits for is told");
    assert_eq!(
        subject.runtime.observe(&Observation::default()).state,
        RunState::Pending,
        "{what}: nothing seen yet"
    );
    for phase in [Phase::Running, Phase::Ready, Phase::Ended(Exit::Code(0)), Phase::Ended(Exit::Signal(9))] {
        let verdict = seen(phase.clone());
        assert_eq!(verdict.state, RunState::Running, "{what}: {phase:?}, and something of it may still run");
    }
    let trouble = Some(Cause::new(Reason::ImagePull, "the image cannot be pulled"));
    for phase in [Phase::Waiting("its image".to_owned()), Phase::Running] {
        let parts = vec![Part { name: main.to_owned(), role: Role::Main, phase }];
        let seen = Observation { parts, trouble: trouble.clone(), ..Observation::default() };
        let verdict = subject.runtime.observe(&seen);
        assert_eq!(verdict.cause, trouble, "{what}: what is wrong at the moment is said");
    }
    let report = Report { state: "running".to_owned(), ..Report::default() };
    let committed = Observation { report: Some(report), ..Observation::default() };
    assert!(subject.runtime.observe(&committed).report.is_some(), "{what}: a report on the way is not lost");
}
