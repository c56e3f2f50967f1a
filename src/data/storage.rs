//! Opening what holds data: one client for each bucket and identity.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path as Key};
use runtime_core::{Error, ErrorKind, Result, secret::SecretSource};

use super::{
    Place, Scheme,
    credentials::{self, Options},
};

/// Everything that holds data, opened as it is needed. Cheap to clone; the clones share the memory behind `memory://`.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    secrets: Option<Arc<dyn SecretSource>>,
    memory: Arc<InMemory>,
    open: Mutex<HashMap<(String, Options), Arc<dyn ObjectStore>>>,
}

/// An opened place.
pub(super) struct Opened {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) key: Key,
    /// Who it is opened for.
    pub(super) project: String,
}

impl Storage {
    /// With the secrets of projects beside the environment.
    pub fn new(secrets: Option<Arc<dyn SecretSource>>) -> Self {
        Self(Arc::new(Inner { secrets, memory: Arc::default(), open: Mutex::default() }))
    }

    /// Opens a place for a project. Nothing is sent yet.
    pub(super) fn open(&self, place: &Place, project: &str) -> Result<Opened> {
        place.check_compiled()?;
        let wrong = |error: object_store::path::Error| {
            Error::new(ErrorKind::Invalid, format!("the path of {place} is none: {error}"))
        };
        let opened = |store, key| Opened { store, key, project: project.to_owned() };
        match place.scheme() {
            Scheme::File => {
                let path = std::path::absolute(place.key())
                    .map_err(|error| Error::io("find", place.key(), error))?;
                let key = Key::from_absolute_path(path).map_err(wrong)?;
                return Ok(opened(Arc::new(LocalFileSystem::new().with_fsync(true)), key));
            }
            Scheme::Memory => {
                let memory: Arc<dyn ObjectStore> = Arc::clone(&self.0.memory) as _;
                return Ok(opened(memory, Key::parse(place.key()).map_err(wrong)?));
            }
            _ => {}
        }
        let key = Key::parse(place.key()).map_err(wrong)?;
        let secrets = self.0.secrets.as_deref();
        let options = credentials::options(place.scheme(), project, secrets, environment())?;
        let name = (place.root().to_owned(), options);
        let known = || self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = known().get(&name) {
            return Ok(opened(Arc::clone(store), key));
        }
        let store = connect(place, &name.1, project)?;
        known().insert(name, Arc::clone(&store));
        Ok(opened(store, key))
    }
}

/// The variables of this program that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A client for this bucket.
#[cfg(feature = "_cloud")]
fn connect(place: &Place, options: &Options, project: &str) -> Result<Arc<dyn ObjectStore>> {
    let made = match place.scheme() {
        #[cfg(feature = "s3")]
        Scheme::S3 => super::net::s3(place, options),
        #[cfg(feature = "gcs")]
        Scheme::Gcs => super::net::gcs(place, options),
        #[cfg(feature = "azure")]
        Scheme::Azure => super::net::azure(place, options),
        _ => return Err(unsupported(place)),
    };
    made.map_err(|error| super::error::open(place, project, error))
}

#[cfg(not(feature = "_cloud"))]
fn connect(place: &Place, _: &Options, _: &str) -> Result<Arc<dyn ObjectStore>> {
    Err(unsupported(place))
}

fn unsupported(place: &Place) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{place}: no storage of {:?}", place.scheme()))
}
