//! Following one run from its record to its end: what the target sees is reduced, written, and only then said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use runtime_core::{
    Error, Result, Run, RunState, Runtime, Target,
    run::{Cause, Packages, Reason, Verdict},
    store::RunRecord,
    target::{Event, Job},
};
use tokio::sync::{mpsc, watch};

use super::{
    Inner, deployment::Uses, log::LogWriter, reduce, report::Reported, source::Kept, submit::Way, worktree,
};
use crate::stop::Stops;

/// How long an event may wait for the next one.
const MOMENT: Duration = Duration::from_millis(1);

/// How many events are taken at once.
const BATCH: usize = 256;

/// Lines are written when they are so many bytes, however many events there are.
const LARGE: usize = 256 * 1024;

/// What can be seen of a followed run at any moment.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// The run as it is recorded.
    pub(super) run: Arc<Run>,
    /// What long work is doing.
    pub(super) progress: Option<String>,
    /// How much of the log is written.
    pub(super) log_length: u64,
    /// The target has said something: it is attached, or it ended.
    pub(super) settled: bool,
    /// It is not followed any more; where that is not because it ended, why.
    pub(super) over: Option<Result<(), String>>,
}

/// A run while it is followed.
pub(super) struct Follow {
    pub(super) inner: Arc<Inner>,
    pub(super) record: RunRecord,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) target: Arc<dyn Target>,
    pub(super) log: LogWriter,
    pub(super) live: watch::Sender<Live>,
    /// Requests to stop, with the grace to give.
    pub(super) aborts: Stops,
    pub(super) started: Timestamp,
    /// How long its processes may take to end.
    pub(super) grace: Duration,
    /// Notes that are still to be written.
    pub(super) notes: Vec<String>,
    /// The packages that it has, where they are still to be written.
    pub(super) packages: Option<Packages>,
    /// Where it is found, where that is still to be written.
    pub(super) addresses: Option<BTreeMap<String, String>>,
    /// It waited too long, or what it uses is gone, and it was stopped for that.
    pub(super) overdue: Option<Cause>,
    /// The deployment that it uses.
    pub(super) uses: Uses,
    /// Its code runs on this machine: what it reads and writes is here.
    pub(super) here: bool,
    /// What its code reports at the endpoint.
    pub(super) reported: Reported,
    /// Until what was planned is there.
    pub(super) way: Option<Way>,
}

impl Follow {
    /// Follows the run to its end.
    pub(super) async fn run(mut self: Box<Self>, job: Job) {
        let key = job.key.clone();
        let outcome = self.follow(job).await;
        if let Err(error) = &outcome {
            tracing::error!(%key, %error, "a run is not followed any more");
        }
        let recorded = outcome.is_ok();
        if recorded {
            Box::pin(self.keep_children()).await;
        }
        let over = outcome.map_err(|error| error.to_string());
        self.live.send_modify(|live| {
            live.over = Some(over);
            live.settled = true;
        });
        // Whoever waits for the run need not wait for what it leaves.
        if recorded && let Err(error) = Box::pin(self.release()).await {
            tracing::warn!(%key, %error, "what an ended run left could not be removed");
        }
        if recorded {
            self.inner.remove_source(&key);
        }
        if recorded && let Err(error) = self.clear() {
            tracing::warn!(%key, %error, "what was fetched for an ended run could not be removed");
        }
        if recorded {
            Box::pin(self.forget_reports()).await;
        }
        self.inner.reserve.restore();
        self.inner.forget(&key);
    }

    /// One attempt after the other, until the run has ended.
    async fn follow(&mut self, mut job: Job) -> Result<()> {
        loop {
            if self.record.run.state() == RunState::PendingRetry {
                Box::pin(self.wait_for_retry()).await?;
                if self.record.run.state().is_terminal() {
                    return Ok(());
                }
                job.resumed = false;
                job.attempt = self.record.attempt;
                job.run = Arc::clone(&self.record.run);
                if !self.here
                    && let Err(error) = Box::pin(self.plan_again(&mut job)).await
                {
                    return Box::pin(self.end(not_started(&error))).await;
                }
            }
            let attempt = job.clone();
            if !self.here {
                // Another attempt has another plan, and another state of the run.
                (job.run, job.plan) = self.inner.nothing.clone();
            }
            Box::pin(self.attempt(Box::new(attempt))).await?;
            if self.record.run.state().is_terminal() {
                return Ok(());
            }
        }
    }

    /// Whether what it writes is on this machine: also what is written here of iterations that run elsewhere.
    pub(super) fn writes_here(&self) -> bool {
        self.here || !self.target.reports_apart()
    }

    /// Objects of a cluster have the attempt in their names.
    async fn plan_again(&self, job: &mut Job) -> Result<()> {
        let function = self.inner.function_of(&self.record).await?;
        let plan = self.inner.plan(&*self.target, &*self.runtime, &function, &job.run, job.attempt);
        job.plan = Arc::new(Box::pin(plan).await?);
        Ok(())
    }

    /// One attempt, until it has ended: the run with it, or it waits for the next one.
    ///
    /// There may be many runs, and most of their time they wait for an event: what is before, and what comes of one, is
    /// on the heap.
    async fn attempt(&mut self, job: Box<Job>) -> Result<()> {
        let Some((mut events, _source)) = Box::pin(self.begin(job)).await? else { return Ok(()) };
        let mut batch = Vec::new();
        loop {
            let patience = self.patience();
            tokio::select! {
                biased;
                grace = self.aborts.next() => {
                    Box::pin(self.change(|run, now| run.transition(RunState::Aborting, now))).await?;
                    self.target.abort(&self.record.run.key(), grace).await?;
                }
                count = events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    // What is over in a moment is written once; after the end nothing comes.
                    if !batch.iter().any(is_last) {
                        let _ = tokio::time::timeout(MOMENT, events.recv_many(&mut batch, BATCH)).await;
                    }
                    Box::pin(self.take(&mut batch)).await?;
                }
                cause = self.uses.ended(), if self.overdue.is_none() => {
                    self.overdue = Some(cause);
                    self.target.abort(&self.record.run.key(), self.grace).await?;
                }
                () = self.reported.news() => Box::pin(self.take_report()).await?,
                () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => {
                    Box::pin(self.give_up_waiting()).await?;
                }
            }
        }
        if self.record.run.state().is_terminal() || self.record.run.state() == RunState::PendingRetry {
            return Ok(());
        }
        Box::pin(self.end(reduce::lost())).await
    }

    /// Begins an attempt; `None` where that was its end.
    async fn begin(&mut self, mut job: Box<Job>) -> Result<Option<(mpsc::Receiver<Event>, Kept)>> {
        self.overdue = None;
        job.log_position = self.log.position.clone();
        let (key, grace, resumed) = (job.key.clone(), grace(&job), job.resumed);
        let Some((mut job, source)) = self.fetch_source(*job).await? else { return Ok(None) };
        if self.here
            && let Some(verdict) = self.stage(&mut job).await?
        {
            return self.end(verdict).await.map(|()| None);
        }
        let events = match self.target.apply(job).await {
            Ok(events) => events,
            Err(error) => return self.end(not_started(&error)).await.map(|()| None),
        };
        if self.record.run.state() == RunState::Aborting {
            self.target.abort(&key, grace).await?;
        }
        self.reported.begin(resumed);
        Ok(Some((events, source)))
    }

    /// Takes a batch of events: all lines are kept, the last observation counts.
    async fn take(&mut self, batch: &mut Vec<Event>) -> Result<()> {
        let (mut verdict, mut progress) = (None, None);
        for event in batch.drain(..) {
            match event {
                Event::Log(line) => {
                    self.log.push(&line);
                    if self.log.waiting() >= LARGE {
                        self.write_log().await;
                    }
                }
                Event::Seen(seen) => verdict = Some(self.observe(seen).await),
                Event::Progress(what) => progress = Some(what),
                Event::Note(note) => self.notes.push(note),
                Event::Packages(packages) => self.packages = Some(*packages),
                Event::Addresses(addresses) => self.addresses = Some(addresses),
            }
        }
        self.write_log().await;
        if !self.here {
            self.log.close();
        }
        if let Some(verdict) = verdict.as_mut().filter(|verdict| verdict.state.is_terminal()) {
            self.deliver(verdict).await?;
        }
        self.keep_image(verdict.as_mut()).await;
        let told = !self.notes.is_empty() || self.packages.is_some() || self.addresses.is_some();
        if verdict.is_some() || told {
            self.record_verdict(verdict.as_ref()).await?;
        }
        if verdict.is_some() {
            self.way = None;
        }
        let length = self.log.length;
        let waiting = verdict.as_ref().filter(|verdict| !verdict.state.is_terminal()).and_then(|verdict| {
            let trouble = verdict.cause.as_ref().map(|cause| cause.message.clone());
            trouble.or_else(|| verdict.waiting.as_ref().map(|what| format!("waiting for {what}")))
        });
        self.live.send_modify(|live| {
            live.log_length = length;
            live.settled |= verdict.is_some();
            if let Some(what) = progress.or(waiting) {
                live.progress = Some(what);
            } else if verdict.is_some() {
                live.progress = None;
            }
        });
        Ok(())
    }

    /// Frees what the target keeps of the run.
    async fn release(&self) -> Result<()> {
        self.target.release(&self.record.run).await?;
        self.inner.released(&self.record).await
    }

    /// Removes what was fetched for the run, and what was sent elsewhere.
    fn clear(&self) -> Result<()> {
        let run = &self.record.run;
        let moved = |text: &String| crate::data::is_url(text);
        let wrote = run.status.artifacts.iter().any(|artifact| crate::data::is_url(artifact.target_path()));
        if !(run.spec.inputs.values().any(moved) || moved(&run.spec.output_path) || wrote) {
            return Ok(());
        }
        self.inner.clear_delivered(run)?;
        self.inner.unstage(&run.key())
    }

    pub(super) async fn end(&mut self, verdict: Verdict) -> Result<()> {
        self.record_verdict(Some(&verdict)).await
    }

    /// Records what is true now, and the notes; what the store does not take is left for the next change.
    pub(super) async fn record_verdict(&mut self, verdict: Option<&Verdict>) -> Result<()> {
        let overdue = verdict.filter(|_| self.overdue.is_some());
        let overdue = overdue.map(|verdict| self.with_patience(verdict.clone()));
        let verdict = overdue.as_ref().or(verdict);
        let (started, log_end) = (self.started, self.log.length);
        let notes = std::mem::take(&mut self.notes);
        let (packages, addresses) = (self.packages.take(), self.addresses.take());
        let ends = verdict.is_some_and(|verdict| verdict.state.is_terminal());
        let uncommitted = self.inner.work_trees.found(&self.record.run.key(), ends).await;
        let recorded = self
            .change(|run, now| {
                // What comes after the end comes too late.
                if run.state().is_terminal() {
                    return Ok(false);
                }
                let mut changed = worktree::record(run, &uncommitted);
                for note in &notes {
                    changed |= reduce::add_note(run, note);
                }
                if packages.is_some() && run.status.provenance.packages != packages {
                    run.status.provenance.packages.clone_from(&packages);
                    changed = true;
                }
                if let Some(addresses) = addresses.as_ref().filter(|new| run.status.addresses != **new) {
                    run.status.addresses.clone_from(addresses);
                    changed = true;
                }
                if let Some(verdict) = verdict {
                    changed |= reduce::step(run, verdict, log_end, started, now);
                }
                Ok(changed)
            })
            .await?;
        if !recorded {
            self.notes = notes;
            self.packages = packages;
            self.addresses = addresses;
        }
        Ok(())
    }
}

fn is_last(event: &Event) -> bool {
    matches!(event, Event::Seen(seen) if seen.ended)
}

/// How long processes of this job may take to end.
pub(super) fn grace(job: &Job) -> Duration {
    match &*job.plan {
        runtime_core::Plan::Host(plan) => plan.grace,
        runtime_core::Plan::Cluster(plan) => plan.grace(),
        _ => Duration::from_secs(30),
    }
}

pub(super) fn not_started(error: &Error) -> Verdict {
    super::stage::failed(Reason::StartFailed, error)
}
