//! What stands in for storages in a build that has none.

use std::{path::Path, sync::Arc};

use runtime_core::{Error, ErrorKind, Result, secret::SecretSource};

use super::{Meter, Place};

/// No storage: this build was made without the feature `data`.
#[derive(Clone)]
pub struct Storage;

impl Storage {
    /// None.
    pub fn new(_: Option<Arc<dyn SecretSource>>) -> Self {
        Self
    }

    /// Nothing can be fetched.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub async fn fetch(&self, place: &Place, _: &str, _: &Path, _: &Meter) -> Result<()> {
        Err(missing(place))
    }

    /// Nothing can be written.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub async fn put(&self, _: &Path, place: &Place, _: &str, _: &Meter) -> Result<()> {
        Err(missing(place))
    }

    /// Nothing can be written.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub async fn probe(&self, place: &Place, _: &str) -> Result<()> {
        Err(missing(place))
    }

    /// Nothing can be removed.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub async fn remove(&self, place: &Place, _: &str) -> Result<()> {
        Err(missing(place))
    }
}

fn missing(place: &Place) -> Error {
    place.check_compiled().err().unwrap_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("{place} cannot be copied: this program was built without the feature `data`"),
        )
        .help("build it with the feature `data` of the crate `runtimes`")
    })
}
