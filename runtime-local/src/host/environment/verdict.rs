//! A failed build, left for those that waited for it.

use std::{fs, path::Path, time::SystemTime};

use runtime_core::{Error, ErrorKind, ErrorStatus};
use serde::{Deserialize, Serialize};

use super::known::write_atomically;

/// The error of a build, as the next process can read it.
#[derive(Serialize, Deserialize)]
struct Verdict {
    message: String,
    help: Option<String>,
    temporary: bool,
}

/// Leaves the error of a build for those that wait for it now. Without it they would all try, one by one.
pub(super) fn leave(file: &Path, error: &Error) {
    if error.kind() != ErrorKind::Environment {
        return;
    }
    let contexts = error.contexts().iter().map(|(key, value)| format!("\n  {key}: {value}"));
    let verdict = Verdict {
        message: std::iter::once(error.message().to_owned()).chain(contexts).collect(),
        help: error.help_text().map(str::to_owned),
        temporary: error.status() == ErrorStatus::Temporary,
    };
    if let Ok(text) = serde_json::to_vec(&verdict) {
        drop(write_atomically(file, &text));
    }
}

/// The error of a build that ended after `since`; older ones say nothing about now.
pub(super) fn after(file: &Path, since: SystemTime) -> Option<Error> {
    if fs::metadata(file).ok()?.modified().ok()? < since {
        return None;
    }
    let verdict: Verdict = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let mut error = Error::new(ErrorKind::Environment, verdict.message).operation("environment.build");
    if let Some(help) = verdict.help {
        error = error.help(help);
    }
    Some(if verdict.temporary { error.temporary() } else { error })
}
