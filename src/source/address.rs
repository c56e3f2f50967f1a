//! What stands in `build.source`, taken apart.

use std::path::{Path, PathBuf};

use runtime_core::{Error, Result};
use url::Url;

use super::{archive::is_archive, git::Repository};

/// Where code is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Address {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An archive of this machine.
    Archive(PathBuf),
    /// An archive to be fetched.
    Remote(Url),
    /// A commit of a repository, and a folder or file in it.
    Git(GitAddress),
}

/// A place in a repository: `URL#REF:PATH`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GitAddress {
    /// The repository.
    pub(crate) repository: Repository,
    /// A branch, a tag or a commit; empty: what the repository shows first.
    pub(crate) reference: String,
    /// A path in it; empty: its root.
    pub(crate) path: String,
}

const HELP: &str = "write a folder, an archive (.tar.gz, .tgz, .tar, .zip: a path or an https URL), or a repository \
                    (git://host/owner/repo.git#branch, git+ssh://, git+https://, git+file://)";

impl Address {
    /// Takes a source apart; paths are read against `base`.
    ///
    /// # Errors
    /// `Invalid`, at `spec.build.source`.
    pub(crate) fn parse(source: &str, base: &Path) -> Result<Self> {
        let wrong =
            |what: &str| Error::invalid("spec.build.source", format!("{:?} {what}", mask(source))).help(HELP);
        let source = source.trim();
        if let Some(git) = GitAddress::parse(source)? {
            return Ok(Self::Git(git));
        }
        let path = match source.split_once("://") {
            Some(("http" | "https", _)) => {
                let url = Url::parse(source).map_err(|error| wrong(&format!("is no URL: {error}")))?;
                if is_archive(url.path()) {
                    return Ok(Self::Remote(url));
                }
                return Err(wrong("is neither an archive nor a repository by its name"));
            }
            Some(("file", path)) => path,
            Some(_) => return Err(wrong("is of a kind that is not known here")),
            None => source,
        };
        let path: PathBuf = base.join(path).components().collect();
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        if !path.exists() {
            return Err(Error::not_found(format!("there is no {}", path.display()))
                .at("spec.build.source")
                .help("relative paths are read against the function's folder"));
        }
        Ok(Self::Archive(path))
    }
}

impl GitAddress {
    /// The place in a repository that a text names; `None` where it names none.
    ///
    /// # Errors
    /// `Invalid` where the text begins as one and is none.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let Some(repository) = Repository::parse(address)? else { return Ok(None) };
        let (reference, path) = fragment.split_once(':').unwrap_or((fragment, ""));
        let bad = reference.starts_with('-')
            || reference.contains("..")
            || reference.chars().any(|c| c.is_whitespace() || c.is_control() || "~^?*[\\".contains(c));
        if bad {
            return Err(Error::invalid(mask(text), format!("{reference:?} is no branch, tag or commit"))
                .help("write URL#BRANCH, URL#TAG or URL#COMMIT, and `:PATH` behind it for a path"));
        }
        let path = path.trim_matches('/').to_owned();
        if path.split('/').any(|part| part == "..") {
            return Err(Error::invalid(mask(text), format!("the path {path:?} leaves the repository")));
        }
        Ok(Some(Self { repository, reference: reference.to_owned(), path }))
    }
}

/// A text in which no address shows what stands before its `@`, but for the bare user of ssh.
pub(crate) fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '<' | '>' | '#' | '?'));
        let authority = &after[..end.unwrap_or(after.len())];
        rest = after;
        if let Some(user) = authority.rfind('@')
            && (!before.ends_with("ssh://") || authority[..user].contains(':'))
        {
            out.push_str("***");
            rest = &after[user..];
        }
    }
    out.push_str(rest);
    out
}

/// A URL as it may be shown: without credentials, and without a query, which often is one.
#[cfg(any(feature = "hub", feature = "http"))]
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}
