//! Where things lie below the home folder.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use runtime_core::{Error, Result, agent::FILES};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

/// The home folder, as the target uses it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    home: PathBuf,
}

impl Layout {
    pub(crate) fn new(home: PathBuf) -> Self {
        Self { home }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of the agent, written on first use; its bytecode is cached beside it.
    pub(crate) fn agent(&self) -> Result<PathBuf> {
        static VERSION: OnceLock<String> = OnceLock::new();
        static WRITING: Mutex<()> = Mutex::new(());
        let version = VERSION.get_or_init(|| {
            digest(FILES.iter().flat_map(|(name, text)| [*name, *text]).collect::<String>().as_bytes())
        });
        let folder = self.home.join("agent").join(version);
        if folder.exists() {
            return Ok(folder);
        }
        let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        if folder.exists() {
            return Ok(folder);
        }
        // Whole or not at all: written beside, then renamed.
        let beside = self.home.join("agent").join(format!(".{}.{}", std::process::id(), unique()));
        for (name, text) in FILES {
            write_atomically(&beside.join("runtimes").join(name), text.as_bytes())?;
        }
        if let Err(error) = fs::rename(&beside, &folder) {
            let _ = fs::remove_dir_all(&beside);
            if !folder.exists() {
                return Err(Error::io("create", &folder, error));
            }
        }
        remove_leftovers(&self.home.join("agent"));
        Ok(folder)
    }

    /// A file with this code, named as it was, in a folder of its own.
    pub(crate) fn code(&self, name: &Path, text: &str) -> Result<PathBuf> {
        let name = name.file_name().map_or_else(|| PathBuf::from("code.py"), PathBuf::from);
        let path = self.home.join("code").join(digest(text.as_bytes())).join(name);
        write_once(&path, text.as_bytes())?;
        Ok(path)
    }
}

/// The first 16 digits of the content's SHA-1: enough to tell versions apart.
pub(crate) fn digest(content: &[u8]) -> String {
    use sha1::{Digest, Sha1};
    Sha1::digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file whose name says its content, unless it is there; never half.
fn write_once(path: &Path, content: &[u8]) -> Result<()> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() == content.len() as u64) {
        return Ok(());
    }
    write_atomically(path, content)?;
    if let Some(folder) = path.parent() {
        remove_leftovers(folder);
    }
    Ok(())
}

/// Removes what processes that are gone had begun to write: its name begins with `.PID.`.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix('.')?.split_once('.')?.0.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && test_kill_process(pid) == Err(Errno::SRCH)
        {
            // A file or a folder: whichever it is goes, and what cannot go does no harm.
            let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
        }
    }
}

/// Writes a file whole or not at all, creating its folder.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let temporary = folder.join(format!(".{}.{}", std::process::id(), unique()));
    let write = || {
        let mut file = fs::File::create_new(&temporary)?;
        file.write_all(content)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Error::io("write", path, error)
    })
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
