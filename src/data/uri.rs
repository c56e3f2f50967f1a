//! How an artifact is named: `store://[KIND/][PROJECT/]KEY[#ITER][:TAG][@TREE][^UID]`, as MLRun writes it.

use std::{fmt, str::FromStr};

use runtime_core::{Error, ErrorKind, Result};

/// What such names begin with.
pub const STORE: &str = "store://";

/// What may stand before the project: kinds of artifacts, in the plural.
const KINDS: [&str; 5] = ["artifacts", "datasets", "models", "plots", "dirs"];

/// The name of an artifact; what is left out may be anything, and the newest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactUri {
    /// The project; empty: that of whoever asks.
    pub project: String,
    /// Its key, or the key under which MLRun's database knows it (`RUN_KEY`).
    pub key: String,
    /// The iteration of the run.
    pub iteration: Option<u32>,
    /// The tag; `latest` is any.
    pub tag: Option<String>,
    /// What it is filed under: the uid of the run, or its workflow.
    pub tree: Option<String>,
    /// The uid of the run that wrote it.
    pub uid: Option<String>,
}

impl ArtifactUri {
    /// Whether this text names an artifact rather than a place.
    pub fn is_uri(text: &str) -> bool {
        text.starts_with(STORE)
    }

    /// In this project, where it names none.
    #[must_use]
    pub fn in_project(mut self, project: &str) -> Self {
        if self.project.is_empty() {
            project.clone_into(&mut self.project);
        }
        self
    }
}

impl FromStr for ArtifactUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Invalid, why)
                .help("write store://PROJECT/KEY, with #ITERATION, :TAG or @TREE behind it where it is not the newest")
        };
        let rest = text.strip_prefix(STORE).unwrap_or(text);
        let marks = ['#', ':', '@', '^'];
        let (path, mut selectors) = rest.split_at(rest.find(marks).unwrap_or(rest.len()));
        let mut uri = Self::default();
        while let Some(mark) = selectors.chars().next() {
            let rest = &selectors[1..];
            let (value, next) = rest.split_at(rest.find(marks).unwrap_or(rest.len()));
            if value.is_empty() {
                return Err(wrong(format!("{text:?} names no artifact: nothing stands behind `{mark}`")));
            }
            match mark {
                '#' => {
                    let number = value.parse().map_err(|_| {
                        wrong(format!("{text:?} names no artifact: {value:?} is no iteration"))
                    })?;
                    uri.iteration = Some(number);
                }
                ':' => uri.tag = Some(value.to_owned()),
                '@' => uri.tree = Some(value.to_owned()),
                _ => uri.uid = Some(value.to_owned()),
            }
            selectors = next;
        }
        let path = path.trim_start_matches('/');
        let path = match path.split_once('/') {
            Some((kind, below)) if KINDS.contains(&kind) => below,
            _ => path,
        };
        let (project, key) = path.split_once('/').unwrap_or(("", path));
        if key.is_empty() {
            return Err(wrong(format!("{text:?} names no artifact")));
        }
        (uri.project, uri.key) = (project.to_owned(), key.to_owned());
        Ok(uri)
    }
}

impl fmt::Display for ArtifactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}")?;
        if !self.project.is_empty() {
            write!(f, "{}/", self.project)?;
        }
        f.write_str(&self.key)?;
        if let Some(iteration) = self.iteration {
            write!(f, "#{iteration}")?;
        }
        for (mark, value) in [(':', &self.tag), ('@', &self.tree), ('^', &self.uid)] {
            if let Some(value) = value {
                write!(f, "{mark}{value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_mlrun_writes_them() {
        for (text, project, key, iteration, tag, tree) in [
            ("store://p/k", "p", "k", None, None, None),
            ("store://models/p/train_model#3:v1@abc", "p", "train_model", Some(3), Some("v1"), Some("abc")),
            ("store://artifacts/p/plots/roc@abc", "p", "plots/roc", None, None, Some("abc")),
            ("store://datasets/k:latest", "", "k", None, Some("latest"), None),
            ("k@abc#0", "", "k", Some(0), None, Some("abc")),
        ] {
            let uri: ArtifactUri = text.parse().unwrap();
            let found = (
                uri.project.as_str(),
                uri.key.as_str(),
                uri.iteration,
                uri.tag.as_deref(),
                uri.tree.as_deref(),
            );
            assert_eq!(found, (project, key, iteration, tag, tree), "{text}");
            assert_eq!(uri.to_string().parse::<ArtifactUri>().unwrap(), uri);
        }
        for text in ["store://", "store://p/", "store://p/k@", "store://p/k#x", ""] {
            assert!(text.parse::<ArtifactUri>().is_err(), "{text:?}");
        }
    }
}
