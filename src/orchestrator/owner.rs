//! Who follows a run: an orchestrator is alive as long as it holds the lock on its file.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use runtime_core::{Error, Result};

/// This orchestrator's identity: a locked file in `<home>/owners`. The lock goes when the process does, however it ends.
pub(super) struct Owner {
    id: String,
    folder: PathBuf,
    _lock: File,
}

impl Owner {
    pub(super) fn register(home: &Path) -> Result<Self> {
        let folder = home.join("owners");
        fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        // Locked under another name first: a file that is there and not locked is a dead owner's.
        let (temporary, path) = (folder.join(format!(".{id}")), folder.join(&id));
        let lock = File::create_new(&temporary).map_err(|error| Error::io("create", &temporary, error))?;
        lock.lock().map_err(|error| Error::io("lock", &temporary, error))?;
        fs::rename(&temporary, &path).map_err(|error| Error::io("create", &path, error))?;
        Ok(Self { id, folder, _lock: lock })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether somebody with this id lives, here or in another process.
    pub(super) fn is_alive(&self, id: &str) -> bool {
        if id.is_empty() {
            return false;
        }
        let path = self.folder.join(id);
        let Ok(file) = File::open(&path) else { return false };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => true,
            // Cannot be told: better to leave its runs alone.
            Err(TryLockError::Error(_)) => true,
            Ok(()) => {
                let _ = fs::remove_file(&path);
                false
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_as_long_as_its_lock() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (Owner::register(home.path()).unwrap(), Owner::register(home.path()).unwrap());
        assert!(two.is_alive(one.id()) && one.is_alive(two.id()) && one.is_alive(one.id()));
        let id = one.id().to_owned();
        drop(one);
        assert!(!two.is_alive(&id) && !two.is_alive("") && !two.is_alive("nobody"));
    }
}
