//! The folders in which runs keep their processes' state and output while they are active: `<home>/active/RUN.ATTEMPT`.
//!
//! Folders of runs that left nothing behind are used again, files and all. That is not thrift: a file system such as
//! ext4 takes the longer to make a file the more were removed in the last seconds.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use runtime_core::{Error, Result, jiff::Timestamp, run::RunKey, target::Leftover};

/// So many are kept to be used again.
const KEPT: usize = 64;

/// The folders of active runs.
pub(crate) struct Folders {
    active: PathBuf,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    free: Vec<PathBuf>,
    made: u64,
    /// Runs of which nothing is left that could still write into their folder.
    clean: HashSet<RunKey>,
}

impl Folders {
    pub(crate) fn new(home: &Path) -> Self {
        Self { active: home.join("active"), pool: Mutex::default() }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of one attempt of a run.
    pub(crate) fn attempt(&self, key: &RunKey, attempt: u32) -> PathBuf {
        self.active.join(format!("{key}.{attempt}"))
    }

    /// Makes it, unless it is there.
    pub(crate) fn make(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            return Ok(());
        }
        let free = self.pool().free.pop();
        if free.is_some_and(|free| fs::rename(free, folder).is_ok()) {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))
    }

    /// Notes that nothing of this run is left that could write into its folder.
    pub(crate) fn is_clean(&self, key: &RunKey) {
        self.pool().clean.insert(key.clone());
    }

    /// Whether there is anything of a run.
    pub(crate) fn has(&self, key: &RunKey) -> bool {
        self.attempt(key, 0).is_dir()
    }

    /// Frees all attempts of a run.
    pub(crate) fn release(&self, key: &RunKey) -> Result<()> {
        let clean = self.pool().clean.remove(key);
        for attempt in 0.. {
            let folder = self.attempt(key, attempt);
            if clean && self.keep(&folder) {
                continue;
            }
            match fs::remove_dir_all(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(Error::io("remove", &folder, error)),
            }
        }
        Ok(())
    }

    /// The runs that have folders. Folders that another target kept to be used again are taken over: one of them gets
    /// each, and the other makes a new one.
    pub(crate) fn leftovers(&self) -> Vec<Leftover> {
        let mut runs: BTreeMap<RunKey, Leftover> = BTreeMap::new();
        for entry in fs::read_dir(&self.active).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("free-") {
                let mut pool = self.pool();
                if !pool.free.contains(&entry.path()) {
                    pool.free.push(entry.path());
                }
            } else if let Some((key, _)) = name.split_once('.') {
                let key = key_of(key);
                let left = runs.entry(key.clone()).or_insert_with(|| Leftover::of(key));
                let made = entry.metadata().and_then(|metadata| metadata.modified()).ok();
                let made = made.and_then(|time| Timestamp::try_from(time).ok());
                left.since = left.since.into_iter().chain(made).min();
                left.objects.push(entry.path().display().to_string());
            }
        }
        runs.into_values().collect()
    }

    /// Empties a folder's files and keeps it; `false` where that cannot be.
    fn keep(&self, folder: &Path) -> bool {
        if self.pool().free.len() >= KEPT || empty(folder).is_err() {
            return false;
        }
        let mut pool = self.pool();
        pool.made += 1;
        // A name that no run has.
        let free = self.active.join(format!("free-{}-{}", std::process::id(), pool.made));
        let kept = fs::rename(folder, &free).is_ok();
        if kept {
            pool.free.push(free);
        }
        kept
    }

    /// Removes what is kept to be used again.
    pub(crate) fn clear(&self) {
        for folder in self.pool().free.drain(..) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The run that is written so.
fn key_of(name: &str) -> RunKey {
    match name.split_once('-').and_then(|(uid, iteration)| Some((uid, iteration.parse().ok()?))) {
        Some((uid, iteration)) => RunKey { uid: uid.to_owned(), iteration },
        None => RunKey::new(name),
    }
}

/// Cuts state and output to nothing and removes the rest; refuses where somebody still holds the state's lock.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("state") => {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.try_lock()?;
                file.set_len(0)?;
            }
            Some("stdout" | "stderr") if entry.metadata()?.len() == 0 => {}
            Some("stdout" | "stderr") => OpenOptions::new().write(true).open(&path)?.set_len(0)?,
            _ => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_run() {
        let home = tempfile::tempdir().unwrap();
        let folders = Folders::new(home.path());
        let keys = [RunKey::new("a"), RunKey { uid: "a".into(), iteration: 3 }];
        for key in &keys {
            folders.make(&folders.attempt(key, 0)).unwrap();
        }
        let left: Vec<_> = folders.leftovers().into_iter().map(|left| left.key).collect();
        assert_eq!(left, keys);
    }

    #[test]
    fn a_clean_folder_is_used_again_and_another_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let folders = Folders::new(home.path());
        let (one, two) = (RunKey::new("one"), RunKey::new("two"));
        let folder = folders.attempt(&one, 0);
        folders.make(&folder).unwrap();
        fs::write(folder.join("main.state"), "pid 1\nexit 0\n").unwrap();
        fs::write(folder.join("main.report.json"), "{}").unwrap();
        folders.is_clean(&one);
        folders.release(&one).unwrap();
        assert!(!folder.exists());

        let again = folders.attempt(&two, 0);
        folders.make(&again).unwrap();
        let names: Vec<_> = fs::read_dir(&again).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(
            (names, fs::read(again.join("main.state")).unwrap().len()),
            (vec!["main.state".into()], 0)
        );
        folders.release(&two).unwrap();
        folders.release(&two).unwrap();
        drop(folders);
        assert_eq!(fs::read_dir(home.path().join("active")).unwrap().count(), 0);
    }
}
