//! What was fetched, kept by what it holds: made once, by one process, whole or not at all.
//!
//! ```text
//! HOME/sources/KEY/            what was fetched, moved here when it was complete
//! HOME/sources/KEY.partial/    while it is fetched; rubbish as soon as nobody holds the lock
//! HOME/sources/KEY.lock        held alone by who fetches or removes it, together by those who use it
//! HOME/sources/KEY.json        what an address held when it was last looked at
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use runtime_core::{Error, ErrorKind, Result, serde_json};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::durable;

/// A folder of things that were fetched.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    root: PathBuf,
}

/// Something that was fetched; it stays where it is as long as this lives.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// A place to put something that is being fetched, which nobody else has.
pub(crate) struct Place {
    partial: PathBuf,
    whole: PathBuf,
    _lock: File,
}

impl Shelf {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a key's thing is, or would be.
    #[cfg(any(feature = "hub", feature = "http"))]
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// What is there under this key; waits for one who is fetching it. Otherwise the place to put it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) async fn take(&self, key: &str) -> Result<std::result::Result<Kept, Place>> {
        fs::create_dir_all(&self.root).map_err(|error| Error::io("create", &self.root, error))?;
        let (whole, path) = (self.root.join(key), self.root.join(format!("{key}.lock")));
        loop {
            let lock = open(&path)?;
            if !whole.is_dir() {
                match lock.try_lock() {
                    Ok(()) if is_at(&lock, &path) && !whole.is_dir() => {
                        let partial = self.root.join(format!("{key}.partial"));
                        remove(&partial)?;
                        return Ok(Err(Place { partial, whole, _lock: lock }));
                    }
                    Ok(()) => continue,
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, error)),
                }
            }
            // Together with others: who waits to have it alone would wait for all who use it.
            let lock = shared(lock, &path).await?;
            if is_at(&lock, &path) && whole.is_dir() {
                // So that it is seen when it was last used.
                let _ = lock.set_modified(SystemTime::now());
                return Ok(Ok(Kept { path: whole, _lock: lock }));
            }
            // Whoever was at it has given up.
            drop(lock);
            tokio::task::yield_now().await;
        }
    }

    /// Writes what is known of an address, whole or not at all.
    pub(crate) fn note(&self, key: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::internal("a note cannot be written").source(error))?;
        write_whole(&self.root.join(format!("{key}.json")), &text)
    }

    /// What is known of an address; nothing where it was never looked at, or where that cannot be read.
    pub(crate) fn noted<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.root.join(format!("{key}.json"))).ok()?).ok()
    }

    /// Lets it be seen that a key's thing was used, by one who read it without taking it.
    #[cfg(any(feature = "hub", feature = "http"))]
    pub(crate) fn touch(&self, key: &str) {
        if let Ok(lock) = File::open(self.root.join(format!("{key}.lock"))) {
            let _ = lock.set_modified(SystemTime::now());
        }
    }

    /// Removes what nobody used for this long and nobody has now, but for the keys that are to stay; how many things,
    /// and bytes.
    ///
    /// # Errors
    /// When something cannot be removed; the rest is.
    pub(crate) fn prune(&self, older_than: Duration, stays: &dyn Fn(&str) -> bool) -> Result<(usize, u64)> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Ok((0, 0)) };
        let (mut count, mut bytes, mut failed) = (0, 0, None);
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.strip_suffix(".lock").is_none_or(stays) {
                continue;
            }
            let age = path.metadata().and_then(|meta| meta.modified()).ok();
            let age = age.and_then(|used| SystemTime::now().duration_since(used).ok()).unwrap_or_default();
            if age < older_than {
                continue;
            }
            match remove_unused(&path) {
                Ok(Some(freed)) => (count, bytes) = (count + 1, bytes + freed),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok((count, bytes)), Err)
    }
}

impl Place {
    /// Where to put it: nothing is there yet.
    pub(crate) fn path(&self) -> &Path {
        &self.partial
    }

    /// Shows it, whole.
    ///
    /// # Errors
    /// When it cannot be moved into its place.
    pub(crate) async fn done(self) -> Result<Kept> {
        let (partial, whole) = (self.partial.clone(), self.whole.clone());
        // On the disk first: what is seen after a power failure is whole, too.
        let moved = tokio::task::spawn_blocking(move || {
            durable::tree(&partial).map_err(|error| Error::io("write", &partial, error))?;
            fs::rename(&partial, &whole)
                .and_then(|()| durable::name(&whole))
                .map_err(|error| Error::io("create", &whole, error))
        });
        moved.await.map_err(|error| Error::internal("a task on files has ended").source(error))??;
        let path = self.whole.clone();
        let lock_path = path.with_extension("lock");
        // Let go, then taken again: to change it at once would wait for those who want it, who may wait for this.
        drop(self);
        let lock = shared(open(&lock_path)?, &lock_path).await?;
        match is_at(&lock, &lock_path) && path.is_dir() {
            true => Ok(Kept { path, _lock: lock }),
            false => Err(Error::new(ErrorKind::Conflict, format!("{} was removed at once", path.display()))
                .help("somebody is removing what is not used: try again")),
        }
    }
}

/// What was begun and not finished is gone; a process that is killed leaves it to the next one.
impl Drop for Place {
    fn drop(&mut self) {
        let _ = remove(&self.partial);
    }
}

/// The key of a text.
pub(crate) fn key(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file whole or not at all, and durably.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut file = File::create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        durable::name(path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Error::io("write", path, error)
    })
}

/// Removes a folder, or what else is there, also where files in it may not be written.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => gone(fs::remove_dir_all(path)).or_else(|_| {
            open_up(path);
            gone(fs::remove_dir_all(path))
        }),
        Ok(_) => gone(fs::remove_file(path)),
        Err(error) => gone(Err(error)),
    };
    removed.map_err(|error| Error::io("remove", path, error))
}

/// Makes folders writable for their owner.
fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn remove_unused(path: &Path) -> Result<Option<u64>> {
    let lock = open(path)?;
    match lock.try_lock() {
        Ok(()) if is_at(&lock, path) => {}
        Ok(()) | Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
    }
    let whole = path.with_extension("");
    let bytes = size_of(&whole);
    remove(&whole)?;
    remove(&path.with_extension("partial"))?;
    // Last, and while it is held: who waits for it sees that it is another file now.
    remove(path)?;
    Ok(Some(bytes))
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size_of(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|error| Error::io("open", path, error))
}

/// The lock together with others, once nobody has it alone. Another thread waits, which nobody has to wait for.
async fn shared(file: File, path: &Path) -> Result<File> {
    match file.try_lock_shared() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
    }
    let (sender, receiver) = oneshot::channel();
    let wait = move || drop(sender.send(file.lock_shared().map(|()| file)));
    std::thread::Builder::new()
        .name("source-lock".to_owned())
        .spawn(wait)
        .map_err(|error| Error::io("start a thread to lock", path, error))?;
    let locked = receiver.await.map_err(|_| Error::internal("the thread that waits for a lock has ended"))?;
    locked.map_err(|error| Error::io("lock", path, error))
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
