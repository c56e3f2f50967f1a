//! From a storage to this machine: streamed, whole or not at all.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, path::Path as Key};
use runtime_core::{Error, Result};
use tokio::{
    fs::{self, File},
    io::{AsyncWrite, AsyncWriteExt},
};

#[cfg(feature = "http")]
use super::Scheme;
use super::{Meter, Place, Storage, error, storage::Opened};

/// So many files of a folder are fetched at the same time.
const AT_ONCE: usize = 4;

/// Something that lies in a folder of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the folder.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Storage {
    /// Reads a file of a storage to its end.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Unavailable`, or what the writer says.
    pub async fn read(
        &self,
        place: &Place,
        project: &str,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        meter: &Meter,
    ) -> Result<()> {
        place.check_compiled()?;
        #[cfg(feature = "http")]
        if place.scheme() == Scheme::Http {
            return super::http::read(place, to, meter).await;
        }
        let opened = self.open(place, project)?;
        opened.copy(place, &opened.key, to, meter).await
    }

    /// Fetches a file, or all that lies in a folder, to this path. What is half fetched is not seen there; what an
    /// earlier attempt fetched of a folder is not fetched again.
    ///
    /// # Errors
    /// As [`Self::read`]; where the disk is full.
    pub async fn fetch(&self, place: &Place, project: &str, to: &Path, meter: &Meter) -> Result<()> {
        let part = beside(to);
        if !place.is_folder() {
            make_parent(to).await?;
            let mut file = File::create(&part).await.map_err(|error| Error::io("create", &part, error))?;
            let read = self.read(place, project, &mut file, meter).await;
            let kept = match read {
                Ok(()) => file.sync_data().await.map_err(|error| Error::io("write", &part, error)),
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                let _ = fs::remove_file(&part).await;
                return Err(error);
            }
            return rename(&part, to).await;
        }
        let entries = self.list(place, project).await?;
        if entries.is_empty() {
            return Err(Error::not_found(format!("there is nothing below {place}")).help("check the path"));
        }
        fs::create_dir_all(&part).await.map_err(|error| Error::io("create", &part, error))?;
        entries.iter().for_each(|entry| meter.expect(entry.size));
        let opened = self.open(place, project)?;
        stream::iter(entries.iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |entry| opened.fetch_entry(place, entry, &part, meter))
            .await?;
        // The files are on the disk; their names before the folder is shown.
        let folder = part.clone();
        let written = tokio::task::spawn_blocking(move || crate::durable::folders(&folder)).await;
        written
            .map_err(|error| Error::internal("a task on files has ended").source(error))?
            .map_err(|error| Error::io("write", &part, error))?;
        rename(&part, to).await
    }

    /// What lies in a folder, and in the folders in it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn list(&self, place: &Place, project: &str) -> Result<Vec<Entry>> {
        let opened = self.open(place, project)?;
        let found: Vec<_> = opened
            .store
            .list(Some(&opened.key))
            .try_collect()
            .await
            .map_err(|error| error::request("list", place, project, error))?;
        let below = |key: &Key| -> Option<String> {
            let parts: Vec<String> =
                key.prefix_match(&opened.key)?.map(|part| part.as_ref().to_owned()).collect();
            (!parts.is_empty()).then(|| parts.join("/"))
        };
        let mut entries: Vec<Entry> = found
            .iter()
            .filter_map(|meta| Some(Entry { path: below(&meta.location)?, size: meta.size }))
            .collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        // Some tools mark a folder by an empty object of its name.
        let is_mark = |entry: &Entry| {
            let inside = format!("{}/", entry.path);
            let next = entries.partition_point(|other| other.path < inside);
            entry.size == 0 && entries.get(next).is_some_and(|other| other.path.starts_with(&inside))
        };
        let marks: Vec<bool> = entries.iter().map(is_mark).collect();
        let mut marks = marks.into_iter();
        entries.retain(|_| !marks.next().unwrap_or_default());
        Ok(entries)
    }
}

impl Opened {
    async fn copy(
        &self,
        place: &Place,
        key: &Key,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        meter: &Meter,
    ) -> Result<()> {
        let failed = |error| error::request("read", place, &self.project, error);
        let got = self.store.get(key).await.map_err(failed)?;
        let mut left = got.meta.size;
        if key == &self.key {
            meter.expect(left);
        }
        let mut chunks = got.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(failed)?;
            to.write_all(&chunk).await.map_err(|error| written(place, error))?;
            left = left.saturating_sub(chunk.len() as u64);
            meter.add(chunk.len() as u64);
        }
        if left > 0 {
            return Err(cut_short(place, left));
        }
        to.flush().await.map_err(|error| written(place, error))
    }

    async fn fetch_entry(&self, place: &Place, entry: &Entry, folder: &Path, meter: &Meter) -> Result<()> {
        let to = folder.join(&entry.path);
        if fs::metadata(&to).await.is_ok_and(|meta| meta.is_file() && meta.len() == entry.size) {
            meter.add(entry.size);
            return Ok(());
        }
        make_parent(&to).await?;
        let inside = place.join(&entry.path);
        let key = Key::parse(format!("{}/{}", self.key, entry.path)).map_err(|error| {
            Error::new(runtime_core::ErrorKind::Invalid, format!("{inside} cannot be a file here: {error}"))
        })?;
        let part = beside(&to);
        let mut file = File::create(&part).await.map_err(|error| Error::io("create", &part, error))?;
        self.copy(&inside, &key, &mut file, meter).await?;
        file.sync_data().await.map_err(|error| Error::io("write", &part, error))?;
        rename(&part, &to).await
    }
}

/// The transfer ended before the file did.
pub(super) fn cut_short(place: &Place, left: u64) -> Error {
    Error::new(
        runtime_core::ErrorKind::Unavailable,
        format!("cannot read {place}: it ended {left} bytes before its end"),
    )
}

/// What was read cannot be written.
pub(super) fn written(place: &Place, error: std::io::Error) -> Error {
    Error::io("write", format!("what was read from {place}"), error)
}

/// Where something lies while it is fetched.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.part"))
}

async fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).await.map_err(|error| Error::io("create", folder, error))
}

async fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).await.map_err(|error| Error::io("create", to, error))
}
