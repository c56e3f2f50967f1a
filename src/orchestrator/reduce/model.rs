//! The reducer against a model of a run: whatever is seen, in whatever order, how often and with what missing, whenever
//! it is asked to stop, runs out of time or its orchestrator is lost.

use std::time::Duration;

use proptest::prelude::*;
use runtime_core::{
    run::{Backoff, Retry},
    serde_json,
};

use super::*;

/// What may happen next. Each may happen at any time.
#[derive(Clone, Debug)]
enum Step {
    /// The target sees something.
    Seen { state: RunState, reason: Reason, code: Option<i32>, result: Option<i64> },
    /// Somebody asks it to stop.
    Abort,
    /// It waited or ran too long, and was stopped for that.
    Overdue,
    /// The target has nothing more to say.
    Closed,
    /// The time of the next attempt has come.
    Again,
    /// Another orchestrator reads the record, and goes on with that.
    Reread,
}

fn any_step() -> impl Strategy<Value = Step> {
    let state = proptest::sample::select(&RunState::ALL[..]);
    let reason = proptest::sample::select(vec![
        Reason::ExitCode,
        Reason::Lost,
        Reason::NodeLost,
        Reason::OutOfMemory,
        Reason::ImagePull,
        Reason::DeadlineExceeded,
    ]);
    let code = proptest::option::of(0..4_i32);
    let result = proptest::option::of(0..3_i64);
    let seen = (state, reason, code, result).prop_map(|(state, reason, code, result)| Step::Seen {
        state,
        reason,
        code,
        result,
    });
    prop_oneof![
        8 => seen,
        1 => Just(Step::Abort),
        1 => Just(Step::Overdue),
        1 => Just(Step::Closed),
        2 => Just(Step::Again),
        1 => Just(Step::Reread),
    ]
}

/// A run, and what must be true of it.
struct Model {
    run: Run,
    now: Timestamp,
    /// Attempts that have begun.
    begun: usize,
    asked: bool,
    end: Option<Run>,
}

impl Model {
    fn new(retries: u32) -> Self {
        let mut run = Run::default();
        run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
        let backoff = Backoff { base_delay: Some("1s".into()), ..Backoff::default() };
        run.spec.retry =
            (retries > 0).then(|| Retry { backoff: Some(backoff.clone()), ..Retry::new(retries) });
        Self { run, now: Timestamp::UNIX_EPOCH, begun: 1, asked: false, end: None }
    }

    fn take(&mut self, happened: &Step) {
        self.now += Duration::from_secs(1);
        let before = self.run.clone();
        let verdict = match happened {
            Step::Seen { state, reason, code, result } => {
                let mut report = Report::default();
                report.results.extend(result.map(|value| ("x".to_owned(), value.into())));
                Some(Verdict {
                    state: *state,
                    cause: (*state != RunState::Completed)
                        .then(|| Cause::new(*reason, format!("{reason:?}"))),
                    exit_code: *code,
                    report: result.map(|_| report),
                    waiting: None,
                })
            }
            Step::Overdue => Some(Verdict {
                state: RunState::Error,
                cause: Some(Cause::new(Reason::DeadlineExceeded, "too long")),
                ..Verdict::default()
            }),
            Step::Closed => Some(lost()),
            Step::Abort => {
                if self.run.transition(RunState::Aborting, self.now).is_ok() {
                    self.asked = true;
                    if before.state() == RunState::PendingRetry {
                        // Nothing of it runs.
                        self.see(&Verdict { state: RunState::Aborted, ..Verdict::default() });
                    }
                }
                None
            }
            Step::Again => {
                if self.run.state() == RunState::PendingRetry {
                    self.run.status.retry_at = None;
                    self.run.transition(RunState::Pending, self.now).unwrap();
                    self.begun += 1;
                }
                None
            }
            Step::Reread => {
                let text = serde_json::to_string(&self.run).unwrap();
                self.run = serde_json::from_str(&text).unwrap();
                assert_eq!(self.run, before, "the record says all");
                None
            }
        };
        if let Some(verdict) = verdict {
            self.see(&verdict);
            self.kept_why(&before, &verdict);
        }
        self.holds(&before);
    }

    fn see(&mut self, verdict: &Verdict) {
        let before = self.run.clone();
        let changed = step(&mut self.run, verdict, 7, self.now, self.now);
        assert_eq!(changed, self.run != before, "what changed is written, and nothing else");
        assert!(!step(&mut self.run, verdict, 7, self.now, self.now), "the same is no news twice");
    }

    /// What ended it, or its attempt, is on the record.
    fn kept_why(&self, before: &Run, verdict: &Verdict) {
        if before.state() == self.run.state() {
            return;
        }
        match self.run.state() {
            RunState::Error => assert_eq!(self.run.status.cause, verdict.cause),
            RunState::PendingRetry => {
                assert_eq!(self.run.status.attempts.last().unwrap().cause, verdict.cause);
            }
            RunState::Aborted => {
                assert_eq!(self.run.status.cause.as_ref().map(|cause| cause.reason), Some(Reason::Aborted));
            }
            _ => {}
        }
    }

    fn holds(&mut self, before: &Run) {
        let (state, status) = (self.run.state(), &self.run.status);
        if let Some(end) = &self.end {
            assert_eq!(self.run, *end, "an end is the end");
            return;
        }
        assert!(before.state().may_become(state), "{} -> {state}", before.state());
        if self.asked {
            assert!(
                state == RunState::Aborting || state.is_terminal(),
                "it was asked to stop, and is {state}"
            );
        }
        assert_eq!(status.retry_at.is_some(), state == RunState::PendingRetry, "what waits knows how long");
        let retries = self.run.spec.retry.as_ref().map_or(0, |retry| retry.count as usize);
        assert!(self.begun <= retries + 1, "{} attempts of {retries} retries", self.begun);
        assert_eq!(status.end_time.is_some(), state.is_terminal());
        let ended = status.attempts.len();
        match state {
            RunState::PendingRetry => assert_eq!(ended, self.begun),
            _ if !state.is_terminal() => assert_eq!(ended, self.begun - 1),
            // A run of one attempt is that attempt.
            _ => assert!(ended == self.begun || ended == 0 || self.asked, "{ended} of {}", self.begun),
        }
        if state.is_terminal() {
            assert_eq!(status.cause.is_some(), state != RunState::Completed, "{:?}", status.cause);
            assert_eq!(status.error, status.cause.as_ref().map(|cause| cause.message.clone()));
            self.end = Some(self.run.clone());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_seen_there_is_one_end(retries in 0..3_u32, steps in proptest::collection::vec(any_step(), 0..40)) {
        let mut model = Model::new(retries);
        for happened in &steps {
            model.take(happened);
        }
        // It waits, or it ends: when nothing more is seen, after as many attempts as it may have.
        for _ in 0..=retries {
            model.take(&Step::Closed);
            model.take(&Step::Again);
        }
        prop_assert!(model.end.is_some(), "for ever {}", model.run.state());
    }
}
