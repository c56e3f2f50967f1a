//! Putting an orchestrator together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use runtime_core::{Error, Registry, Result, Store, Target, secret::SecretSource};
use tokio::sync::watch as channel;

use super::{
    Guard, Orchestrator, checked::Known, inner::Inner, owner::Owner, reserve::Reserve, stage::Fetching,
};
use crate::data::Storage;

/// Puts an orchestrator together.
pub struct Builder {
    pub(super) home: PathBuf,
    pub(super) recover: bool,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) registry: Option<Registry>,
    pub(super) targets: Vec<Arc<dyn Target>>,
    pub(super) secrets: Option<Arc<dyn SecretSource>>,
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
        let secrets = default_secrets(&home);
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
            checked: Known::default(),
            storage: Storage::new(self.secrets.or(secrets)),
            fetching: Fetching::default(),
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

/// The secrets of the target "this machine", where this build has it.
#[cfg(any(feature = "handler", feature = "local"))]
fn default_secrets(home: &Path) -> Option<Arc<dyn SecretSource>> {
    Some(Arc::new(runtime_local::host::SecretFolder::new(home.join("secrets"))))
}

#[cfg(not(any(feature = "handler", feature = "local")))]
fn default_secrets(_: &Path) -> Option<Arc<dyn SecretSource>> {
    None
}

/// The kinds of the features of this build, and those of other linked crates.
fn linked() -> Result<Registry> {
    // Naming a crate keeps the linker from dropping it, and its kinds with it.
    #[cfg(any(feature = "handler", feature = "local"))]
    let _ = runtime_local::register;
    Registry::linked()
}
