//! What a function's address may be, taken apart.

use std::path::PathBuf;

use runtime_core::{Error, Result, naming};
use url::Url;

use crate::source::{GitAddress, mask, shown};

/// The tag that is meant where none is named.
pub(crate) const LATEST: &str = "latest";

/// The address of a function.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reference {
    /// `hub://[source/]name[:tag]`: an item of a hub.
    Hub {
        /// The hub; without one they are asked in their order.
        source: Option<String>,
        /// The item.
        name: String,
        /// A tag or a version; `latest` where none is named.
        tag: String,
    },
    /// `https://…/function.yaml`, or a file of code.
    Web(Url),
    /// `git://host/owner/repository.git#ref:path` and the like.
    Git(GitReference),
    /// `db://project/name[:tag|@hash]`: a stored function, as the store is asked for it.
    Stored(String),
    /// A file, or a folder with a `function.yaml`.
    File(PathBuf),
}

/// A file or folder in a repository.
#[derive(Clone, Debug, PartialEq)]
pub struct GitReference(pub(crate) GitAddress);

impl Reference {
    /// Takes an address apart. What has no scheme is a file.
    ///
    /// # Errors
    /// `Invalid`, saying what an address looks like.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::invalid(mask(text), why).help(
                "write hub://[SOURCE/]NAME[:TAG], https://…/function.yaml, \
                 git://HOST/OWNER/REPOSITORY.git#REF:PATH, db://PROJECT/NAME[:TAG], or a file",
            )
        };
        match text.split_once("://") {
            Some(("hub", rest)) => hub(rest).map_err(wrong),
            Some(("db", rest)) if !rest.trim_matches('/').is_empty() => Ok(Self::Stored(rest.to_owned())),
            Some(("http" | "https", _)) if !is_repository(text) => {
                Url::parse(text).map(Self::Web).map_err(|error| wrong(format!("is no URL: {error}")))
            }
            Some(("file", path)) if !is_repository(text) => Ok(Self::File(path.into())),
            _ => match GitAddress::parse(text)? {
                Some(git) => Ok(Self::Git(GitReference(git))),
                None if text.contains("://") => Err(wrong("is no address of a function".to_owned())),
                None => Ok(Self::File(text.into())),
            },
        }
    }

    /// Whether a text is an address, and not the name of a file or of a stored function.
    pub fn is_address(text: &str) -> bool {
        text.contains("://") || GitAddress::parse(text).is_ok_and(|git| git.is_some())
    }
}

impl std::fmt::Display for Reference {
    /// As it may be shown: without credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub { source, name, tag } => {
                let source = source.as_ref().map(|source| format!("{source}/")).unwrap_or_default();
                let tag = if tag == LATEST { String::new() } else { format!(":{tag}") };
                write!(f, "hub://{source}{name}{tag}")
            }
            Self::Web(url) => f.write_str(&shown(url)),
            Self::Git(GitReference(git)) => {
                let path = if git.path.is_empty() { String::new() } else { format!(":{}", git.path) };
                let mut url = git.repository.shown();
                for scheme in ["https", "http", "file"] {
                    if url.starts_with(&format!("{scheme}://")) {
                        url = format!("git+{url}");
                        break;
                    }
                }
                match git.reference.is_empty() && path.is_empty() {
                    true => f.write_str(&url),
                    false => write!(f, "{url}#{}{path}", git.reference),
                }
            }
            Self::Stored(uri) => write!(f, "db://{uri}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn is_repository(text: &str) -> bool {
    text.split('#').next().is_some_and(|address| address.trim_end_matches('/').ends_with(".git"))
}

fn hub(rest: &str) -> std::result::Result<Reference, String> {
    let (path, tag) = rest.split_once(':').unwrap_or((rest, LATEST));
    let (source, name) = match path.split_once('/') {
        Some((source, name)) => (Some(source), name),
        None => (None, path),
    };
    if name.contains('/') {
        return Err("has too many parts: a hub, and a name in it".to_owned());
    }
    let name = naming::normalize(name);
    if name.is_empty() || source.is_some_and(str::is_empty) {
        return Err("names no function".to_owned());
    }
    if !is_tag(tag) {
        return Err(format!("{tag:?} is no tag"));
    }
    Ok(Reference::Hub { source: source.map(str::to_owned), name, tag: tag.to_owned() })
}

/// Whether a text can be a tag, which is also the name of a folder.
pub(crate) fn is_tag(text: &str) -> bool {
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    !text.is_empty() && text.len() <= 128 && text.chars().all(right) && !text.starts_with(['.', '-'])
}
