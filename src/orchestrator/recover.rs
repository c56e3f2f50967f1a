//! After a crash: every run that nobody follows any more is taken up, and told the truth about.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use runtime_core::{
    Error, ErrorKind, Function, Result, RunState, Target,
    run::{Cause, Reason, RunKey, Verdict, hyper::Sweep},
    store::{RunFilter, RunRecord, Version},
    target::Leftover,
};

use super::{
    Inner,
    inner::Begin,
    iterate,
    lease::{self, Place, Standing},
    log::LogWriter,
    owner::Owner,
    reduce, retry,
};

/// A run that nobody follows.
pub(super) struct Orphan {
    pub(super) record: RunRecord,
    /// What it started is out of reach, and lost: where that was, as far as it is known.
    lost: Option<Option<Place>>,
}

impl Inner {
    /// Runs that have not ended and that no living orchestrator follows.
    pub(super) async fn orphans(&self) -> Result<Vec<Orphan>> {
        let mut active = self.store.list_runs(&RunFilter::active()).await?;
        let keys: Vec<_> = active.iter().map(|record| (record.run.key(), record.run.state())).collect();
        iterate::without_followed(&mut active, &keys);
        let standing = self.standing(active.iter().map(|record| record.owner.as_str())).await?;
        let mut orphans = Vec::new();
        for record in active {
            let bound = self.targets.get(record.target.as_str()).is_none_or(|target| target.is_bound());
            match standing.get(&record.owner) {
                Some(Standing::Lost(place)) if bound => {
                    orphans.push(Orphan { record, lost: Some(place.clone()) });
                }
                Some(Standing::Gone | Standing::Lost(_)) => orphans.push(Orphan { record, lost: None }),
                Some(Standing::Left(_)) if !bound => orphans.push(Orphan { record, lost: None }),
                Some(Standing::Left(_) | Standing::Alive) | None => {}
            }
        }
        Ok(orphans)
    }

    /// Where a run goes on that nobody follows and that cannot be reached from here.
    pub(super) async fn out_of_reach(&self, key: &RunKey) -> Result<Option<String>> {
        let Some(record) = self.store.get_run(key).await? else { return Ok(None) };
        let mut standing = self.standing([record.owner.as_str()].into_iter()).await?;
        match standing.remove(&record.owner) {
            Some(Standing::Left(place)) if !record.run.state().is_terminal() => Ok(Some(name_of(place))),
            _ => Ok(None),
        }
    }

    /// How these orchestrators are.
    pub(super) async fn standing(
        &self,
        owners: impl Iterator<Item = &str> + Send,
    ) -> Result<HashMap<String, Standing>> {
        let owners: HashSet<&str> = owners.collect();
        let others = owners.iter().any(|id| Owner::is_leased(id) && *id != self.owner.id());
        let leases = if others { lease::all(&*self.store).await? } else { Vec::new() };
        let now = Timestamp::now();
        let of = |id: &str| {
            let locked = self.owner.is_locked(id);
            match leases.iter().find(|lease| lease.id == id) {
                _ if id.is_empty() => Standing::Gone,
                _ if id == self.owner.id() => Standing::Alive,
                Some(lease) => lease.standing(&self.place, locked, now),
                None if locked == Some(true) && !Owner::is_leased(id) => Standing::Alive,
                None if locked.is_some() => Standing::Gone,
                None if Owner::is_leased(id) => Standing::Lost(None),
                // One that holds no lease can only be judged in its own home.
                None if Owner::is_of(id, &self.place) => Standing::Gone,
                None if Owner::is_anybody(id) => Standing::Left(None),
                None => Standing::Alive,
            }
        };
        Ok(owners.into_iter().map(|id| (id.to_owned(), of(id))).collect())
    }

    /// Frees what ended runs left behind where an orchestrator died before it could; its file says that there was one.
    pub(super) async fn sweep(&self) {
        if let Err(error) = self.try_sweep().await {
            tracing::warn!(%error, "what a dead orchestrator left could not be removed");
        }
    }

    async fn try_sweep(&self) -> Result<()> {
        let dead = self.owner.dead();
        if dead.is_empty() {
            return Ok(());
        }
        for (name, target) in &self.targets {
            for Leftover { key, .. } in target.leftovers().await? {
                // One without a record may be in another store.
                let Some(record) = self.store.get_run(&key).await? else { continue };
                if record.run.state().is_terminal() && record.target == *name {
                    // Somebody else may have recorded its end without being able to bring it about.
                    target.abort(&key, Duration::ZERO).await?;
                    target.release(&record.run).await?;
                }
            }
        }
        for key in self.fetched() {
            let Some(record) = self.store.get_run(&key).await? else { continue };
            if record.run.state().is_terminal() {
                self.remove_source(&key);
            }
        }
        self.sweep_staged().await?;
        self.sweep_reports().await?;
        for path in dead {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Takes up all orphans; returns those that are followed here from now on, each attached or ended.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<Vec<RunKey>> {
        let mut followed = Vec::new();
        for Orphan { record, lost } in self.orphans().await? {
            let key = record.run.key();
            let taken = match lost {
                None => self.take_up(record).await,
                Some(place) => self.declare_lost(record, place).await.map(|()| false),
            };
            match taken {
                Ok(true) => followed.push(key),
                Ok(false) => {}
                Err(error) => tracing::error!(%key, %error, "a run could not be taken up"),
            }
        }
        for key in &followed {
            if let Some(mut live) = self.live(key) {
                // It ends at once where the follower is gone already.
                let _ = live.wait_for(|live| live.settled).await;
            }
        }
        self.sweep().await;
        self.release_noted();
        // What a dead one did not send.
        if self.next_letter().await?.is_some() {
            self.post();
        }
        self.forget_leases().await?;
        Ok(followed)
    }

    /// Ends a run whose processes were started in another home, by an orchestrator that is gone: nobody can say what
    /// became of them.
    async fn declare_lost(self: &Arc<Self>, mut record: RunRecord, place: Option<Place>) -> Result<()> {
        let place = name_of(place);
        let message = format!(
            "its orchestrator ({place}) is gone, and what it started there cannot be reached from here"
        );
        let cause = Cause::new(Reason::Lost, message)
            .help("the next orchestrator in that home stops what is left of it; start the run again where it can run");
        let verdict = Verdict { state: RunState::Error, cause: Some(cause), ..Verdict::default() };
        let now = Timestamp::now();
        let before = record.run.state();
        reduce::reduce(record.run_mut(), &verdict, now, now);
        record.owner = String::new();
        match self.update_telling(&record, before, Vec::new()).await {
            // It lives after all, or somebody else was faster.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Claims an orphan, if nobody else does first, and follows it. What this program cannot run is left to one that
    /// can: it may well go on.
    pub(super) async fn take_up(self: &Arc<Self>, mut record: RunRecord) -> Result<bool> {
        let function = self.function_of(&record).await;
        if let Ok(function) = &function {
            self.registry.get(&function.kind)?;
        }
        self.reach(&record).await?;
        self.hold_lease().await?;
        record.owner = self.owner.id().to_owned();
        match self.store.update_run(&record).await {
            Ok(revision) => record.revision = revision,
            // Somebody else was faster.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let key = record.run.key();
        tracing::info!(%key, state = %record.run.state(), "taking up a run that nobody follows");
        let resumed = match function {
            Ok(function) => Box::pin(self.resume(&function, &record)).await,
            Err(error) => Err(error),
        };
        match resumed {
            Ok(()) => Ok(true),
            Err(error) => {
                self.give_up(record, &error).await?;
                Ok(false)
            }
        }
    }

    async fn resume(self: &Arc<Self>, function: &Function, record: &RunRecord) -> Result<()> {
        let runtime = super::purpose::runtime_of(self.registry.get(&function.kind)?, &record.run);
        let sweep = Sweep::of(&record.run.spec)?;
        let first = sweep.as_ref().map(|sweep| sweep.child(&Sweep::base(&record.run), 1));
        let target = self.target_of(record)?;
        let run = first.as_ref().unwrap_or(&record.run);
        let way = self.way(&*target).await?;
        let plan = self.plan(&*target, &*runtime, function, run, record.attempt).await?;
        let mut job =
            self.with_source(function, self.job(Arc::clone(&record.run), plan, record.attempt, true))?;
        job.resumed = true;
        let log = LogWriter::resume(self.log_path(&record.run.key()), retry::log_begin(&record.run))?;
        match sweep {
            Some(sweep) => {
                let function = Arc::new(function.clone());
                let parts = iterate::Parts { inner: Arc::downgrade(self), function, runtime, target, sweep };
                self.iterate(record.clone(), parts, log, job);
            }
            None => drop(self.follow(Begin { record: record.clone(), runtime, target, log, job, way })),
        }
        Ok(())
    }

    /// Whether this program has what it takes to follow the run, or to stop it.
    pub(super) async fn reach(&self, record: &RunRecord) -> Result<()> {
        self.target_of(record)?.reach(&record.run).await
    }

    fn target_of(&self, record: &RunRecord) -> Result<Arc<dyn Target>> {
        self.targets.get(record.target.as_str()).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("this program has no target `{}`", record.target))
        })
    }

    /// The exact function that the run was recorded with.
    pub(super) async fn function_of(&self, record: &RunRecord) -> Result<Function> {
        let uri = &record.run.spec.function;
        let gone = || Error::not_found(format!("the function {uri} is not in the store any more"));
        let (path, hash) = uri.rsplit_once('@').ok_or_else(gone)?;
        let (project, name) = path.split_once('/').ok_or_else(gone)?;
        let found = self.store.get_function(project, name, &Version::Hash(hash.to_owned())).await?;
        found.map(|found| found.function).ok_or_else(gone)
    }

    /// Ends a run that cannot be taken up, saying why.
    async fn give_up(self: &Arc<Self>, mut record: RunRecord, why: &Error) -> Result<()> {
        let mut cause = Cause::new(
            Reason::Lost,
            format!("its orchestrator died, and it could not be taken up: {}", why.message()),
        );
        cause.help = why.help_text().map(str::to_owned);
        let verdict = Verdict { state: RunState::Error, cause: Some(cause), ..Verdict::default() };
        let now = Timestamp::now();
        let before = record.run.state();
        reduce::reduce(record.run_mut(), &verdict, now, now);
        record.owner = String::new();
        self.update_telling(&record, before, Vec::new()).await?;
        self.release_noted();
        Ok(())
    }
}

fn name_of(place: Option<Place>) -> String {
    place.map_or_else(|| "another home".to_owned(), |place| place.to_string())
}
