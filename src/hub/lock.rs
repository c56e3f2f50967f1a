//! What was pulled, exactly: `runtimes.lock` in the folder of a project, to be kept with its code.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use runtime_core::{Error, ErrorKind, Result, yaml};
use serde::{Deserialize, Serialize};

use crate::source::write_whole;

/// The name of the file.
pub const LOCKFILE: &str = "runtimes.lock";

/// The version of the file's form.
const VERSION: u32 = 1;

/// A function that was pulled: where it came from, and what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The address, as it was asked for.
    pub reference: String,
    /// The hub that had it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The item in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The tag that was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// The version to which the tag pointed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The commit, where it came from a repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// `sha256:` of its files.
    pub digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    functions: Vec<Pin>,
}

/// The pins of a project.
#[derive(Clone, Debug)]
pub(crate) struct Lockfile(pub(crate) PathBuf);

impl Lockfile {
    /// All pins, sorted by reference.
    pub(crate) fn read(&self) -> Result<Vec<Pin>> {
        let text = match yaml::text_of(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let place = self.0.display().to_string();
        let document: Document = yaml::from_str(&text, &place)?;
        if document.version != VERSION {
            return Err(Error::invalid(place, format!("it is of form {}, not {VERSION}", document.version))
                .help("it was written by another version of this program"));
        }
        Ok(document.functions)
    }

    /// The pin of an address.
    pub(crate) fn get(&self, reference: &str) -> Result<Option<Pin>> {
        Ok(self.read()?.into_iter().find(|pin| pin.reference == reference))
    }

    /// Puts a pin in the place of the one of its address.
    pub(crate) fn put(&self, pin: Pin) -> Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let _alone = alone(folder)?;
        let mut functions = self.read()?;
        functions.retain(|other| other.reference != pin.reference);
        functions.push(pin);
        functions.sort_by(|a, b| a.reference.cmp(&b.reference));
        let text = yaml::to_string(&Document { version: VERSION, functions })?;
        let text =
            format!("# What `runtimes hub pull` pinned. Keep it with the code; do not edit it.\n{text}");
        write_whole(&self.0, text.as_bytes())
    }
}

/// Keeps others from changing a folder in this way, until it is dropped. Leaves no file behind.
pub(super) fn alone(folder: &Path) -> Result<File> {
    let file = File::open(folder).map_err(|error| Error::io("open", folder, error))?;
    file.lock().map_err(|error| Error::io("lock", folder, error))?;
    Ok(file)
}
