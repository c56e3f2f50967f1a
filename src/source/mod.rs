//! Code from elsewhere, as `build.source` names it: a folder, an archive, a repository.
//!
//! What is fetched is kept in the home folder by what it holds, so that the next run finds it there, and also one
//! without a network. A run works in a copy of its own.

mod address;
mod archive;
mod copy;
mod git;
#[cfg(feature = "kubernetes")]
pub(crate) mod pack;
mod shelf;
mod worktree;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use runtime_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use archive::{Limits, Unpacked, unpack};

use address::Address;
pub(crate) use address::GitAddress;
#[cfg(feature = "hub")]
pub(crate) use address::mask;
#[cfg(any(feature = "hub", feature = "http"))]
pub(crate) use address::shown;
use shelf::Kept;
#[cfg(feature = "hub")]
pub(crate) use shelf::write_whole;
pub(crate) use shelf::{Shelf, hex, key, remove};
pub(crate) use worktree::uncommitted;

/// Told what is being done, for people.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Fetches sources, and keeps them below one home folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    shelf: Shelf,
    limits: Limits,
    #[cfg(feature = "http")]
    web: crate::web::Web,
}

/// A source that is there. It stays as long as this lives.
#[derive(Debug)]
pub struct Prepared {
    /// The folder with the code.
    pub path: PathBuf,
    /// What it is, exactly and without credentials: `URL#COMMIT`, `PATH@sha256:DIGEST`, or the folder.
    pub origin: String,
    /// The commit, where it came from a repository.
    pub commit: Option<String>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Whether it is a folder of the user's, and not a kept copy.
    pub in_place: bool,
    _kept: Option<Kept>,
}

/// The commit at which a branch or tag was seen last.
#[derive(Serialize, Deserialize)]
struct Seen {
    commit: String,
}

impl Sources {
    /// Sources kept below this home folder.
    pub fn new(home: impl AsRef<Path>) -> Self {
        let home = home.as_ref();
        Self {
            shelf: Shelf::new(home.join("sources")),
            limits: Limits::default(),
            #[cfg(feature = "http")]
            web: crate::web::Web::new(home),
        }
    }

    /// Takes archives within these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Says what is wrong with a source before anything is fetched, and what the user should know.
    ///
    /// # Errors
    /// `Invalid` or `NotFound`, at `spec.build.source`.
    pub fn check(&self, source: &str, base: &Path) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let address = Address::parse(source, base)?;
        let open = match &address {
            Address::Git(git) => git.repository.has_credentials(),
            Address::Remote(url) => !url.username().is_empty(),
            _ => false,
        };
        if open {
            notes.push(
                "spec.build.source carries credentials, which everybody sees who sees the function; git's own \
                 credential helper keeps them better"
                    .to_owned(),
            );
        }
        #[cfg(not(feature = "http"))]
        if matches!(address, Address::Remote(_)) {
            return Err(no_http().at("spec.build.source"));
        }
        Ok(notes)
    }

    /// Whether a source is a folder of this machine, which is used where it is.
    pub fn is_folder(source: &str, base: &Path) -> bool {
        matches!(Address::parse(source, base), Ok(Address::Folder(_)))
    }

    /// Fetches a source, unless it is there. Paths are read against `base`. Dropping the future stops it, and leaves
    /// nothing half-made to be seen.
    ///
    /// # Errors
    /// Where it cannot be reached and was never fetched, is refused, or cannot be written; at `spec.build.source`.
    pub async fn prepare(&self, source: &str, base: &Path, progress: Progress<'_>) -> Result<Prepared> {
        let prepared = match Address::parse(source, base)? {
            Address::Folder(path) => {
                let path = std::path::absolute(&path).map_err(|error| Error::io("find", &path, error))?;
                return Ok(Prepared {
                    origin: path.display().to_string(),
                    path,
                    commit: None,
                    notes: Vec::new(),
                    in_place: true,
                    _kept: None,
                });
            }
            Address::Archive(path) => self.archive(&path, &path.display().to_string(), progress).await,
            Address::Remote(url) => self.remote(&url, progress).await,
            Address::Git(git) => self.git(&git, progress).await,
        };
        prepared.map_err(|error| error.under("spec.build.source"))
    }

    /// A repository at a commit; `path` of the result is the folder in it that the address names.
    pub(crate) async fn git(&self, git: &GitAddress, progress: Progress<'_>) -> Result<Prepared> {
        let GitAddress { repository, reference, path } = git;
        let place = repository.shown();
        let seen = key(&format!("{}#{reference}", repository.url));
        let mut notes = Vec::new();
        let commit = match repository.resolve(reference).await {
            Ok(commit) => {
                if self.shelf.noted::<Seen>(&seen).is_none_or(|known| known.commit != commit) {
                    self.shelf.note(&seen, &Seen { commit: commit.clone() })?;
                }
                commit
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => match self.shelf.noted::<Seen>(&seen) {
                Some(Seen { commit }) => {
                    notes.push(format!(
                        "{place} cannot be reached: its commit {} of before is used",
                        short(&commit)
                    ));
                    commit
                }
                None => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let kept = match self.shelf.take(&key(&format!("{}@{commit}", repository.url))).await? {
            Ok(kept) => kept,
            Err(new) => {
                repository.checkout(reference, &commit, new.path(), progress).await?;
                new.done().await?
            }
        };
        let origin = match path.as_str() {
            "" => format!("{place}#{commit}"),
            path => format!("{place}#{commit}:{path}"),
        };
        let inside = kept.path.join(path);
        if !inside.exists() {
            return Err(Error::not_found(format!("{place} has no {path:?} at {}", short(&commit))));
        }
        let within = inside.canonicalize().ok().zip(kept.path.canonicalize().ok());
        if within.is_none_or(|(inside, root)| !inside.starts_with(root)) {
            return Err(Error::invalid(origin, format!("{path:?} is a link out of the repository")));
        }
        Ok(Prepared { path: inside, origin, commit: Some(commit), notes, in_place: false, _kept: Some(kept) })
    }

    /// A file at a URL, and what the user should know of it.
    #[cfg(all(feature = "hub", feature = "http"))]
    pub(crate) async fn file(
        &self,
        url: &url::Url,
        limit: u64,
        progress: Progress<'_>,
    ) -> Result<(PathBuf, Option<String>)> {
        let fetched = self.web.fetch(url, limit, progress).await?;
        Ok((fetched.path, fetched.note))
    }

    /// Without https there is none.
    #[cfg(all(feature = "hub", not(feature = "http")))]
    pub(crate) async fn file(
        &self,
        _: &url::Url,
        _: u64,
        _: Progress<'_>,
    ) -> Result<(PathBuf, Option<String>)> {
        Err(no_http())
    }

    #[cfg(feature = "http")]
    async fn remote(&self, url: &url::Url, progress: Progress<'_>) -> Result<Prepared> {
        let fetched = self.web.fetch(url, self.limits.archive, progress).await?;
        let mut prepared = self.archive(&fetched.path, &shown(url), progress).await?;
        prepared.notes.extend(fetched.note);
        Ok(prepared)
    }

    #[cfg(not(feature = "http"))]
    async fn remote(&self, _: &url::Url, _: Progress<'_>) -> Result<Prepared> {
        Err(no_http())
    }

    /// An archive of this machine, unpacked.
    async fn archive(&self, path: &Path, name: &str, progress: Progress<'_>) -> Result<Prepared> {
        let (archive, limits) = (path.to_owned(), self.limits);
        let before = changed(path);
        let digest = blocking(move |stop| digest_of(&archive, limits.archive, stop)).await?;
        let kept = match self.shelf.take(&digest[..32]).await? {
            Ok(kept) => kept,
            Err(place) => {
                progress(&format!("unpacking {name}"));
                let (archive, called, to) = (path.to_owned(), name.to_owned(), place.path().to_owned());
                // The place goes along: it is not given back while the thread still writes.
                let (place, unpacked) = blocking(move |stop| {
                    let unpacked = unpack(&archive, &called, &to, limits, &|| stop.load(Ordering::Relaxed));
                    Ok((place, unpacked))
                })
                .await?;
                unpacked?;
                if changed(path) != before {
                    return Err(Error::new(ErrorKind::Conflict, format!("{name} changed while it was read"))
                        .help("try again when it is complete"));
                }
                place.done().await?
            }
        };
        let path = kept.path.clone();
        let origin = format!("{name}@sha256:{digest}");
        Ok(Prepared { path, origin, commit: None, notes: Vec::new(), in_place: false, _kept: Some(kept) })
    }

    /// Removes what was fetched and not used for this long; how many sources and files, and bytes. What a run has at
    /// this moment stays.
    ///
    /// # Errors
    /// When something cannot be removed; the rest is.
    pub fn prune(&self, older_than: Duration) -> Result<(usize, u64)> {
        let (count, bytes) = self.shelf.prune(older_than, &|_| false)?;
        #[cfg(feature = "http")]
        let (count, bytes) = {
            let (files, size) = self.web.prune(older_than)?;
            (count + files, bytes + size)
        };
        Ok((count, bytes))
    }
}

impl Prepared {
    /// A copy that a run may write into, at `to`, which is made whole or not at all.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub async fn copy_to(&self, to: &Path) -> Result<()> {
        let partial = to.with_extension("partial");
        remove(&partial)?;
        remove(to)?;
        let (from, to) = (self.path.clone(), to.to_owned());
        blocking(move |stop| {
            let copied = copy::copy(&from, &partial, &|| stop.load(Ordering::Relaxed));
            let moved = copied.and_then(|()| {
                std::fs::rename(&partial, &to).map_err(|error| Error::io("create", &to, error))
            });
            moved.inspect_err(|_| drop(remove(&partial)))
        })
        .await
    }
}

/// Copies a folder.
#[cfg(feature = "hub")]
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    copy::copy(from, to, &|| false)
}

#[cfg(not(feature = "http"))]
fn no_http() -> Error {
    Error::new(ErrorKind::Unsupported, "this program was built without https")
        .help("build it with the feature `http`, or name a file or a repository")
}

/// The beginning of a commit's hash, for people.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Runs blocking work beside; it is told to stop when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = Stop(Arc::default());
    let flag = Arc::clone(&stop.0);
    let done = tokio::task::spawn_blocking(move || work(&flag)).await;
    done.map_err(|error| Error::internal("work on a source has ended").source(error))?
}

/// When a file was changed last, and its size.
fn changed(path: &Path) -> Option<(std::time::SystemTime, u64)> {
    let meta = path.metadata().ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The SHA-256 of a file, in hexadecimal digits.
fn digest_of(path: &Path, limit: u64, stop: &AtomicBool) -> Result<String> {
    let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let size = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
    if size > limit {
        return Err(Error::invalid(
            path.display().to_string(),
            format!("it has {size} bytes; at most {limit} are taken"),
        ));
    }
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path, error)),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Aborted, "stopped while a source was read"));
        }
    }
}
