//! Following one run from its record to its end: what the target sees is reduced, written, and only then said.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use runtime_core::{
    Error, ErrorKind, Result, Run, RunState, Runtime, Target,
    run::{Cause, Packages, Reason, Verdict},
    store::RunRecord,
    target::{Event, Job},
};
use tokio::sync::{mpsc, watch};

use super::{Inner, log::LogWriter, reduce, report::Reported, retry, worktree};
use crate::data::documents;

/// How long an event may wait for the next one.
const MOMENT: Duration = Duration::from_millis(1);

/// How many events are taken at once.
const BATCH: usize = 256;

/// How long a store that fails is asked again before a change is left for later, or, at the end of a run, before those
/// who wait for it are told.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

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
    pub(super) aborts: mpsc::Receiver<Duration>,
    pub(super) started: Timestamp,
    /// How long its processes may take to end.
    pub(super) grace: Duration,
    /// Notes that are still to be written.
    pub(super) notes: Vec<String>,
    /// The packages that it has, where they are still to be written.
    pub(super) packages: Option<Packages>,
    /// It waited too long, and was stopped for that.
    pub(super) overdue: Option<Cause>,
    /// Its code runs on this machine: what it reads and writes is here.
    pub(super) here: bool,
    /// What its code reports at the endpoint.
    pub(super) reported: Reported,
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
            self.keep_children().await;
        }
        let over = outcome.map_err(|error| error.to_string());
        self.live.send_modify(|live| {
            live.over = Some(over);
            live.settled = true;
        });
        // Whoever waits for the run need not wait for what it leaves.
        if recorded && let Err(error) = self.target.release(&key).await {
            tracing::warn!(%key, %error, "what an ended run left could not be removed");
        }
        if recorded {
            self.inner.remove_source(&key);
        }
        if recorded && let Err(error) = self.clear() {
            tracing::warn!(%key, %error, "what was fetched for an ended run could not be removed");
        }
        if recorded {
            self.forget_reports().await;
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
                    && let Err(error) = self.plan_again(&mut job).await
                {
                    return self.end(not_started(&error)).await;
                }
            }
            self.attempt(job.clone()).await?;
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
    async fn attempt(&mut self, mut job: Job) -> Result<()> {
        job.log_position = self.log.position.clone();
        let grace = grace(&job);
        let key = job.key.clone();
        let Some((mut job, _source)) = self.fetch_source(job).await? else { return Ok(()) };
        if self.here
            && let Some(verdict) = self.stage(&mut job).await?
        {
            return self.end(verdict).await;
        }
        let resumed = job.resumed;
        let mut events = match self.target.apply(job).await {
            Ok(events) => events,
            Err(error) => return self.end(not_started(&error)).await,
        };
        if self.record.run.state() == RunState::Aborting {
            self.target.abort(&key, grace).await?;
        }
        self.reported.begin(resumed);
        let mut batch = Vec::new();
        loop {
            let patience = self.patience();
            tokio::select! {
                biased;
                Some(grace) = self.aborts.recv() => {
                    self.change(|run, now| run.transition(RunState::Aborting, now)).await?;
                    self.target.abort(&key, grace).await?;
                }
                count = events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    // What is over in a moment is written once; after the end nothing comes.
                    if !batch.iter().any(is_last) {
                        let _ = tokio::time::timeout(MOMENT, events.recv_many(&mut batch, BATCH)).await;
                    }
                    self.take(&mut batch).await?;
                }
                () = self.reported.news() => self.take_report().await?,
                () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => {
                    self.give_up_waiting().await?;
                }
            }
        }
        if self.record.run.state().is_terminal() || self.record.run.state() == RunState::PendingRetry {
            return Ok(());
        }
        self.end(reduce::lost()).await
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
            }
        }
        self.write_log().await;
        if let Some(verdict) =
            verdict.as_mut().filter(|verdict| self.writes_here() && verdict.state.is_terminal())
        {
            self.deliver(verdict).await?;
        }
        if verdict.is_some() || !self.notes.is_empty() || self.packages.is_some() {
            self.record_verdict(verdict.as_ref()).await?;
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
        let packages = self.packages.take();
        let ends = verdict.is_some_and(|verdict| verdict.state.is_terminal());
        let uncommitted = self.inner.work_trees.found(&self.record.run.key(), ends).await;
        let recorded = self
            .change(|run, now| {
                let mut changed = worktree::record(run, &uncommitted);
                for note in &notes {
                    changed |= reduce::add_note(run, note);
                }
                if packages.is_some() && run.status.provenance.packages != packages {
                    run.status.provenance.packages.clone_from(&packages);
                    changed = true;
                }
                if let Some(verdict) = verdict {
                    changed |= retry::again(run, verdict, log_end, started, now)
                        || reduce::reduce(run, verdict, started, now);
                    if run.state().is_terminal() {
                        retry::close(run, log_end, now);
                    }
                }
                Ok(changed)
            })
            .await?;
        if !recorded {
            self.notes = notes;
            self.packages = packages;
        }
        Ok(())
    }

    /// Changes the run, writes it, and only then shows it. Where somebody else changed it meanwhile, the change is made
    /// again on what they wrote. Returns whether it is written: what a store does not take for long is left, because
    /// the next change holds it too. But for the end of a run: that is tried as long as this orchestrator lives.
    pub(super) async fn change(
        &mut self,
        change: impl Fn(&mut Run, Timestamp) -> Result<bool>,
    ) -> Result<bool> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let mut next = self.record.clone();
            match change(next.run_mut(), Timestamp::now()) {
                Ok(true) => {}
                // Nothing to change, or it may not be any more.
                Ok(false) | Err(_) => return Ok(true),
            }
            let ends = next.run.state().is_terminal();
            if ends {
                next.owner = String::new();
            } else {
                next.attempt = u32::try_from(next.run.status.attempts.len()).unwrap_or(u32::MAX);
            }
            let artifacts = if ends { documents(&next.run) } else { Vec::new() };
            match self.inner.update_telling(&next, self.record.run.state(), artifacts).await {
                Ok(revision) => {
                    next.revision = revision;
                    self.record = next;
                    self.show();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => self.reread().await?,
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                Err(error) if error.kind() == ErrorKind::Exhausted && self.inner.reserve.free() => {
                    tracing::warn!(run = %self.record.run.key(), %error, "the reserve is used");
                }
                Err(error) => {
                    tracing::warn!(run = %self.record.run.key(), %error, "the store does not take a change");
                    if begin.elapsed() > STORE_PATIENCE {
                        if !ends {
                            return Ok(false);
                        }
                        self.tell(&format!("its end cannot be recorded: {}", error.message()));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Shows the run as it is recorded.
    fn show(&self) {
        let run = Arc::clone(&self.record.run);
        self.live.send_modify(|live| live.run = run);
    }

    /// Lets those go who wait for the end; it is still being tried.
    fn tell(&self, why: &str) {
        self.live.send_if_modified(|live| {
            let new = live.over.is_none();
            live.settled = true;
            live.over.get_or_insert_with(|| Err(why.to_owned()));
            new
        });
    }

    async fn reread(&mut self) -> Result<()> {
        let key = self.record.run.key();
        let record = match self.inner.store.get_run(&key).await {
            Ok(record) => record,
            // It will say so again when the change is tried again.
            Err(error) => {
                tracing::warn!(%key, %error, "a run cannot be read again");
                return Ok(());
            }
        };
        let record =
            record.ok_or_else(|| Error::not_found(format!("run {key} was deleted while it was followed")))?;
        if record.owner != self.inner.owner.id() && !record.run.state().is_terminal() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {key} is followed by somebody else now"),
            ));
        }
        let asked = record.run.state() == RunState::Aborting && self.record.run.state() != RunState::Aborting;
        let ended = record.run.state().is_terminal();
        self.record = record;
        self.show();
        if ended {
            // Others thought that this orchestrator is gone, and with it what it started: let that be true.
            self.target.abort(&key, Duration::ZERO).await?;
        }
        if asked {
            // Somebody in another process asks it to stop.
            self.target.abort(&key, self.grace).await?;
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
