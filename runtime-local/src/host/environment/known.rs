//! What interpreters said of themselves, so that they are not asked for every run.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

use super::Interpreter;

/// More entries than this are not kept.
const MOST: usize = 64;

/// The answers, kept in `HOME/cache/interpreters.json`. A file that cannot be read is as good as none.
pub(super) struct Known {
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// What the program that was found looked like then.
    found: String,
    /// What the interpreter that it led to looked like then.
    real: String,
    interpreter: Interpreter,
}

impl Known {
    pub(super) fn load(home: &Path) -> Self {
        let file = home.join("cache").join("interpreters.json");
        let entries =
            fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, entries }
    }

    pub(super) fn get(&self, found: &Path) -> Option<Interpreter> {
        let entry = self.entries.get(found.to_str()?)?;
        let same = stamp(found)? == entry.found && stamp(&entry.interpreter.path)? == entry.real;
        same.then(|| entry.interpreter.clone())
    }

    /// Remembers an answer. That it cannot be written costs time, and nothing else.
    pub(super) fn put(&mut self, found: &Path, interpreter: &Interpreter) {
        let (Some(name), Some(stamped), Some(real)) =
            (found.to_str(), stamp(found), stamp(&interpreter.path))
        else {
            return;
        };
        if self.entries.len() >= MOST {
            self.entries.clear();
        }
        let entry = Entry { found: stamped, real, interpreter: interpreter.clone() };
        self.entries.insert(name.to_owned(), entry);
        drop(self.write());
    }

    fn write(&self) -> io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        write_atomically(&self.file, &serde_json::to_vec(&self.entries)?)
    }
}

/// What changes when a program is replaced, or when one that only forwards leads elsewhere.
fn stamp(program: &Path) -> Option<String> {
    let metadata = fs::metadata(program).ok()?;
    let own = format!("{}.{}:{}", metadata.mtime(), metadata.mtime_nsec(), metadata.len());
    let folder = program.parent()?;
    Some(if folder.ends_with("shims") { format!("{own}:{}", selection(folder)) } else { own })
}

/// What version managers select by: a variable, the nearest file of the current folder, and a global one.
fn selection(shims: &Path) -> String {
    const FILES: [&str; 2] = [".python-version", ".tool-versions"];
    let variable = env::var("PYENV_VERSION").unwrap_or_default();
    let current = env::current_dir().unwrap_or_default();
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let local =
        current.ancestors().chain([home.as_path()]).flat_map(|folder| FILES.map(|name| folder.join(name)));
    let global = shims.parent().map(|root| root.join("version"));
    let texts: Vec<String> = local.chain(global).filter_map(|file| fs::read_to_string(file).ok()).collect();
    format!("{variable}:{}", texts.join(":"))
}

/// Writes a file whole or not at all, also when several processes do.
pub(super) fn write_atomically(file: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = file.with_extension(format!("{}-{number}.tmp", std::process::id()));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, file)).inspect_err(|_| {
        drop(fs::remove_file(&temporary));
    })
}
