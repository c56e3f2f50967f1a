//! A hub, opened: its items, and the files behind them.

use std::path::{Path, PathBuf};

use runtime_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use super::{
    HubSource,
    catalog::{self, Item, Items, LeftOut},
};
use crate::source::{GitAddress, Prepared, Progress, Sources, hex};

/// The name of a catalogue.
pub(super) const CATALOG: &str = "catalog.json";

/// The largest file of a function that is read.
const LARGEST: u64 = runtime_core::yaml::MAX_BYTES as u64;

/// A hub, opened.
pub(super) struct Opened {
    pub(super) items: Vec<Item>,
    /// What should be an item.
    pub(super) left_out: Vec<LeftOut>,
    /// What else the user should know.
    pub(super) notes: Vec<String>,
    /// The commit, where it is a repository.
    pub(super) commit: Option<String>,
    root: Root,
    sources: Sources,
    /// Keeps a repository's files where they are.
    _kept: Option<Prepared>,
}

enum Root {
    Folder(PathBuf),
    Web(url::Url),
}

/// A file of a function.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) note: Option<String>,
}

/// Where a hub is.
pub(super) fn address(source: &HubSource, base: &Path) -> Result<Location> {
    if let Some(git) = GitAddress::parse(&source.path)? {
        return Ok(Location::Git(git));
    }
    if source.path.starts_with("https://") || source.path.starts_with("http://") {
        let url = url::Url::parse(&format!("{}/", source.path.trim_end_matches('/')));
        return url.map(Location::Web).map_err(|error| {
            Error::invalid("path", format!("{:?} is no URL: {error}", crate::source::mask(&source.path)))
        });
    }
    if source.path.contains("://") && !source.path.starts_with("file://") {
        return Err(Error::invalid("path", format!("{:?} is of a kind that is not known", source.path))
            .help("write a folder, an https URL, or a repository (git://, git+ssh://, git+file://)"));
    }
    Ok(Location::Folder(base.join(source.path.strip_prefix("file://").unwrap_or(&source.path))))
}

/// Where a hub is.
pub(super) enum Location {
    Folder(PathBuf),
    Git(GitAddress),
    Web(url::Url),
}

impl Opened {
    /// Opens a hub. A repository is fetched, a catalogue is.
    pub(super) async fn open(
        source: &HubSource,
        base: &Path,
        sources: &Sources,
        progress: Progress<'_>,
    ) -> Result<Self> {
        let mut opened = match address(source, base)? {
            Location::Folder(path) => {
                let (items, left_out) = folder(&path, source)?;
                let (root, sources) = (Root::Folder(path), sources.clone());
                Self { items, left_out, notes: Vec::new(), commit: None, root, sources, _kept: None }
            }
            Location::Git(git) => {
                let mut prepared = sources.git(&git, progress).await?;
                let (items, left_out) = folder(&prepared.path, source)?;
                let (commit, root) = (prepared.commit.clone(), Root::Folder(prepared.path.clone()));
                let (notes, sources) = (std::mem::take(&mut prepared.notes), sources.clone());
                Self { items, left_out, notes, commit, root, sources, _kept: Some(prepared) }
            }
            Location::Web(url) => web(url, source, sources, progress).await?,
        };
        for item in &mut opened.items {
            item.source.clone_from(&source.name);
        }
        opened.items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(opened)
    }

    /// All that the user should know.
    pub(super) fn all_notes(&self) -> impl Iterator<Item = String> {
        self.left_out.iter().map(|item| &item.why).chain(&self.notes).cloned()
    }

    /// A file of the hub.
    pub(super) async fn read(&self, path: &str, progress: Progress<'_>) -> Result<Content> {
        match &self.root {
            Root::Folder(root) => {
                let whole = root.join(path);
                let inside =
                    whole.canonicalize().and_then(|whole| Ok(whole.starts_with(root.canonicalize()?)));
                match inside {
                    Ok(true) => {}
                    Ok(false) => return Err(Error::invalid(path, "is a link out of the hub")),
                    Err(error) => return Err(Error::io("read", &whole, error)),
                }
                Ok(Content { bytes: read_file(&whole)?, note: None })
            }
            Root::Web(root) => {
                let url = root.join(path).map_err(|error| Error::invalid(path, error.to_string()))?;
                fetch(&self.sources, &url, progress).await
            }
        }
    }
}

/// The content at a URL.
pub(super) async fn fetch(sources: &Sources, url: &url::Url, progress: Progress<'_>) -> Result<Content> {
    let (path, note) = sources.file(url, LARGEST, progress).await?;
    Ok(Content { bytes: read_file(&path)?, note })
}

/// A file of bounded size.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let length = path.metadata().map_err(|error| Error::io("read", path, error))?.len();
    if length > LARGEST {
        return Err(Error::invalid(
            path.display().to_string(),
            format!("has {length} bytes: too large for a function"),
        ));
    }
    std::fs::read(path).map_err(|error| Error::io("read", path, error))
}

/// What is pinned of files: of one, its SHA-256; of several, that of the list of theirs.
pub(super) fn digest(files: &[(String, Vec<u8>)]) -> String {
    let one = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    match files {
        [(_, bytes)] => format!("sha256:{}", one(bytes)),
        files => {
            let list: String =
                files.iter().map(|(name, bytes)| format!("{}  {name}\n", one(bytes))).collect();
            format!("sha256:{}", one(list.as_bytes()))
        }
    }
}

/// The folder in a hub's folder that has the catalogue, seen from its root.
pub(super) fn catalog_folder(root: &Path, source: &HubSource) -> Option<String> {
    let channel = format!("functions/{}/", source.channel);
    [channel, format!("{}/", source.channel), String::new()]
        .into_iter()
        .find(|folder| root.join(folder).join(CATALOG).is_file())
}

fn folder(root: &Path, source: &HubSource) -> Result<Items> {
    if !root.is_dir() {
        return Err(Error::not_found(format!("the hub {:?} is not there: {}", source.name, root.display()))
            .help("make the folder, or name another: runtimes hub source add"));
    }
    match catalog_folder(root, source) {
        Some(base) => {
            let file = root.join(&base).join(CATALOG);
            catalog::parse(&read_file(&file)?, &file.display().to_string(), &base)
        }
        None => catalog::scan(root),
    }
}

async fn web(url: url::Url, source: &HubSource, sources: &Sources, progress: Progress<'_>) -> Result<Opened> {
    let mut missing = None;
    for base in [format!("functions/{}/", source.channel), String::new()] {
        let place = url.join(&format!("{base}{CATALOG}"));
        let place = place.map_err(|error| Error::invalid("path", error.to_string()))?;
        match sources.file(&place, catalog::LARGEST, progress).await {
            Ok((file, note)) => {
                let (items, left_out) =
                    catalog::parse(&read_file(&file)?, &crate::source::shown(&place), &base)?;
                let (root, sources, notes) = (Root::Web(url), sources.clone(), Vec::from_iter(note));
                return Ok(Opened { items, left_out, notes, commit: None, root, sources, _kept: None });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let error = missing.unwrap_or_else(|| Error::not_found("there is no catalogue"));
    Err(error.help(format!("is {} a hub? it has functions/CHANNEL/{CATALOG}", crate::source::shown(&url))))
}
