//! From this machine to a storage: streamed, in parts where it is large, seen when it is whole.

use std::path::Path;

use futures_util::{StreamExt, TryStreamExt};
use object_store::{Attribute, Attributes, ObjectStoreExt, PutMultipartOptions, PutOptions, WriteMultipart};
use runtime_core::{Error, ErrorKind, Result};
use tokio::{fs::File, io::AsyncReadExt};

use super::{Meter, Place, Scheme, Storage, error, storage::Opened};

/// What is smaller is written at once; what is not, in parts of this size.
const PART: u64 = 8 * 1024 * 1024;

/// A storage takes at most 10,000 parts.
const MOST_PARTS: u64 = 9_000;

/// So many parts are under way at the same time: with [`PART`], all the memory that a transfer takes.
const AT_ONCE: usize = 4;

impl Storage {
    /// Writes one file. Nobody sees a part of it.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the bucket), `Unavailable`; where the file cannot be read, or changes meanwhile.
    pub async fn put(&self, from: &Path, place: &Place, project: &str, meter: &Meter) -> Result<()> {
        place.check_writable()?;
        let opened = self.open(place, project)?;
        let file = File::open(from).await.map_err(|error| Error::io("read", from, error))?;
        let size = file.metadata().await.map_err(|error| Error::io("read", from, error))?.len();
        let attributes = attributes(place);
        let failed = |error| error::request("write", place, project, error);
        if size < PART {
            let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            // One byte more would tell that it grows.
            file.take(PART)
                .read_to_end(&mut content)
                .await
                .map_err(|error| Error::io("read", from, error))?;
            check_size(from, size, content.len() as u64)?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            opened.store.put_opts(&opened.key, content.into(), options).await.map_err(failed)?;
            meter.add(size);
            return Ok(());
        }
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let upload = opened.store.put_multipart_opts(&opened.key, options).await.map_err(failed)?;
        let part = usize::try_from(PART.max(size / MOST_PARTS)).unwrap_or(usize::MAX);
        let writer = Some(WriteMultipart::new_with_chunk_size(upload, part));
        let mut upload = Upload { writer, opened: &opened, place };
        upload.send(file, from, size, meter).await
    }

    /// Asks whether something could be written below a place, before it is needed: what is clear at once is said.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn probe(&self, place: &Place, project: &str) -> Result<()> {
        place.check_writable()?;
        if matches!(place.scheme(), Scheme::File | Scheme::Memory) {
            return Ok(());
        }
        let inside = place.join(".runtimes");
        let opened = self.open(&inside, project)?;
        match opened.store.get(&opened.key).await {
            Err(error) if error::is_hopeless(&error) => Err(error::request("write", place, project, error)),
            _ => Ok(()),
        }
    }

    /// Removes a file, or all that lies in a folder. What is not there is no error.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn remove(&self, place: &Place, project: &str) -> Result<()> {
        place.check_writable()?;
        let opened = self.open(place, project)?;
        let failed = |error| error::request("delete", place, project, error);
        if place.is_folder() {
            let keys = opened.store.list(Some(&opened.key)).map_ok(|meta| meta.location).boxed();
            let removed = opened.store.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await;
            return match removed {
                Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(failed(error)),
                _ => Ok(()),
            };
        }
        match opened.store.delete(&opened.key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The size of a file of a storage; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn size(&self, place: &Place, project: &str) -> Result<Option<u64>> {
        let opened = self.open(place, project)?;
        match opened.store.head(&opened.key).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error::request("read", place, project, error)),
        }
    }
}

/// An upload in parts, given up where it is dropped: what was sent would be kept, and paid for, for ever.
struct Upload<'a> {
    writer: Option<WriteMultipart>,
    opened: &'a Opened,
    place: &'a Place,
}

impl Upload<'_> {
    async fn send(&mut self, mut file: File, from: &Path, size: u64, meter: &Meter) -> Result<()> {
        let (place, project) = (self.place, &self.opened.project);
        let failed = |error| error::request("write", place, project, error);
        let mut buffer = vec![0; 1024 * 1024];
        let mut sent = 0;
        loop {
            let Some(upload) = &mut self.writer else { return Err(Error::internal("an upload was lost")) };
            let count = file.read(&mut buffer).await.map_err(|error| Error::io("read", from, error))?;
            if count == 0 {
                break;
            }
            upload.wait_for_capacity(AT_ONCE).await.map_err(failed)?;
            upload.write(&buffer[..count]);
            sent += count as u64;
            meter.add(count as u64);
        }
        check_size(from, size, sent)?;
        match self.writer.take() {
            Some(upload) => upload.finish().await.map(drop).map_err(failed),
            None => Err(Error::internal("an upload was lost")),
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.writer.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                // Where the storage cannot be asked, its own rules for such uploads clean it up.
                if upload.abort().await.is_err() {
                    tracing::debug!("an upload could not be given up");
                }
            });
        }
    }
}

fn check_size(from: &Path, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "{} changed while it was written to a storage: {expected} bytes, then {found}",
            from.display()
        ),
    ))
}

/// What a storage is told of a file beside its content; folders of this machine keep none of it.
fn attributes(place: &Place) -> Attributes {
    match place.scheme() {
        Scheme::File => Attributes::new(),
        _ => Attributes::from_iter([(Attribute::ContentType, super::content_type(place.name()))]),
    }
}
