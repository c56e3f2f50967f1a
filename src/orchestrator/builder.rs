//! Putting an orchestrator together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use runtime_core::{Error, Plan, Registry, Result, Store, Target, plan::ClusterPlan, secret::SecretSource};
use tokio::sync::{Semaphore, watch as channel};

use super::{
    Guard, Orchestrator,
    checked::Known,
    inner::Inner,
    lease::{Lease, Place},
    owner::Owner,
    place,
    reserve::Reserve,
    stage::Fetching,
    worktree::WorkTrees,
};
use crate::data::Storage;

/// How many runs may be on their way to a cluster at the same time.
const WAYS: usize = 500;

/// Puts an orchestrator together.
pub struct Builder {
    pub(super) home: PathBuf,
    pub(super) recover: bool,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) store_url: Option<String>,
    pub(super) lease: Duration,
    pub(super) registry: Option<Registry>,
    pub(super) targets: Vec<Arc<dyn Target>>,
    pub(super) secrets: Option<Arc<dyn SecretSource>>,
}

impl Builder {
    /// Whether opening takes up the runs that nobody follows any more; it does, unless told otherwise. Where several
    /// homes share the store, it goes on doing so.
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

    /// The store of this address, in place of the one file in the home folder: `postgres://USER@HOST/DATABASE` (feature
    /// `postgres`), `sqlite:FILE` (feature `sqlite`), `memory:`. Several orchestrators, on one machine or many, may have
    /// the same database.
    #[must_use]
    pub fn store_url(mut self, url: impl Into<String>) -> Self {
        self.store_url = Some(url.into());
        self
    }

    /// How long others wait before they take the runs of an orchestrator that is not heard of any more; 15 seconds,
    /// unless told otherwise. It tells of itself three times as often, through the store, where that is not the one file
    /// of its home. The clocks of all machines must agree to a fraction of this.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length;
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

    /// The target "kubernetes": the cluster of this client.
    #[cfg(feature = "kubernetes")]
    #[must_use]
    pub fn kubernetes(self, client: crate::cluster::kube::Client) -> Self {
        let options = crate::cluster::ClusterOptions::default();
        self.target(Arc::new(crate::cluster::Kubernetes::with_client(client, options)))
    }

    /// Other secrets of projects than those in the home folder; with them data is read and written.
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn SecretSource>) -> Self {
        self.secrets = Some(secrets);
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
        // The one file of a home is shared by those who have that home, and they see each other's locks.
        let leased = self.store.is_some() || self.store_url.is_some();
        let store = match (self.store, self.store_url) {
            (Some(store), _) => store,
            (None, Some(url)) => place::open(&url).await?,
            (None, None) => place::default(&home).await?,
        };
        let secrets = self.secrets.or_else(|| default_secrets(&home));
        #[allow(unused_mut, reason = "without kinds of this machine there is no target to add")]
        let mut targets: BTreeMap<&'static str, Arc<dyn Target>> = BTreeMap::new();
        #[cfg(feature = "_host")]
        targets.insert("host", Arc::new(host(&home, secrets.as_ref())));
        targets.extend(self.targets.into_iter().map(|target| (target.name(), target)));
        let registry = match self.registry {
            Some(registry) => registry,
            None => linked()?,
        };
        let resources: Vec<_> = registry.iter().flat_map(|kind| kind.resources()).copied().collect();
        targets.values().for_each(|target| target.expect(&resources));
        let place = Place::of(&home)?;
        let owner = Owner::register(&home, &place, leased)?;
        let lease = leased.then(|| Lease::new(Arc::clone(&store), owner.id(), place.clone(), self.lease));
        let inner = Arc::new(Inner {
            lease: lease.transpose()?,
            place,
            owner,
            recovers: self.recover,
            reserve: Reserve::keep(&home),
            #[cfg(feature = "source")]
            sources: crate::source::Sources::new(&home),
            home,
            store,
            registry,
            targets,
            active: Mutex::default(),
            count: channel::Sender::new(0),
            versions: Mutex::default(),
            nothing: (Arc::default(), Arc::new(Plan::Cluster(ClusterPlan::default()))),
            ways: Arc::new(Semaphore::new(WAYS)),
            looking: AtomicBool::new(false),
            releasing: AtomicBool::new(false),
            checked: Known::default(),
            storage: Storage::new(secrets.clone()),
            fetching: Fetching::default(),
            work_trees: WorkTrees::default(),
            secrets,
            reports_seen: Mutex::default(),
            #[cfg(feature = "_tokens")]
            tokens: tokio::sync::OnceCell::new(),
            outbox: Arc::default(),
        });
        let orchestrator = Orchestrator { _guard: Arc::new(Guard(Arc::clone(&inner))), inner };
        if self.recover {
            orchestrator.recover().await?;
            orchestrator.inner.tend();
        } else {
            orchestrator.inner.sweep().await;
        }
        Ok(orchestrator)
    }
}

/// This machine, with the secrets of this orchestrator.
#[cfg(feature = "_host")]
fn host(home: &Path, secrets: Option<&Arc<dyn SecretSource>>) -> runtime_local::HostTarget {
    match secrets {
        Some(secrets) => runtime_local::HostTarget::with_secrets(home, Arc::clone(secrets)),
        None => runtime_local::HostTarget::new(home),
    }
}

/// The secrets of the target "this machine", where this build has it.
#[cfg(feature = "_host")]
fn default_secrets(home: &Path) -> Option<Arc<dyn SecretSource>> {
    Some(Arc::new(runtime_local::host::SecretFolder::new(home.join("secrets"))))
}

#[cfg(not(feature = "_host"))]
fn default_secrets(_: &Path) -> Option<Arc<dyn SecretSource>> {
    None
}

/// The kinds of the features of this build, and those of other linked crates.
fn linked() -> Result<Registry> {
    // Naming a crate keeps the linker from dropping it, and its kinds with it.
    #[cfg(feature = "_host")]
    let _ = runtime_local::register;
    #[cfg(feature = "dask")]
    let _ = runtime_dask::register;
    #[cfg(feature = "job")]
    let _ = runtime_job::register;
    #[cfg(feature = "mpijob")]
    let _ = runtime_mpi::register;
    #[cfg(feature = "spark")]
    let _ = runtime_spark::register;
    Registry::linked()
}
