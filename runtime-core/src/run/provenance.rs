//! What a run was made of, beside what was asked: what it takes to say whether it can be run again as it was.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a run was made of, beside its function and what was asked of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Files of this machine that it was given, as they were when it was recorded: by the field that names them
    /// (`inputs.data`, `spec.command`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Fingerprint>,
    /// The git commits of the work trees in which its folders lie, by the work tree.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<String, String>,
    /// What was not committed in these work trees when it began; nothing of those where that is not known. Shared by
    /// runs that began at about the same time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uncommitted: BTreeMap<String, Arc<Uncommitted>>,
    /// The packages that it had, where its function asks for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
}

impl Provenance {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The files of a git work tree that were not as they were committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncommitted {
    /// The files, their paths relative to the work tree; a file that was gone has neither a time nor a content.
    pub files: Vec<Fingerprint>,
    /// How many more there were, which are not named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A file or folder, as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Where it was.
    pub path: String,
    /// Bytes; of a folder 0.
    pub size: u64,
    /// When it was written last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// SHA-1 of its content, where it is small.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha1: String,
}

/// A Python and what is installed beside it, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Packages {
    /// The interpreter's version: `3.12.1`.
    pub python: String,
    /// Each package as pip reads it: `pandas==2.3.1`, or `name @ URL`. Sorted.
    pub installed: Vec<String>,
}
