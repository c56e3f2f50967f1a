//! What the clones of an orchestrator share: its parts, and the runs that it follows.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use runtime_core::{
    ErrorKind, Plan, Registry, Result, RunState, Runtime, Store, Target,
    run::RunKey,
    secret::SecretSource,
    store::{RunFilter, RunRecord},
    target::Job,
};
use tokio::{
    sync::{Notify, Semaphore, watch as channel},
    task::AbortHandle,
};

use super::{
    checked::Known,
    deployment::Uses,
    follow::{self, Follow, Live},
    lease::{Lease, Place},
    log::LogWriter,
    no_run,
    owner::Owner,
    post::Outbox,
    report::{Reported, Seen},
    reserve::Reserve,
    stage::Fetching,
    submit::Way,
    worktree::WorkTrees,
};

use crate::{
    data::Storage,
    stop::{self, Stopper},
};

/// How often requests of other processes to stop a run are looked for, while runs are followed.
const LOOK: Duration = Duration::from_millis(200);

/// What the clones of an orchestrator share.
pub(super) struct Inner {
    pub(super) home: PathBuf,
    #[cfg(feature = "source")]
    pub(super) sources: crate::source::Sources,
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Registry,
    pub(super) targets: BTreeMap<&'static str, Arc<dyn Target>>,
    pub(super) owner: Owner,
    pub(super) place: Place,
    /// Where others than those in this home may have the same store.
    pub(super) lease: Option<Lease>,
    /// It takes up the runs of orchestrators that are gone, without being asked.
    pub(super) recovers: bool,
    pub(super) reserve: Reserve,
    pub(super) active: Mutex<HashMap<RunKey, Active>>,
    /// Counts the runs that are followed.
    pub(super) count: channel::Sender<usize>,
    /// The version of each function that was stored last.
    pub(super) versions: Mutex<HashMap<(String, String), String>>,
    /// In the place of what is not needed for long: there may be many runs.
    pub(super) nothing: (Arc<runtime_core::Run>, Arc<Plan>),
    /// How many more runs may be on their way to a cluster.
    pub(super) ways: Arc<Semaphore>,
    pub(super) looking: AtomicBool,
    /// What ended runs left is being taken away.
    pub(super) releasing: AtomicBool,
    /// What holds inputs and artifacts elsewhere.
    pub(super) storage: Storage,
    pub(super) fetching: Fetching,
    /// Functions that need no checking again.
    pub(super) checked: Known,
    /// What is not committed where runs have their code.
    pub(super) work_trees: WorkTrees,
    /// The secrets of projects.
    pub(super) secrets: Option<Arc<dyn SecretSource>>,
    /// Which reports were looked at.
    pub(super) reports_seen: Mutex<Seen>,
    /// Who makes the tokens with which runs report.
    #[cfg(feature = "_tokens")]
    pub(super) tokens: tokio::sync::OnceCell<crate::api::Tokens>,
    /// Who sends notifications.
    pub(super) outbox: Arc<Outbox>,
}

/// A run that is followed here.
pub(super) struct Active {
    pub(super) live: channel::Receiver<Live>,
    pub(super) aborts: Stopper,
    pub(super) detached: bool,
    pub(super) grace: Duration,
    /// Somebody has something to report of it.
    pub(super) reported: Arc<Notify>,
    pub(super) task: Option<AbortHandle>,
}

/// A run that is to be followed from now on.
pub(super) struct Begin {
    pub(super) record: RunRecord,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) target: Arc<dyn Target>,
    pub(super) log: LogWriter,
    pub(super) job: Job,
    pub(super) way: Option<Way>,
}

impl Inner {
    pub(super) fn active(&self) -> MutexGuard<'_, HashMap<RunKey, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn versions(&self) -> MutexGuard<'_, HashMap<(String, String), String>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, name: &(String, String)) -> Option<String> {
        self.versions().get(name).cloned()
    }

    pub(super) fn remember(&self, name: (String, String), hash: String) {
        self.versions().insert(name, hash);
    }

    /// Follows nothing any more.
    pub(super) fn let_go(&self) {
        for (_, active) in self.active().drain() {
            if let Some(task) = active.task {
                task.abort();
            }
        }
    }

    pub(super) fn run_folder(&self, key: &RunKey) -> PathBuf {
        self.home.join("runs").join(key.to_string())
    }

    pub(super) fn log_path(&self, key: &RunKey) -> PathBuf {
        self.run_folder(key).join("log")
    }

    pub(super) fn live(&self, key: &RunKey) -> Option<channel::Receiver<Live>> {
        self.active().get(key).map(|active| active.live.clone())
    }

    pub(super) async fn get(&self, key: &RunKey) -> Result<RunRecord> {
        self.store.get_run(key).await?.ok_or_else(|| no_run(key))
    }

    /// Starts to follow a run that is recorded as ours.
    pub(super) fn follow(self: &Arc<Self>, begin: Begin) -> channel::Receiver<Live> {
        let Begin { record, runtime, target, log, job, way } = begin;
        let run = Arc::clone(&job.run);
        if run.state() == RunState::Created {
            self.work_trees.look(&run, &self.home);
        }
        let started = run.status.start_time.unwrap_or_else(Timestamp::now);
        let first = Live { run, progress: None, log_length: log.length, settled: false, over: None };
        let uses = Uses::of(&job.run, &self.store);
        let (live, receiver) = channel::channel(first);
        let (aborts, requests) = stop::channel();
        let key = job.key.clone();
        let reported = Arc::new(Notify::new());
        let active = Active {
            live: receiver.clone(),
            aborts,
            detached: job.detached,
            grace: follow::grace(&job),
            reported: Arc::clone(&reported),
            task: None,
        };
        self.active().insert(key.clone(), active);
        self.count.send_modify(|count| *count += 1);
        let grace = follow::grace(&job);
        // On the heap: futures are moved.
        let follow = Box::new(Follow {
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
            packages: None,
            addresses: None,
            overdue: None,
            uses,
            here: matches!(*job.plan, Plan::Host(_)),
            reported: Reported::new(reported),
            way,
        });
        let task = tokio::spawn(follow.run(job)).abort_handle();
        if let Some(active) = self.active().get_mut(&key) {
            active.task = Some(task);
        }
        self.look_for_requests();
        receiver
    }

    pub(super) fn forget(&self, key: &RunKey) {
        self.work_trees.forget(key);
        if self.active().remove(key).is_some() {
            self.count.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Asks a run that is followed here to stop; whether there is one.
    pub(super) async fn abort_here(&self, key: &RunKey, grace: Option<Duration>) -> bool {
        let found =
            self.active().get(key).map(|active| (active.aborts.clone(), grace.unwrap_or(active.grace)));
        match found {
            Some((aborts, grace)) => aborts.ask(grace),
            None => false,
        }
    }

    /// Records that a run is to stop, for whoever follows it.
    pub(super) async fn ask_to_stop(&self, key: &RunKey) -> Result<()> {
        loop {
            let mut record = self.get(key).await?;
            if record.run.state() == RunState::Aborting {
                return Ok(());
            }
            record.run_mut().transition(RunState::Aborting, Timestamp::now())?;
            match self.store.update_run(&record).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                other => return other.map(drop),
            }
        }
    }

    /// While runs are followed, looks for those that somebody in another process wants stopped.
    pub(super) fn look_for_requests(self: &Arc<Self>) {
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
                    inner.look_for_reports().await;
                }
            }
        });
    }

    pub(super) async fn stop_requested(&self) {
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
