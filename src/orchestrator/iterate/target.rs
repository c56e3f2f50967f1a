//! A run with hyper-parameters, as its follower sees it: a target whose one process is the work of all iterations.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use runtime_core::{
    Capability, Error, Function, Plan, Result, Run, RunState, Runtime, Target,
    plan::Role,
    run::{Cause, Reason, RunKey, Verdict},
    target::{Event, Exit, Job, Observation, Part, Phase},
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::drive::{Drive, Parts};

/// The most events that wait for the follower.
const WAITING_EVENTS: usize = 256;

/// Starts and follows the iterations of one run.
pub(super) struct SweepTarget {
    parts: Parts,
    stop: watch::Sender<Option<Duration>>,
    task: Mutex<Option<AbortHandle>>,
}

impl SweepTarget {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, stop: watch::Sender::new(None), task: Mutex::default() }
    }
}

/// What is started ends with its follower.
impl Drop for SweepTarget {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

#[async_trait]
impl Target for SweepTarget {
    fn name(&self) -> &'static str {
        "iterations"
    }

    async fn check(&self, _: &Job) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn apply(&self, job: Job) -> Result<mpsc::Receiver<Event>> {
        let (events, receiver) = mpsc::channel(WAITING_EVENTS);
        let drive = Drive::new(self.parts.clone(), job, events, self.stop.subscribe());
        let task = tokio::spawn(drive.run()).abort_handle();
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(receiver)
    }

    async fn abort(&self, _: &RunKey, grace: Duration) -> Result<()> {
        self.stop.send_replace(Some(grace));
        Ok(())
    }

    async fn release(&self, _: &Run) -> Result<()> {
        Ok(())
    }
}

/// What is seen of the iterations, and how it is read.
pub(super) struct Iterations;

/// An observation that says how things are.
pub(super) fn seen(phase: Phase) -> Observation {
    let part = Part { name: "iterations".to_owned(), role: Role::Main, phase };
    Observation { parts: vec![part], ..Observation::default() }
}

impl Runtime for Iterations {
    fn kind(&self) -> &'static str {
        "iterations"
    }

    fn summary(&self) -> &'static str {
        "the iterations of a run with hyper-parameters"
    }

    fn capability(&self) -> Capability {
        Capability { batch: true, abortable: true, logs: true, ..Capability::default() }
    }

    fn validate(&self, _: &Function, _: &Run) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _: &Function, _: &Run) -> Result<Plan> {
        Err(Error::internal("iterations are planned one by one"))
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        let phase = seen.parts.first().map(|part| &part.phase);
        let (state, cause) = match phase {
            Some(Phase::Ended(Exit::Code(0))) => (RunState::Completed, None),
            Some(Phase::Ended(Exit::Failed(message))) => {
                let help = "`runtimes get UID --iterations` shows them; `max_errors` says how many may fail";
                (RunState::Error, Some(Cause::new(Reason::IterationsFailed, message.as_str()).help(help)))
            }
            Some(Phase::Ended(_)) => (RunState::Aborted, None),
            _ => (RunState::Running, None),
        };
        let report = seen.report.clone();
        Verdict { state, cause, report, ..Verdict::default() }
    }
}
