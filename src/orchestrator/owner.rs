//! Who follows a run: an orchestrator is alive as long as it holds the lock on its file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use runtime_core::{Error, Result};

/// An owner's file has its name after so long, or never.
const NAMING: Duration = Duration::from_secs(60);

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

    /// Says that its runs are anybody's from now on.
    pub(super) fn leave(&self) {
        let _ = fs::remove_file(self.folder.join(&self.id));
    }

    /// Whether somebody with this id lives, here or in another process.
    pub(super) fn is_alive(&self, id: &str) -> bool {
        if id.is_empty() {
            return false;
        }
        let Ok(file) = File::open(self.folder.join(id)) else { return false };
        // Where it cannot be told, it is better to leave its runs alone.
        file.try_lock_shared().is_err()
    }

    /// The files of those who died without a word.
    pub(super) fn dead(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let is_dead = |path: &PathBuf| {
            let Ok(file) = File::open(path) else { return false };
            // One that is not named yet may not be locked yet either.
            let begun = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
                && file
                    .metadata()
                    .and_then(|meta| meta.modified())
                    .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < NAMING));
            !begun && file.try_lock_shared().is_ok()
        };
        entries.flatten().map(|entry| entry.path()).filter(is_dead).collect()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.leave();
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

        let dead = home.path().join("owners/dead");
        File::create(&dead).unwrap();
        File::create(home.path().join("owners/.begun")).unwrap();
        assert_eq!(two.dead(), [dead]);
    }
}
