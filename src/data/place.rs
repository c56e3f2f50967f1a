//! Where data lies: a path of this machine, or a URL.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use runtime_core::{Error, ErrorKind, Result, error::did_you_mean};

/// What speaks to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Files of this machine.
    File,
    /// The memory of this program: for tests, and for programs that hand data to their own runs.
    Memory,
    /// S3, and servers that speak as it does.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage and Data Lake.
    Azure,
    /// Web servers; read only.
    Http,
}

/// The words before `://`, and what they mean.
const WORDS: [(&str, Scheme); 16] = [
    ("file", Scheme::File),
    ("memory", Scheme::Memory),
    ("s3", Scheme::S3),
    ("s3a", Scheme::S3),
    ("s3n", Scheme::S3),
    ("gs", Scheme::Gcs),
    ("gcs", Scheme::Gcs),
    ("az", Scheme::Azure),
    ("azure", Scheme::Azure),
    ("adl", Scheme::Azure),
    ("abfs", Scheme::Azure),
    ("abfss", Scheme::Azure),
    ("wasb", Scheme::Azure),
    ("wasbs", Scheme::Azure),
    ("http", Scheme::Http),
    ("https", Scheme::Http),
];

impl Scheme {
    /// The feature of this crate that brings it.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::File => None,
            Self::Memory => Some("data"),
            Self::S3 => Some("s3"),
            Self::Gcs => Some("gcs"),
            Self::Azure => Some("azure"),
            Self::Http => Some("http"),
        }
    }

    /// Whether this build has it.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::File => true,
            Self::Memory => cfg!(feature = "data"),
            Self::S3 => cfg!(feature = "s3"),
            Self::Gcs => cfg!(feature = "gcs"),
            Self::Azure => cfg!(feature = "azure"),
            Self::Http => cfg!(feature = "http"),
        }
    }

    /// Whether something can be written there.
    pub fn is_writable(self) -> bool {
        self != Self::Http
    }
}

/// Where data lies. It prints without what may be secret in it: user names, passwords and queries.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    text: String,
    scheme: Scheme,
    /// What is before the key in `text`: `s3://bucket/`.
    root: usize,
}

impl Place {
    /// Reads a path or a URL.
    ///
    /// # Errors
    /// `Invalid` for a scheme that nobody knows, a URL without a bucket or container, or a path in it that is none.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((word, rest)) = text.split_once("://") else {
            return Ok(Self { text: text.to_owned(), scheme: Scheme::File, root: 0 });
        };
        let word = word.to_ascii_lowercase();
        let scheme = scheme_of(&word)?;
        let start = word.len() + 3;
        let root = match scheme {
            // file:///path: the key is the path itself.
            Scheme::File | Scheme::Memory => start,
            _ => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if authority.is_empty() {
                    let what = if scheme == Scheme::Http { "host" } else { "bucket or container" };
                    return Err(Error::new(ErrorKind::Invalid, format!("{text:?} names no {what}"))
                        .help(format!("write {word}://NAME/path")));
                }
                (start + authority.len() + 1).min(text.len())
            }
        };
        let place = Self { text: format!("{word}://{rest}"), scheme, root };
        place.check_key()?;
        Ok(place)
    }

    fn check_key(&self) -> Result<()> {
        let key = self.key().trim_matches('/');
        let wrong = key.split('/').any(|part| matches!(part, "" | "." | ".."));
        if wrong && !key.is_empty() && !matches!(self.scheme, Scheme::File | Scheme::Http) {
            return Err(Error::new(ErrorKind::Invalid, format!("the path of {self} is none"))
                .help("it may hold no empty part, and no `.` or `..`"));
        }
        Ok(())
    }

    /// What speaks to it.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The text, as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What comes before the key: scheme, and bucket, container or host.
    pub fn root(&self) -> &str {
        &self.text[..self.root]
    }

    /// The path in the bucket, as it is: nothing in it is an escape.
    pub fn key(&self) -> &str {
        &self.text[self.root..]
    }

    /// The bucket, container or host.
    pub fn bucket(&self) -> &str {
        self.root().split_once("://").map_or("", |(_, rest)| rest.trim_end_matches('/'))
    }

    /// Whether it names a folder: a key that ends with `/`, or a whole bucket.
    pub fn is_folder(&self) -> bool {
        match self.scheme {
            Scheme::File => Path::new(self.key()).is_dir(),
            Scheme::Http => false,
            _ => self.key().is_empty() || self.key().ends_with('/'),
        }
    }

    /// The path, where it is one of this machine.
    pub fn path(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| PathBuf::from(self.key()))
    }

    /// The last part of its path, by which a file of it is called.
    pub fn name(&self) -> &str {
        let key = if self.scheme == Scheme::Http {
            self.key().split(['?', '#']).next().unwrap_or_default()
        } else {
            self.key()
        };
        key.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("data")
    }

    /// The same place, as a folder.
    #[must_use]
    pub fn as_folder(mut self) -> Self {
        if !self.text.ends_with('/') {
            self.text.push('/');
        }
        self
    }

    /// What lies below it, as a folder, at this relative path.
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        let mut below = self.clone().as_folder();
        below.root = below.root.max(if self.root == self.text.len() { below.text.len() } else { 0 });
        below.text.push_str(relative);
        below
    }

    /// That this build can speak to it.
    ///
    /// # Errors
    /// `Unsupported`, naming the feature that it lacks.
    pub fn check_compiled(&self) -> Result<()> {
        match self.scheme.feature() {
            Some(feature) if !self.scheme.is_compiled() => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{self} cannot be reached: this program was built without the feature `{feature}`"),
            )
            .help(format!("build it with the feature `{feature}` of the crate `runtimes`"))),
            _ => Ok(()),
        }
    }

    /// That something can be written there.
    ///
    /// # Errors
    /// `Unsupported`, for web servers, or naming the feature that this build lacks.
    pub fn check_writable(&self) -> Result<()> {
        if !self.scheme.is_writable() {
            return Err(Error::new(ErrorKind::Unsupported, format!("nothing can be written to {self}"))
                .help("give a folder, or a URL of s3, gs or az"));
        }
        self.check_compiled()
    }
}

/// Whether this text is a URL rather than a path.
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

fn scheme_of(word: &str) -> Result<Scheme> {
    if let Some((_, scheme)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Ok(*scheme);
    }
    let known = WORDS.iter().map(|(word, _)| *word);
    let error = Error::new(ErrorKind::Invalid, format!("there is no storage `{word}://`"));
    Err(match did_you_mean(word, known) {
        Some(close) => error.help(format!("did you mean {close}://?")),
        None => error.help("known: a path, file, s3, gs, az, abfss, wasbs, http, https, memory, store"),
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.text))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// A path or URL without what may be secret in it. Of `abfss://container@account` all is said: it names no user.
pub fn redacted(text: &str) -> String {
    let Some((word, rest)) = text.split_once("://") else { return text.to_owned() };
    if !word.eq_ignore_ascii_case("http") && !word.eq_ignore_ascii_case("https") {
        return text.to_owned();
    }
    let (shown, query) = match rest.find(['?', '#']) {
        Some(at) => (&rest[..at], "?…"),
        None => (rest, ""),
    };
    let (authority, path) = shown.split_at(shown.find('/').unwrap_or(shown.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{word}://{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_root_and_a_key() {
        for (text, scheme, root, key, name) in [
            ("s3://b/a/x 1%.csv", Scheme::S3, "s3://b/", "a/x 1%.csv", "x 1%.csv"),
            ("S3://b", Scheme::S3, "s3://b", "", "data"),
            ("gs://b/p/", Scheme::Gcs, "gs://b/", "p/", "p"),
            (
                "abfss://c@acc.dfs.core.windows.net/d/e",
                Scheme::Azure,
                "abfss://c@acc.dfs.core.windows.net/",
                "d/e",
                "e",
            ),
            ("https://h:1/a/b.csv?sig=x/y", Scheme::Http, "https://h:1/", "a/b.csv?sig=x/y", "b.csv"),
            ("memory://a/b", Scheme::Memory, "memory://", "a/b", "b"),
            ("file:///a/b", Scheme::File, "file://", "/a/b", "b"),
            ("a/b.csv", Scheme::File, "", "a/b.csv", "b.csv"),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!(
                (place.scheme(), place.root(), place.key(), place.name()),
                (scheme, root, key, name),
                "{text}"
            );
        }
        assert_eq!(Place::parse("s3://b").unwrap().join("x").as_str(), "s3://b/x");
        assert_eq!(Place::parse("s3://b").unwrap().join("x").key(), "x");
        assert_eq!(Place::parse("s3://b/p").unwrap().join("x/y").key(), "p/x/y");
        assert!(
            Place::parse("s3://b").unwrap().is_folder() && !Place::parse("s3://b/p").unwrap().is_folder()
        );
    }

    #[test]
    fn what_is_no_place_is_said() {
        assert_eq!(Place::parse("htpps://b/x").unwrap_err().help_text(), Some("did you mean https://?"));
        assert!(Place::parse("ftp://b/x").unwrap_err().help_text().unwrap().starts_with("known: "));
        assert_eq!(
            Place::parse("s3:///x").unwrap_err().message(),
            "\"s3:///x\" names no bucket or container"
        );
        for text in ["s3://b/../x", "gs://b/a//c", "az://c/./x"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
        assert!(Place::parse("https://h/x").unwrap().check_writable().is_err());
    }

    #[test]
    fn secrets_in_urls_are_not_shown() {
        let place = Place::parse("https://me:pass@h/a?sig=s3cret").unwrap();
        assert_eq!(place.to_string(), "https://h/a?…");
        assert_eq!(format!("{place:?}"), "Place(https://h/a?…)");
    }
}
