//! Functions from elsewhere: hubs, URLs, repositories.
//!
//! A hub is a folder, a repository or a URL with functions in it, in the layout of MLRun's hub (a catalogue, and a
//! folder for each version of each item), or simply with a folder for each: `NAME/function.yaml`.
//!
//! ```no_run
//! # async fn example() -> runtimes::Result<()> {
//! use runtimes::hub::Hub;
//!
//! let hub = Hub::open(".runtimes")?;
//! let imported = hub.import("hub://describe:1.2.0", &|step| eprintln!("{step}")).await?;
//! println!("{}", imported.function.metadata.name);
//! # Ok(())
//! # }
//! ```

mod catalog;
mod config;
mod import;
mod lock;
mod open;
mod push;
mod reference;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use runtime_core::{Error, ErrorKind, Result};

use crate::source::{Progress, Shelf, Sources, key};
use config::Config;
use lock::Lockfile;
use open::Opened;

pub use catalog::Item;
pub use config::HubSource;
pub use import::Imported;
pub use lock::{LOCKFILE, Pin};
pub use push::{Push, Pushed};
pub use reference::{GitReference, Reference};

/// The hubs of a home folder, and what was pulled from them.
#[derive(Clone, Debug)]
pub struct Hub {
    config: Config,
    lockfile: Lockfile,
    resources: Sources,
    /// What was pulled, by its digest.
    pulled: Shelf,
}

/// What hubs have.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The items, hub by hub.
    pub items: Vec<Item>,
    /// What the user should know: hubs that were not reached, items that were left out.
    pub notes: Vec<String>,
}

impl Hub {
    /// The hubs of this home folder, as its `hub.yaml` names them; pins are kept in `runtimes.lock` in the current
    /// folder.
    ///
    /// # Errors
    /// `Invalid` where `hub.yaml` is wrong.
    pub fn open(home: impl AsRef<Path>) -> Result<Self> {
        let home = home.as_ref();
        let home = std::path::absolute(home).map_err(|error| Error::io("find", home, error))?;
        Ok(Self {
            config: Config::read(&home)?,
            lockfile: Lockfile(crate::orchestrator::current_dir()?.join(LOCKFILE)),
            resources: Sources::new(&home),
            pulled: Shelf::new(home.join("hub")),
        })
    }

    /// Keeps pins in this file.
    #[must_use]
    pub fn with_lockfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.lockfile = Lockfile(path.into());
        self
    }

    /// The file with the pins.
    pub fn lockfile(&self) -> &Path {
        &self.lockfile.0
    }

    /// What was pulled, as `runtimes.lock` says.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn pins(&self) -> Result<Vec<Pin>> {
        self.lockfile.read()
    }

    /// The hubs, in the order in which they are asked.
    pub fn sources(&self) -> &[HubSource] {
        &self.config.sources
    }

    /// Removes what was pulled and not used for this long, but for what `runtimes.lock` pins; how many functions, and
    /// bytes.
    ///
    /// # Errors
    /// When `runtimes.lock` cannot be read, or something cannot be removed; the rest is.
    pub fn prune(&self, older_than: Duration) -> Result<(usize, u64)> {
        let pinned: Vec<String> = self.pins()?.iter().map(|pin| key(&pin.digest)).collect();
        self.pulled.prune(older_than, &|name| pinned.iter().any(|pinned| pinned == name))
    }

    /// Adds a hub, as the first or the last to be asked. It must be there, unless it is not reached now.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, or what is wrong with its catalogue.
    pub async fn add_source(
        &mut self,
        source: HubSource,
        first: bool,
        progress: Progress<'_>,
    ) -> Result<Listing> {
        let listing = match Opened::open(&source, self.config.base(), &self.resources, progress).await {
            Ok(opened) => Listing { notes: opened.all_notes().collect(), items: opened.items },
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                Listing { items: Vec::new(), notes: vec![error.message().to_owned()] }
            }
            Err(error) => return Err(error),
        };
        self.config.add(source, first)?;
        Ok(listing)
    }

    /// Forgets a hub; what was pulled from it stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_source(&mut self, name: &str) -> Result<()> {
        self.config.remove(name)
    }

    /// What the hubs have, or one of them.
    ///
    /// # Errors
    /// `NotFound` where there is no such hub; what is wrong with it, where one was named.
    pub async fn list(&self, source: Option<&str>, progress: Progress<'_>) -> Result<Listing> {
        let mut listing = Listing::default();
        let sources = match source {
            Some(name) => vec![self.config.get(name)?],
            None => self.config.sources.iter().collect(),
        };
        for hub in sources {
            match Opened::open(hub, self.config.base(), &self.resources, progress).await {
                Ok(opened) => {
                    listing.notes.extend(opened.all_notes());
                    listing.items.extend(opened.items);
                }
                Err(error) if source.is_some() => return Err(error),
                Err(error) => {
                    listing.notes.push(format!("the hub {:?} is left out: {}", hub.name, error.message()))
                }
            }
        }
        Ok(listing)
    }

    /// An item of a hub, from the first that has it.
    ///
    /// # Errors
    /// `Invalid` where the reference is not one of a hub; `NotFound`.
    pub async fn item(&self, reference: &str, progress: Progress<'_>) -> Result<Item> {
        match Reference::parse(reference)? {
            Reference::Hub { source, name, .. } => {
                self.find(source.as_deref(), &name, None, progress).await.map(|(_, item, _)| item)
            }
            other => {
                Err(Error::invalid(other.to_string(), "is no item of a hub")
                    .help("write hub://[SOURCE/]NAME"))
            }
        }
    }
}

/// The function at an address, with the hubs of this home folder: [`Hub::import`] without progress.
///
/// # Errors
/// As [`Hub::import`].
pub async fn resolve(home: impl AsRef<Path>, reference: &str) -> Result<Imported> {
    Hub::open(home)?.import(reference, &|_| {}).await
}
