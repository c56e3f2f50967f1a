//! Who follows a run: an orchestrator is alive as long as it holds the lock on its file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use runtime_core::{Error, Result};

use super::lease::Place;

/// How the ids of those begin that hold a lease.
const LEASED: &str = "lease";

/// In the place of an owner: whoever comes first.
const ANYBODY: &str = "anybody";

/// An owner's file has its name after so long, or never.
const NAMING: Duration = Duration::from_secs(60);

/// This orchestrator's identity: a locked file in `<home>/owners`. The lock goes when the process does, however it ends.
pub(super) struct Owner {
    id: String,
    folder: PathBuf,
    lock: File,
}

impl Owner {
    /// With a lease, others in other homes can tell whether it lives; without one, only those in this home.
    pub(super) fn register(home: &Path, place: &Place, leased: bool) -> Result<Self> {
        let folder = home.join("owners");
        fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
        let kind = if leased { LEASED } else { &place.home };
        let id = format!("{kind}.{}", uuid::Uuid::new_v4().simple());
        // Locked under another name first: a file that is there and not locked is a dead owner's.
        let (temporary, path) = (folder.join(format!(".{id}")), folder.join(&id));
        let lock = File::create_new(&temporary).map_err(|error| Error::io("create", &temporary, error))?;
        lock.lock().map_err(|error| Error::io("lock", &temporary, error))?;
        fs::rename(&temporary, &path).map_err(|error| Error::io("create", &path, error))?;
        Ok(Self { id, folder, lock })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Says that its runs are anybody's from now on, and that it left nothing behind. Who is only dropped does not know
    /// that: the file stays, and the next one looks.
    pub(super) fn leave(&self) {
        let _ = fs::remove_file(self.folder.join(&self.id));
    }

    /// From now on it counts as dead, as if its process had ended: also while something of it is still about to end.
    pub(super) fn die(&self) {
        let _ = self.lock.unlock();
    }

    /// Whether the owner of this id holds its lock; `None` where it has no file in this home.
    pub(super) fn is_locked(&self, id: &str) -> Option<bool> {
        let file = File::open(self.folder.join(id)).ok()?;
        // Where it cannot be told, it is better to leave its runs alone.
        Some(file.try_lock_shared().is_err())
    }

    /// Whether a lease tells of the owner of this id.
    pub(super) fn is_leased(id: &str) -> bool {
        id.split_once('.').is_some_and(|(kind, _)| kind == LEASED)
    }

    /// Who owns a run that anybody in this home may start, and nobody elsewhere.
    pub(super) fn anybody_in(place: &Place) -> String {
        format!("{}.{ANYBODY}", place.home)
    }

    /// Whether that is such a one, of whichever home.
    pub(super) fn is_anybody(id: &str) -> bool {
        id.split_once('.').is_some_and(|(_, who)| who == ANYBODY)
    }

    /// Whether the owner of this id, which has no lease, is of this home.
    pub(super) fn is_of(id: &str, place: &Place) -> bool {
        id.split_once('.').is_none_or(|(home, _)| home == place.home)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_as_long_as_its_lock() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::of(home.path()).unwrap();
        let register = |leased| Owner::register(home.path(), &place, leased).unwrap();
        let (one, two) = (register(false), register(true));
        assert_eq!(
            [two.is_locked(one.id()), one.is_locked(two.id()), one.is_locked(one.id())],
            [Some(true); 3]
        );
        assert!(Owner::is_leased(two.id()) && !Owner::is_leased(one.id()) && Owner::is_of(one.id(), &place));
        let id = one.id().to_owned();
        drop(one);
        assert_eq!([two.is_locked(&id), two.is_locked("nobody")], [Some(false), None]);
        assert_eq!(two.dead(), [home.path().join("owners").join(&id)]);
        let left = register(false);
        left.leave();
        assert_eq!(two.is_locked(left.id()), None);
        let dying = register(false);
        dying.die();
        assert_eq!(two.is_locked(dying.id()), Some(false));
        dying.leave();
        fs::remove_file(home.path().join("owners").join(&id)).unwrap();

        let dead = home.path().join("owners/dead");
        File::create(&dead).unwrap();
        File::create(home.path().join("owners/.begun")).unwrap();
        assert_eq!(two.is_locked("dead"), Some(false));
        assert_eq!(two.dead(), [dead]);
    }
}
