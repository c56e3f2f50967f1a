//! Which stored function is meant.

use std::{fmt, str::FromStr};

use crate::{Error, Result, naming, store::Version};

/// A function of the store, and which version of it: `NAME`, `PROJECT/NAME`, `PROJECT/NAME:TAG`, `PROJECT/NAME@HASH`;
/// with or without `db://` before it.
///
/// ```
/// use runtime_core::function::Reference;
///
/// let reference: Reference = "db://demo/train@0a1b".parse()?;
/// assert_eq!((reference.project.as_str(), reference.name.as_str()), ("demo", "train"));
/// assert_eq!(reference.to_string(), "demo/train@0a1b");
/// # Ok::<(), runtime_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The project; empty where none is named.
    pub project: String,
    /// The name.
    pub name: String,
    /// Which version; the newest where none is named.
    pub version: Version,
}

/// The scheme of functions in the store.
const SCHEME: &str = "db://";

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |message: &str| {
            Error::invalid(text, message.to_owned())
                .help("write NAME, PROJECT/NAME, PROJECT/NAME:TAG or PROJECT/NAME@HASH")
        };
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        if rest.contains("://") {
            return Err(wrong("is an address, and no function of the store"));
        }
        let (path, version) = match (rest.split_once('@'), rest.split_once(':')) {
            (Some((path, hash)), _) if !path.contains(':') => {
                let hash = hash.to_ascii_lowercase();
                if hash.is_empty() || hash.len() > 40 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong("what follows `@` is not the beginning of a hash"));
                }
                (path, Version::Hash(hash))
            }
            (Some(_), _) => return Err(wrong("names a tag and a hash")),
            (None, Some((path, tag))) => {
                check_tag(tag).map_err(|error| error.at(text))?;
                (path, Version::Tag(tag.to_owned()))
            }
            (None, None) => (rest, Version::default()),
        };
        let (project, name) = path.split_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(wrong("names no function"));
        }
        if name.contains('/') || (project.is_empty() && path.contains('/')) {
            return Err(wrong("is a path, and no function of the store"));
        }
        for part in [project, name].into_iter().filter(|part| !part.is_empty()) {
            naming::check(text, part)?;
        }
        Ok(Self { project: project.to_owned(), name: name.to_owned(), version })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.project.is_empty() {
            write!(f, "{}/", self.project)?;
        }
        f.write_str(&self.name)?;
        match &self.version {
            Version::Hash(hash) => write!(f, "@{hash}"),
            _ if self.version == Version::default() => Ok(()),
            Version::Tag(tag) => write!(f, ":{tag}"),
        }
    }
}

/// Checks a tag: letters, digits, `-`, `_` and `.`, at most 63, a letter or digit first.
///
/// # Errors
/// `Invalid`, with what would be right.
pub fn check_tag(tag: &str) -> Result<()> {
    let first = tag.starts_with(|c: char| c.is_ascii_alphanumeric());
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if first && tag.len() <= naming::MAX_NAME && tag.chars().all(right) {
        return Ok(());
    }
    Err(Error::invalid("tag", format!("{tag:?} is not a tag"))
        .help("a tag has letters, digits, `-`, `_` and `.`, at most 63, and begins with a letter or a digit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (text, project, name, version) in [
            ("train", "", "train", Version::default()),
            ("demo/train", "demo", "train", Version::default()),
            ("db://demo/train:v1.2", "demo", "train", Version::Tag("v1.2".into())),
            ("train@0A1B", "", "train", Version::Hash("0a1b".into())),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                reference,
                Reference { project: project.into(), name: name.into(), version },
                "{text}"
            );
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
        assert_eq!("train:latest".parse::<Reference>().unwrap().to_string(), "train");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("", "names no function"),
            ("demo/", "names no function"),
            ("/train", "is a path"),
            ("a/b/c", "is a path"),
            ("train@", "not the beginning of a hash"),
            ("train@xyz", "not the beginning of a hash"),
            ("train:", "is not a tag"),
            ("train:a b", "is not a tag"),
            ("train:v1@0a", "names a tag and a hash"),
            ("hub://train", "is an address"),
            ("Train", "is not a name"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
            assert!(error.help_text().is_some(), "{text}");
        }
    }
}
