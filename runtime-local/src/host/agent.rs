//! What the agent is told, as it reads it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use runtime_core::Run;
use serde::Serialize;

/// Where code is, and what of it is called: the same for all runs of a function.
#[derive(Serialize)]
pub(crate) struct Load<'a> {
    pub(crate) code: Place<'a>,
    pub(crate) handler: Option<&'a str>,
    pub(crate) args: Vec<String>,
    pub(crate) pythonpath: Vec<PathBuf>,
    pub(crate) base_dir: &'a Path,
}

/// Where code is.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Place<'a> {
    /// In a module.
    Module { module: &'a str },
    /// In a file, and what that is called in tracebacks.
    File { path: PathBuf, name: PathBuf },
}

/// One run of it.
#[derive(Serialize)]
pub(crate) struct Spec<'a> {
    /// The code; `None` for a template, which knows it.
    #[serde(flatten)]
    pub(crate) load: Option<Load<'a>>,
    pub(crate) run: &'a Run,
    /// Where the report goes; `None`: into the state file.
    pub(crate) report: Option<PathBuf>,
    pub(crate) artifact_path: &'a str,
    /// Inputs that were fetched: where they are now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) inputs: &'a BTreeMap<String, PathBuf>,
    pub(crate) meta_tmpfile: PathBuf,
}
