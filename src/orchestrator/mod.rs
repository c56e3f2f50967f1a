//! The orchestrator: it joins kinds and targets, and remembers.

mod follow;
mod log;
mod owner;
mod recover;
mod reduce;
mod request;
mod reserve;
mod submit;
mod watch;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use runtime_core::{
    Error, ErrorKind, Registry, Result, Run, RunState, Runtime, Store, Target,
    logs::LogLine,
    run::RunKey,
    store::{FunctionRecord, RunFilter, RunRecord, Version},
    target::Job,
};
use tokio::{
    sync::{mpsc, watch as channel},
    task::AbortHandle,
};

use follow::{Follow, Live};
use log::LogWriter;
use owner::Owner;
pub use request::Request;
use reserve::Reserve;
pub use watch::{Handle, Update};

/// How long processes may take to end when the orchestrator is closed.
const CLOSING_GRACE: Duration = Duration::from_secs(5);

/// How long another orchestrator may take to end a run before it is asked whether it is still there.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often requests of other processes to stop a run are looked for, while runs are followed.
const LOOK: Duration = Duration::from_millis(200);

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
    }
}

struct Inner {
    home: PathBuf,
    store: Arc<dyn Store>,
    registry: Registry,
    targets: BTreeMap<&'static str, Arc<dyn Target>>,
    owner: Owner,
    reserve: Reserve,
    active: Mutex<HashMap<RunKey, Active>>,
    /// Counts the runs that are followed.
    count: channel::Sender<usize>,
    /// The version of each function that was stored last.
    versions: Mutex<HashMap<(String, String), String>>,
    looking: AtomicBool,
}

/// A run that is followed here.
struct Active {
    live: channel::Receiver<Live>,
    aborts: mpsc::Sender<Duration>,
    detached: bool,
    grace: Duration,
    task: Option<AbortHandle>,
}

/// Puts an orchestrator together.
pub struct Builder {
    home: PathBuf,
    recover: bool,
    store: Option<Arc<dyn Store>>,
    registry: Option<Registry>,
    targets: Vec<Arc<dyn Target>>,
}

impl Builder {
    /// Whether opening takes up the runs that nobody follows any more; it does, unless told otherwise.
    #[must_use]
    pub fn recover(mut self, recover: bool) -> Self {
        self.recover = recover;
        self
    }

    /// Another store than the one file in the home folder.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Other kinds than those that are linked.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// A further target, or another one in the place of a built-in of the same name.
    #[must_use]
    pub fn target(mut self, target: Arc<dyn Target>) -> Self {
        self.targets.push(target);
        self
    }

    /// Opens it.
    ///
    /// # Errors
    /// When the home folder cannot be written, the store cannot be opened, or two crates claim one kind.
    pub async fn open(self) -> Result<Orchestrator> {
        let home = std::path::absolute(&self.home).map_err(|error| Error::io("find", &self.home, error))?;
        std::fs::create_dir_all(&home).map_err(|error| {
            Error::io("create", &home, error).help("choose another folder with --home or RUNTIMES_HOME")
        })?;
        let store = match self.store {
            Some(store) => store,
            None => default_store(&home).await?,
        };
        #[allow(unused_mut, reason = "without kinds of this machine there is no target to add")]
        let mut targets: BTreeMap<&'static str, Arc<dyn Target>> = BTreeMap::new();
        #[cfg(any(feature = "handler", feature = "local"))]
        targets.insert("host", Arc::new(runtime_local::HostTarget::new(&home)));
        targets.extend(self.targets.into_iter().map(|target| (target.name(), target)));
        let registry = match self.registry {
            Some(registry) => registry,
            None => linked()?,
        };
        let inner = Arc::new(Inner {
            owner: Owner::register(&home)?,
            reserve: Reserve::keep(&home),
            home,
            store,
            registry,
            targets,
            active: Mutex::default(),
            count: channel::Sender::new(0),
            versions: Mutex::default(),
            looking: AtomicBool::new(false),
        });
        let orchestrator = Orchestrator { _guard: Arc::new(Guard(Arc::clone(&inner))), inner };
        if self.recover {
            orchestrator.recover().await?;
        } else {
            orchestrator.inner.sweep().await;
        }
        Ok(orchestrator)
    }
}

#[cfg(feature = "sqlite")]
async fn default_store(home: &Path) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(crate::store::SqliteStore::open(&home.join("runtimes.db")).await?))
}

#[cfg(not(feature = "sqlite"))]
async fn default_store(_: &Path) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(runtime_core::store::MemoryStore::default()))
}

/// The kinds of the features of this build, and those of other linked crates.
fn linked() -> Result<Registry> {
    // Naming a crate keeps the linker from dropping it, and its kinds with it.
    #[cfg(any(feature = "handler", feature = "local"))]
    let _ = runtime_local::register;
    Registry::linked()
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
            registry: None,
            targets: Vec::new(),
        }
    }

    /// Checks a request, records the run, starts it and follows it here.
    ///
    /// # Errors
    /// Where anything about the request is wrong; then nothing was recorded or started.
    pub async fn submit(&self, request: impl Into<Request>) -> Result<Handle> {
        let request = request.into();
        let mut prepared = self.inner.prepare(request).await?;
        self.inner.record(&mut prepared).await?;
        let key = prepared.record.run.key();
        let log = LogWriter::new(self.inner.log_path(&key));
        let submit::Prepared { record, runtime, target, job, .. } = prepared;
        let live = self.inner.follow(record, runtime, target, log, job, Timestamp::now());
        Ok(Handle::here(key.clone(), self.inner.log_path(&key), live))
    }

    /// Runs it to its end. A run that fails is no error here: its state, cause and results are on the run.
    ///
    /// # Errors
    /// As [`Self::submit`], or when the run cannot be followed to its end.
    pub async fn run(&self, request: impl Into<Request>) -> Result<Run> {
        self.submit(request).await?.wait().await
    }

    /// As [`Self::submit`], but the run goes on when this orchestrator is closed; the next one takes it up.
    ///
    /// # Errors
    /// As [`Self::submit`]; `Unsupported` for a kind that cannot outlive its orchestrator.
    pub async fn run_detached(&self, request: impl Into<Request>) -> Result<RunKey> {
        let request = Request { detached: true, ..request.into() };
        Ok(self.submit(request).await?.key())
    }

    /// Checks a request and records the run, owned by nobody: whoever recovers next starts it.
    ///
    /// # Errors
    /// As [`Self::run_detached`].
    pub async fn record(&self, request: impl Into<Request>) -> Result<RunKey> {
        let request = Request { detached: true, ..request.into() };
        let mut prepared = self.inner.prepare(request).await?;
        prepared.record.owner = String::new();
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
        Ok(self.inner.orphans().await?.iter().map(|record| record.run.key()).collect())
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
                    self.recover().await?;
                }
                match tokio::time::timeout(PATIENCE, self.watch(key).await?.wait()).await {
                    Ok(ended) => return ended,
                    Err(_) if self.inner.live(key).is_some() => break,
                    Err(_) => {}
                }
            }
        }
        self.watch(key).await?.wait().await
    }

    /// The run whose uid begins so, or the newest one of this name.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where several uids begin so, naming them.
    pub async fn find(&self, uid_or_name: &str) -> Result<RunRecord> {
        let filter = RunFilter { uid_prefix: Some(uid_or_name.to_owned()), limit: 3, ..RunFilter::default() };
        let mut found = if uid_or_name.is_empty() { Vec::new() } else { self.list(&filter).await? };
        if found.is_empty() {
            let filter = RunFilter { name: Some(uid_or_name.to_owned()), limit: 1, ..RunFilter::default() };
            found = self.list(&filter).await?;
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::not_found(format!("there is no run {uid_or_name:?}"))
                .help("`runtimes runs` lists them; give a uid, the beginning of one, or a name")),
            _ => {
                let uids: Vec<_> = found.iter().map(|record| record.run.metadata.uid.as_str()).collect();
                Err(Error::new(ErrorKind::Invalid, format!("several runs begin with {uid_or_name:?}"))
                    .help(format!("write more of it: {}", uids.join(", "))))
            }
        }
    }

    /// The runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.inner.store.list_runs(filter).await
    }

    /// Forgets an ended run: its record and its log, and its artifacts where asked.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where it has not ended.
    pub async fn delete(&self, key: &RunKey, artifacts: bool) -> Result<()> {
        let record = self.inner.get(key).await?;
        // The record goes last: as long as it is there, this can be done again.
        if record.run.state().is_terminal() {
            remove(&self.inner.run_folder(key))?;
            if artifacts {
                remove(&self.inner.default_artifacts(&record.run))?;
            }
        }
        match self.inner.store.delete_run(key).await? {
            true => Ok(()),
            false => Err(no_run(key)),
        }
    }

    /// The functions of a project, or of all; the tagged versions, or all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        self.inner.store.list_functions(project, all_versions).await
    }

    /// A stored function: `[project/]name[:tag|@hash]`.
    ///
    /// # Errors
    /// `NotFound`, or when the store cannot be read.
    pub async fn function(&self, uri: &str) -> Result<FunctionRecord> {
        let (path, version) = match (uri.split_once('@'), uri.split_once(':')) {
            (Some((path, hash)), _) => (path, Version::Hash(hash.to_owned())),
            (None, Some((path, tag))) => (path, Version::Tag(tag.to_owned())),
            (None, None) => (uri, Version::default()),
        };
        let (project, name) = path.split_once('/').unwrap_or((submit::DEFAULT_PROJECT, path));
        let found = self.inner.store.get_function(project, name, &version).await?;
        found.ok_or_else(|| {
            Error::not_found(format!("there is no function {uri:?} in the store, and no such file"))
                .help("`runtimes functions` lists those that are stored")
        })
    }

    /// Forgets a function with all its versions; returns how many there were.
    ///
    /// # Errors
    /// `Conflict` where a run that has not ended needs it.
    pub async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        self.inner.versions().remove(&(project.to_owned(), name.to_owned()));
        self.inner.store.delete_function(project, name).await
    }

    /// The kinds.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
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
            let _ = aborts.send(CLOSING_GRACE).await;
        }
        for (_, mut live) in attached {
            let _ = live.wait_for(|live| live.over.is_some()).await;
        }
        for target in self.inner.targets.values() {
            target.close().await;
        }
        // Detached runs are the next one's.
        self.inner.let_go();
        let closed = self.inner.store.close().await;
        self.inner.owner.leave();
        closed
    }
}

impl Inner {
    fn active(&self) -> MutexGuard<'_, HashMap<RunKey, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<(String, String), String>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, name: &(String, String)) -> Option<String> {
        self.versions().get(name).cloned()
    }

    fn remember(&self, name: (String, String), hash: String) {
        self.versions().insert(name, hash);
    }

    /// Follows nothing any more.
    fn let_go(&self) {
        for (_, active) in self.active().drain() {
            if let Some(task) = active.task {
                task.abort();
            }
        }
    }

    fn run_folder(&self, key: &RunKey) -> PathBuf {
        self.home.join("runs").join(key.to_string())
    }

    fn log_path(&self, key: &RunKey) -> PathBuf {
        self.run_folder(key).join("log")
    }

    fn live(&self, key: &RunKey) -> Option<channel::Receiver<Live>> {
        self.active().get(key).map(|active| active.live.clone())
    }

    async fn get(&self, key: &RunKey) -> Result<RunRecord> {
        self.store.get_run(key).await?.ok_or_else(|| no_run(key))
    }

    /// Starts to follow a run that is recorded as ours.
    fn follow(
        self: &Arc<Self>,
        record: RunRecord,
        runtime: Arc<dyn Runtime>,
        target: Arc<dyn Target>,
        log: LogWriter,
        job: Job,
        started: Timestamp,
    ) -> channel::Receiver<Live> {
        let run = Arc::new(record.run.clone());
        let first = Live { run, progress: None, log_length: log.length, settled: false, over: None };
        let (live, receiver) = channel::channel(first);
        let (aborts, requests) = mpsc::channel(4);
        let key = job.key.clone();
        let active = Active {
            live: receiver.clone(),
            aborts,
            detached: job.detached,
            grace: follow::grace(&job),
            task: None,
        };
        self.active().insert(key.clone(), active);
        self.count.send_modify(|count| *count += 1);
        let grace = follow::grace(&job);
        let follow = Follow {
            inner: Arc::clone(self),
            record,
            runtime,
            target,
            log,
            live,
            aborts: requests,
            started,
            grace,
            notes: Vec::new(),
        };
        let task = tokio::spawn(follow.run(job)).abort_handle();
        if let Some(active) = self.active().get_mut(&key) {
            active.task = Some(task);
        }
        self.look_for_requests();
        receiver
    }

    fn forget(&self, key: &RunKey) {
        if self.active().remove(key).is_some() {
            self.count.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Asks a run that is followed here to stop; whether there is one.
    async fn abort_here(&self, key: &RunKey, grace: Option<Duration>) -> bool {
        let found =
            self.active().get(key).map(|active| (active.aborts.clone(), grace.unwrap_or(active.grace)));
        match found {
            Some((aborts, grace)) => aborts.send(grace).await.is_ok(),
            None => false,
        }
    }

    /// Records that a run is to stop, for whoever follows it.
    async fn ask_to_stop(&self, key: &RunKey) -> Result<()> {
        loop {
            let mut record = self.get(key).await?;
            if record.run.state() == RunState::Aborting {
                return Ok(());
            }
            record.run.transition(RunState::Aborting, Timestamp::now())?;
            match self.store.update_run(&record).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                other => return other.map(drop),
            }
        }
    }

    /// While runs are followed, looks for those that somebody in another process wants stopped.
    fn look_for_requests(self: &Arc<Self>) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::downgrade(self);
        let mut changes = self.store.changes();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(inner) = inner.upgrade() else { return };
                if inner.active().is_empty() {
                    inner.looking.store(false, Ordering::Release);
                    // One that began in between found somebody looking.
                    if inner.active().is_empty() || inner.looking.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                if changes.has_changed().unwrap_or(false) {
                    changes.borrow_and_update();
                    inner.stop_requested().await;
                }
            }
        });
    }

    async fn stop_requested(&self) {
        let filter = RunFilter {
            states: vec![RunState::Aborting],
            owner: Some(self.owner.id().to_owned()),
            ..RunFilter::default()
        };
        match self.store.list_runs(&filter).await {
            Ok(records) => {
                for record in records {
                    let key = record.run.key();
                    let known =
                        self.live(&key).is_some_and(|live| live.borrow().run.state() == RunState::Aborting);
                    if !known {
                        self.abort_here(&key, None).await;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "requests to stop runs cannot be read"),
        }
    }
}

fn no_run(key: &RunKey) -> Error {
    Error::not_found(format!("there is no run {key}")).help("`runtimes runs` lists them")
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder, error)),
        _ => Ok(()),
    }
}
