//! The orchestrator: it joins kinds and targets, and remembers.

mod artifacts;
mod builder;
#[cfg(all(feature = "kubernetes", feature = "source"))]
mod carry;
mod change;
mod checked;
mod children;
mod deliver;
mod deployment;
mod find;
mod follow;
mod functions;
mod image;
mod inner;
mod iterate;
mod lease;
mod leftover;
mod log;
mod outbox;
mod owner;
mod place;
mod plan;
mod post;
mod provenance;
mod purpose;
#[cfg(feature = "api")]
mod received;
mod recover;
mod reduce;
mod report;
mod request;
mod rerun;
mod reserve;
mod retry;
mod schedule;
mod secrets;
mod serve;
mod source;
mod stage;
mod submit;
mod tend;
mod watch;
mod worktree;

use std::{path::Path, sync::Arc, time::Duration};

pub use builder::Builder;
pub use deployment::Deployment;
pub use functions::DeletedVersion;
use futures_util::stream::BoxStream;
pub use image::Build;
use inner::Inner;
pub use iterate::ParamFile;
#[cfg(feature = "kubernetes")]
pub(crate) use lease::host;
pub use leftover::Garbage;
#[cfg(feature = "api")]
pub(crate) use received::Part;
#[cfg(feature = "api")]
pub(crate) use report::Kept;
pub use request::Request;
#[cfg(feature = "hub")]
pub(crate) use request::current_dir;
pub use rerun::Reproduction;
use runtime_core::{
    Error, ErrorKind, Registry, Result, Run, Store,
    logs::LogLine,
    run::RunKey,
    store::{RunFilter, RunRecord},
};
pub use serve::Served;
#[cfg(feature = "hub")]
pub(crate) use submit::embed_code;
pub use watch::{Handle, Update};

/// How long processes may take to end when the orchestrator is closed.
const CLOSING_GRACE: Duration = Duration::from_secs(5);

/// How long another orchestrator may take to end a run before it is asked whether it is still there.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs functions and keeps the record. Cheap to clone; the clones are one orchestrator. When the last one is dropped,
/// runs that are not detached are killed; [`Orchestrator::close`] stops them gently.
#[derive(Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
    _guard: Arc<Guard>,
}

/// Stops following when the last clone is dropped; the followers themselves hold the inside.
struct Guard(Arc<Inner>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.let_go();
        // Followers end when they next wait. Whoever opens this home meanwhile must not wait for them.
        self.0.owner.die();
    }
}

impl Orchestrator {
    /// An orchestrator with its record and everything else below `home`, with all kinds that are linked, on this
    /// machine. Runs that an earlier one left are taken up.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub async fn open(home: impl AsRef<Path>) -> Result<Self> {
        Self::builder(home).open().await
    }

    /// To open one with other parts.
    pub fn builder(home: impl AsRef<Path>) -> Builder {
        Builder {
            home: home.as_ref().to_owned(),
            recover: true,
            store: None,
            store_url: None,
            lease: lease::LENGTH,
            registry: None,
            targets: Vec::new(),
            secrets: None,
        }
    }

    /// Checks a request, records the run, starts it and follows it here.
    ///
    /// # Errors
    /// Where anything about the request is wrong; then nothing was recorded or started.
    pub fn submit(&self, request: impl Into<Request>) -> impl Future<Output = Result<Handle>> + Send {
        // On the heap: futures are moved.
        let request = Box::new(request.into());
        async move { self.submit_boxed(request).await }
    }

    async fn submit_boxed(&self, request: Box<Request>) -> Result<Handle> {
        let built = self.with_image(&request).await?;
        self.settle_used(&request).await?;
        let mut prepared = self.inner.prepare(built.as_ref().unwrap_or(&request)).await?;
        self.inner.record(&mut prepared).await?;
        Ok(self.launch(prepared))
    }

    /// Runs it to its end. A run that fails is no error here: its state, cause and results are on the run.
    ///
    /// # Errors
    /// As [`Self::submit`], or when the run cannot be followed to its end.
    pub fn run(&self, request: impl Into<Request>) -> impl Future<Output = Result<Run>> + Send {
        let submitted = self.submit(request);
        async move { submitted.await?.wait().await }
    }

    /// As [`Self::submit`], but the run goes on when this orchestrator is closed; the next one takes it up.
    ///
    /// # Errors
    /// As [`Self::submit`]; `Unsupported` for a kind that cannot outlive its orchestrator.
    pub async fn run_detached(&self, request: impl Into<Request>) -> Result<RunKey> {
        let request = Request { detached: true, ..request.into() };
        Ok(self.submit(request).await?.key())
    }

    /// Checks a request and records the run, owned by nobody: whoever recovers next in this home starts it.
    ///
    /// # Errors
    /// As [`Self::run_detached`].
    pub async fn record(&self, request: impl Into<Request>) -> Result<RunKey> {
        let request = Request { detached: true, ..request.into() };
        let built = self.with_image(&request).await?;
        self.settle_used(&request).await?;
        let mut prepared = self.inner.prepare(built.as_ref().unwrap_or(&request)).await?;
        let bound = self.inner.lease.is_some() && prepared.target.is_bound();
        prepared.record.owner =
            if bound { owner::Owner::anybody_in(&self.inner.place) } else { String::new() };
        self.inner.record(&mut prepared).await?;
        Ok(prepared.record.run.key())
    }

    /// Takes up every run that nobody follows any more: follows it, or ends it with what became of it. Returns when
    /// that is settled for each, with those that are followed here from now on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recover(&self) -> Result<Vec<RunKey>> {
        self.inner.recover().await
    }

    /// The runs that have not ended and that no living orchestrator follows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn orphans(&self) -> Result<Vec<RunKey>> {
        Ok(self.inner.orphans().await?.iter().map(|orphan| orphan.record.run.key()).collect())
    }

    /// Waits until nothing is followed here any more.
    pub async fn idle(&self) {
        let _ = self.inner.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Watches a run, whoever follows it: its log from the start, then what happens.
    ///
    /// # Errors
    /// `NotFound` where there is no such run.
    pub async fn watch(&self, key: &RunKey) -> Result<Handle> {
        let log = self.inner.log_path(key);
        if let Some(live) = self.inner.live(key) {
            return Ok(Handle::here(key.clone(), log, live));
        }
        self.inner.get(key).await?;
        Ok(Handle::elsewhere(key.clone(), log, Arc::clone(&self.inner.store)))
    }

    /// The lines that a run logged; with `follow`, also those that it will, until it ends.
    ///
    /// # Errors
    /// `NotFound` where there is no such run.
    pub async fn logs(&self, key: &RunKey, follow: bool) -> Result<BoxStream<'static, Result<LogLine>>> {
        let handle = self.watch(key).await?;
        if follow {
            return Ok(handle.lines());
        }
        let mut reader = log::LogReader::new(self.inner.log_path(key));
        Ok(Box::pin(futures_util::stream::iter(std::iter::from_fn(move || reader.next().transpose()))))
    }

    /// Asks a run to stop, whoever follows it, and waits until it has.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where it has ended already.
    pub async fn abort(&self, key: &RunKey) -> Result<Run> {
        self.abort_within(key, None).await
    }

    /// As [`Self::abort`]; kills it after `grace` in place of the plan's own. Zero kills at once.
    ///
    /// # Errors
    /// As [`Self::abort`].
    pub async fn abort_within(&self, key: &RunKey, grace: Option<Duration>) -> Result<Run> {
        if !self.inner.abort_here(key, grace).await {
            self.inner.ask_to_stop(key).await?;
            // Where its orchestrator is gone, or goes meanwhile, it is ours to stop.
            loop {
                if self.orphans().await?.contains(key) {
                    self.inner.reach(&self.inner.get(key).await?).await?;
                    self.recover().await?;
                }
                match tokio::time::timeout(PATIENCE, self.watch(key).await?.wait()).await {
                    Ok(ended) => return ended,
                    Err(_) if self.inner.live(key).is_some() => break,
                    Err(_) => {
                        if let Some(place) = self.inner.out_of_reach(key).await? {
                            return Err(elsewhere(key, &place));
                        }
                    }
                }
            }
        }
        self.watch(key).await?.wait().await
    }

    /// The runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.inner.store.list_runs(filter).await
    }

    /// Forgets an ended run: its record and its log, and its artifacts where asked: those in the home folder, and those
    /// that were sent elsewhere, unless another run has written to the same place since; its iterations with it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where it has not ended.
    pub async fn delete(&self, key: &RunKey, artifacts: bool) -> Result<()> {
        let record = self.inner.get(key).await?;
        for iteration in self.deleted_with(&record).await? {
            self.delete_one(&iteration, artifacts).await?;
        }
        self.delete_one(&record, artifacts).await
    }

    async fn delete_one(&self, record: &RunRecord, artifacts: bool) -> Result<()> {
        let key = &record.run.key();
        // The record goes last: as long as it is there, this can be done again.
        if record.run.state().is_terminal() {
            remove(&self.inner.run_folder(key))?;
            self.inner.remove_source(key);
            if artifacts {
                self.inner.remove_delivered(&record.run).await?;
                let folder = self.inner.default_artifacts(&record.run);
                let own = match key.iteration {
                    0 => folder,
                    iteration => folder.join(iteration.to_string()),
                };
                remove(&own)?;
            }
        }
        match self.inner.store.delete_run(key).await? {
            true => Ok(()),
            false => Err(no_run(key)),
        }
    }

    /// The kinds.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Whether others than those in this home may have the same store.
    #[cfg(feature = "_tokens")]
    pub(crate) fn shares_store(&self) -> bool {
        self.inner.lease.is_some()
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        &self.inner.home
    }

    /// Stops the runs that were submitted here and are not detached, and waits for them; then closes the store.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn close(self) -> Result<()> {
        let attached: Vec<_> = {
            let active = self.inner.active();
            active
                .iter()
                .filter(|(_, run)| !run.detached)
                .map(|(_, run)| (run.aborts.clone(), run.live.clone()))
                .collect()
        };
        for (aborts, _) in &attached {
            aborts.ask(CLOSING_GRACE);
        }
        for (_, mut live) in attached {
            // Its follower goes when what the run left is gone too.
            while live.changed().await.is_ok() {}
        }
        // Of detached runs, those that have ended are still to be cleaned up.
        let ending: Vec<_> = self.inner.active().values().map(|run| run.live.clone()).collect();
        for mut live in ending {
            while live.borrow_and_update().run.state().is_terminal() && live.changed().await.is_ok() {}
        }
        if self.inner.outbox.is_watched() {
            self.flush(CLOSING_GRACE).await;
        }
        for target in self.inner.targets.values() {
            target.close().await;
        }
        // Detached runs are the next one's.
        let left = !self.inner.active().is_empty();
        self.inner.let_go();
        if let Some(lease) = &self.inner.lease
            && let Err(error) = lease.leave(left).await
        {
            tracing::warn!(%error, "the lease could not be given up; it ends by itself");
        }
        let closed = self.inner.store.close().await;
        self.inner.owner.leave();
        closed
    }
}

fn no_run(key: &RunKey) -> Error {
    Error::not_found(format!("there is no run {key}")).help("`runtimes runs` lists them")
}

fn elsewhere(key: &RunKey, place: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("run {key} goes on in {place}, where nobody follows it at the moment"),
    )
    .help("it is to be stopped: the next orchestrator that is opened there stops it")
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder, error)),
        _ => Ok(()),
    }
}
