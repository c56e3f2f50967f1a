//! Locks on environments, which hold across processes and end with them.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use runtime_core::{Error, Result};
use tokio::sync::oneshot;

/// Keeps an environment where it is until it is dropped.
#[derive(Debug)]
pub struct Hold(Option<File>);

impl Hold {
    /// For an interpreter that is not ours, which nobody here removes.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Shares the lock with others that use it; `None` while it is being built or removed.
    pub(super) fn shared(path: &Path) -> Result<Option<Self>> {
        let Some(file) = open(path, false)? else { return Ok(None) };
        match file.try_lock_shared() {
            Ok(()) if is_at(&file, path) => Ok(Some(Self(Some(file)))),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", path, source)),
        }
    }

    /// Has it alone, if nobody else has it now. Makes the lock file where `create` is set.
    pub(super) fn try_alone(path: &Path, create: bool) -> Result<Option<Self>> {
        let Some(file) = open(path, create)? else { return Ok(None) };
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => Ok(Some(Self(Some(file)))),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", path, source)),
        }
    }

    /// Has it alone, once everybody else has let it go.
    pub(super) async fn alone(path: &Path) -> Result<Self> {
        loop {
            let Some(file) = open(path, true)? else { continue };
            let (sender, receiver) = oneshot::channel();
            // Not a task of the runtime: a runtime waits for its blocking tasks when it ends, and nobody can
            // take this one back.
            std::thread::Builder::new()
                .name("environment-lock".to_owned())
                .spawn(move || {
                    let locked = file.lock().map(|()| file);
                    drop(sender.send(locked));
                })
                .map_err(|source| Error::io("start a thread to lock", path, source))?;
            let file = receiver
                .await
                .map_err(|_| Error::internal("the thread that waits for a lock has ended"))?
                .map_err(|source| Error::io("lock", path, source))?;
            if is_at(&file, path) {
                return Ok(Self(Some(file)));
            }
        }
    }

    /// The same lock for a child: it is held until the child has let it go as well.
    pub(super) fn share(&self) -> io::Result<Option<File>> {
        self.0.as_ref().map(File::try_clone).transpose()
    }
}

fn open(path: &Path, create: bool) -> Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(source) if source.kind() == io::ErrorKind::NotFound && !create => Ok(None),
        Err(source) => Err(Error::io("open", path, source)),
    }
}

/// Whether the locked file is still the one at the path: whoever removed it has let it go as the last thing.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
