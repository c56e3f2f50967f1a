//! From the first iteration to the last: which is started next is a question of what is recorded, so that it has the
//! same answer after a crash.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use runtime_core::{
    ErrorKind, Function, Result, Run, RunState, Runtime, Target,
    logs::LogLine,
    run::{
        Report, RunKey,
        hyper::{Over, Sweep, Tally},
    },
    store::RunRecord,
    target::{Event, Exit, Job, Phase},
};
use tokio::sync::{mpsc, watch};

use super::{report, target::seen};
use crate::orchestrator::{Inner, follow::Live, inner::Begin, log::LogWriter};

/// How long to wait before a store that failed is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// What iterations are made of.
#[derive(Clone)]
pub(in crate::orchestrator) struct Parts {
    pub(in crate::orchestrator) inner: Weak<Inner>,
    pub(in crate::orchestrator) function: Arc<Function>,
    pub(in crate::orchestrator) runtime: Arc<dyn Runtime>,
    pub(in crate::orchestrator) target: Arc<dyn Target>,
    pub(in crate::orchestrator) sweep: Sweep,
}

/// The iterations of one run, on their way.
pub(super) struct Drive {
    parts: Parts,
    job: Job,
    /// What all iterations have in common.
    base: Run,
    events: mpsc::Sender<Event>,
    stop: watch::Receiver<Option<Duration>>,
    tally: Tally,
    /// Iterations that are recorded.
    recorded: HashSet<u32>,
    /// The first that may not be recorded yet.
    next: u32,
    running: FuturesUnordered<BoxFuture<'static, (u32, Option<Arc<Run>>)>>,
    going: HashSet<u32>,
    /// The best one of which was told.
    told: Option<u32>,
}

impl Drive {
    pub(super) fn new(
        parts: Parts,
        job: Job,
        events: mpsc::Sender<Event>,
        stop: watch::Receiver<Option<Duration>>,
    ) -> Self {
        Self {
            base: Sweep::base(&job.run),
            tally: Tally::new(&parts.sweep),
            recorded: HashSet::new(),
            next: 1,
            running: FuturesUnordered::new(),
            going: HashSet::new(),
            told: None,
            parts,
            job,
            events,
            stop,
        }
    }

    pub(super) async fn run(mut self) {
        if self.job.resumed {
            self.resume().await;
        }
        let _ = self.events.send(Event::Seen(Box::new(seen(Phase::Running)))).await;
        loop {
            self.start().await;
            if self.going.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Ok(()) = self.stop.changed() => self.abort_all().await,
                Some((iteration, run)) = self.running.next() => self.take(iteration, run).await,
            }
        }
        self.finish().await;
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        self.parts.inner.upgrade()
    }

    fn key(&self, iteration: u32) -> RunKey {
        RunKey { uid: self.base.metadata.uid.clone(), iteration }
    }

    /// Finds what an earlier orchestrator recorded: what has ended counts, what goes on is followed.
    async fn resume(&mut self) {
        let Some(inner) = self.inner() else { return };
        let records = loop {
            match inner.iterations(&self.base.metadata.uid).await {
                Ok(records) => break records,
                Err(error) => {
                    tracing::warn!(key = %self.job.key, %error, "iterations cannot be read");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        for record in records {
            let iteration = record.run.metadata.iteration;
            self.recorded.insert(iteration);
            if record.run.state().is_terminal() {
                self.tally.take(&record.run);
            } else {
                self.going.insert(iteration);
                self.running.push(Box::pin(follow(self.parts.inner.clone(), self.key(iteration))));
            }
        }
        self.told = self.tally.best().map(|row| row.iteration);
    }

    /// Starts as many as may go on at a time.
    async fn start(&mut self) {
        let Some(inner) = self.inner() else { return };
        let mut records = Vec::new();
        while self.going.len() + records.len() < self.parts.sweep.parallel
            && self.next <= self.parts.sweep.len()
            && self.tally.over().is_none()
            && !self.is_stopping()
        {
            if !self.recorded.contains(&self.next) {
                records.push(self.record(&inner, self.next));
            }
            self.next += 1;
        }
        // Written together, they cost little more than one.
        let created = join_all(records.iter().map(|record| create(&inner, record))).await;
        for (record, created) in records.into_iter().zip(created) {
            let key = record.run.key();
            self.recorded.insert(key.iteration);
            self.going.insert(key.iteration);
            let begun = match created {
                true => {
                    let (parts, detached) = (self.parts.clone(), self.job.detached);
                    Some(begin(parts, detached, &inner, RunRecord { revision: 1, ..record }).await)
                }
                false => None,
            };
            match begun {
                Some(Ok(live)) => {
                    let inner = self.parts.inner.clone();
                    self.running.push(Box::pin(async move { (key.iteration, end(inner, key, live).await) }));
                }
                // Recorded, but not by us, or not to be started: it is treated as one that was found.
                _ => self.running.push(Box::pin(follow(self.parts.inner.clone(), key))),
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some() || self.job.run.state() == RunState::Aborting
    }

    fn record(&self, inner: &Inner, iteration: u32) -> RunRecord {
        RunRecord {
            run: Arc::new(self.parts.sweep.child(&self.base, iteration)),
            revision: 0,
            owner: inner.owner.id().to_owned(),
            target: self.parts.target.name().to_owned(),
            attempt: 0,
        }
    }

    async fn abort_all(&mut self) {
        let (Some(inner), Some(grace)) = (self.inner(), *self.stop.borrow_and_update()) else { return };
        for iteration in &self.going {
            let key = self.key(*iteration);
            // Where it is not followed here yet, it is recorded that it is to stop.
            if !inner.abort_here(&key, Some(grace)).await
                && let Err(error) = inner.ask_to_stop(&key).await
                && error.kind() != ErrorKind::Conflict
            {
                tracing::warn!(%key, %error, "an iteration cannot be stopped");
            }
        }
    }

    /// Takes an iteration that has ended; `None` where its record is gone.
    async fn take(&mut self, iteration: u32, run: Option<Arc<Run>>) {
        self.going.remove(&iteration);
        if let Some(run) = run {
            self.tally.take(&run);
            let is_best = self.tally.best().map(|row| row.iteration).filter(|best| Some(*best) != self.told);
            self.told = is_best.or(self.told);
            let line = report::line(&run, self.parts.sweep.names(), is_best == Some(iteration));
            let _ = self.events.send(Event::Log(Box::new(LogLine::system(line)))).await;
        }
        let _ = self.events.send(Event::Progress(report::progress(&self.tally, self.going.len()))).await;
    }

    async fn finish(self) {
        let (mut state, cause) = self.tally.verdict();
        // All that was asked for may have ended before it was to stop.
        let all = self.tally.ended() == self.tally.total() || self.tally.over() == Some(Over::Errors);
        if self.is_stopping() && !all {
            state = RunState::Aborted;
        }
        let exit = match (state, cause) {
            (RunState::Completed, _) => Exit::Code(0),
            (RunState::Error, Some(cause)) => Exit::Failed(cause.message),
            _ => Exit::Stopped,
        };
        let mut report = Report {
            notes: self.tally.notes(),
            iterations: self.tally.table(),
            artifacts: self.tally.best_artifacts().to_vec(),
            ..Report::default()
        };
        if let Some(best) = self.tally.best() {
            report.results.insert("best_iteration".to_owned(), best.iteration.into());
            report.results.extend(best.results.clone());
        }
        match report::write(&self.tally, &self.job).await {
            Ok(artifacts) => report.artifacts.extend(artifacts),
            Err(error) => report.notes.push(format!("the report was not written: {error}")),
        }
        let mut last = seen(Phase::Ended(exit));
        last.report = Some(report);
        last.ended = true;
        let _ = self.events.send(Event::Seen(Box::new(last))).await;
    }
}

/// Records an iteration; `false` where somebody has.
async fn create(inner: &Inner, record: &RunRecord) -> bool {
    loop {
        match inner.store.create_run(record).await {
            Ok(()) => return true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return false,
            Err(error) => {
                tracing::warn!(key = %record.run.key(), %error, "an iteration cannot be recorded");
                inner.reserve.free();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for the end of an iteration that is followed here.
async fn end(inner: Weak<Inner>, key: RunKey, mut live: watch::Receiver<Live>) -> Option<Arc<Run>> {
    if let Ok(live) = live.wait_for(|live| live.over.is_some()).await
        && matches!(live.over, Some(Ok(())))
    {
        return Some(Arc::clone(&live.run));
    }
    follow(inner, key).await.1
}

/// Follows an iteration that is recorded, whoever did: takes it up where nobody follows it, and waits for its end.
async fn follow(inner: Weak<Inner>, key: RunKey) -> (u32, Option<Arc<Run>>) {
    loop {
        // Where this orchestrator goes, nobody waits any more.
        let Some(inner) = inner.upgrade() else { std::future::pending().await };
        if let Some(mut live) = inner.live(&key) {
            drop(inner);
            let over = live.wait_for(|live| live.over.is_some()).await.map(|live| live.clone());
            if let Ok(Live { over: Some(Ok(())), run, .. }) = over {
                return (key.iteration, Some(run));
            }
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        match inner.store.get_run(&key).await {
            Ok(None) => return (key.iteration, None),
            Ok(Some(record)) if record.run.state().is_terminal() => {
                return (key.iteration, Some(record.run));
            }
            Ok(Some(record)) => {
                let taken: BoxFuture<'_, Result<bool>> = Box::pin(inner.take_up(record));
                match taken.await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%key, %error, "an iteration cannot be taken up"),
                }
            }
            Err(error) => tracing::warn!(%key, %error, "an iteration cannot be read"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Begins to follow an iteration that is recorded.
async fn begin(
    parts: Parts,
    detached: bool,
    inner: &Arc<Inner>,
    record: RunRecord,
) -> Result<watch::Receiver<Live>> {
    let Parts { runtime, function, target, .. } = parts;
    let plan = inner.plan(&*target, &*runtime, &function, &record.run, record.attempt).await?;
    let job = inner.job(Arc::clone(&record.run), plan, 0, detached);
    let job = inner.with_source(&function, job)?;
    let log = LogWriter::new(inner.log_path(&record.run.key()));
    Ok(inner.follow(Begin { record, runtime, target, log, job, way: None }))
}
