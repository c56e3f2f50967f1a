//! The environments that there are: listing and removing them.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use runtime_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Environments, Interpreter, MARKER, USED, lock::Hold, lock_path, verdict_path};

/// What is written into an environment when it is complete.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) requirements: Vec<String>,
    pub(super) interpreter: Interpreter,
    pub(super) tool: String,
    pub(super) created: Timestamp,
    pub(super) size: u64,
}

/// A ready environment, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentInfo {
    /// What it is found by; also the name of its folder.
    pub hash: String,
    /// Its requirements, credentials masked.
    pub requirements: Vec<String>,
    /// What it is built on.
    pub interpreter: Interpreter,
    /// What built it: `uv` or `pip`.
    pub tool: String,
    /// When it was complete.
    pub created: Timestamp,
    /// When it was last used, to within ten minutes.
    pub last_used: Timestamp,
    /// Bytes on the disk.
    pub size: u64,
}

/// What pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// Environments, half-made ones included.
    pub environments: usize,
    /// Bytes.
    pub bytes: u64,
}

impl Environments {
    /// The environments that are ready, the last used first. What a killed build left is removed.
    ///
    /// # Errors
    /// When the folder of environments is there and cannot be read.
    pub fn list(&self) -> Result<Vec<EnvironmentInfo>> {
        let mut found = Vec::new();
        for dir in self.folders()? {
            match info(&dir) {
                Some(info) => found.push(info),
                None => drop(remove_if(&dir, |dir| info(dir).is_none())),
            }
        }
        found.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.hash.cmp(&b.hash)));
        Ok(found)
    }

    /// Removes environments that were not used for this long, or all; never one that is being built or held.
    ///
    /// # Errors
    /// When one could not be removed; the others are.
    pub fn prune(&self, older_than: Option<Duration>) -> Result<Freed> {
        let limit = older_than.and_then(|age| SystemTime::now().checked_sub(age));
        let mut freed = Freed::default();
        let mut first_error = None;
        for dir in self.folders()? {
            let old = |dir: &Path| match (older_than, info(dir)) {
                (None, _) | (_, None) => true,
                (Some(_), Some(info)) => limit.is_some_and(|limit| SystemTime::from(info.last_used) <= limit),
            };
            match remove_if(&dir, old) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    freed.environments += 1;
                    freed.bytes += bytes;
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(freed), Err)
    }

    fn folders(&self) -> Result<BTreeSet<PathBuf>> {
        let envs = self.envs();
        let entries = match fs::read_dir(&envs) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(source) => return Err(Error::io("read", &envs, source)),
        };
        // Only what is named as we name it: a stray folder is not ours to remove. A lock alone counts too.
        let stems = entries.filter_map(io::Result::ok).filter_map(|entry| {
            let path = entry.path();
            let ours = matches!(path.extension().and_then(OsStr::to_str), None | Some("lock" | "failed"));
            let stem = path.file_stem()?.as_encoded_bytes();
            (ours && stem.len() == 16 && stem.iter().all(u8::is_ascii_hexdigit))
                .then(|| path.with_extension(""))
        });
        Ok(stems.collect())
    }
}

fn info(dir: &Path) -> Option<EnvironmentInfo> {
    let marker: Marker = serde_json::from_slice(&fs::read(dir.join(MARKER)).ok()?).ok()?;
    let used = fs::metadata(dir.join(USED)).and_then(|metadata| metadata.modified()).ok();
    let last_used = used.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(marker.created);
    let Marker { requirements, interpreter, tool, created, size } = marker;
    let hash = dir.file_name()?.to_str()?.to_owned();
    Some(EnvironmentInfo { hash, requirements, interpreter, tool, created, last_used, size })
}

/// Removes an environment that nobody has and of which `condition` is true once nobody else can have it. How many
/// bytes that freed; `None` where it stays.
fn remove_if(dir: &Path, condition: impl Fn(&Path) -> bool) -> Result<Option<u64>> {
    let lock = lock_path(dir);
    let Some(_hold) = Hold::try_alone(&lock, true)? else { return Ok(None) };
    if !condition(dir) {
        return Ok(None);
    }
    let bytes = dir.is_dir().then(|| size_of(dir));
    remove_tree(dir)?;
    drop(fs::remove_file(verdict_path(dir)));
    // Last, and while it is held: who waits for it sees that it is another file now.
    drop(fs::remove_file(&lock));
    Ok(bytes)
}

/// Removes a folder, its marker first: half-removed it must not be taken for an environment.
pub(super) fn remove_tree(dir: &Path) -> Result<()> {
    for removed in [fs::remove_file(dir.join(MARKER)), fs::remove_dir_all(dir)] {
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", dir, source));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The bytes of the files below a folder; links are not followed.
pub(super) fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.filter_map(io::Result::ok).map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
