//! What a store says when it refuses: the same words, and the same kinds, whichever store it is.

use super::{Document, RunRecord};
use crate::{Error, ErrorKind, RunState, run::RunKey};

/// How many names an error lists before it says how many more there are.
const LISTED: usize = 5;

/// There is a run of this key already.
pub fn run_exists(key: &RunKey) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("run {key} is in the store already"))
        .at("metadata.uid")
        .help("a new run needs a new uid; to change this one, read it and update it")
        .operation("store.create_run")
}

/// A change of a run was refused: `stored` is what the store has now.
pub fn run_refused(key: &RunKey, revision: u64, stored: Option<&RunRecord>) -> Error {
    match stored {
        None => Error::not_found(format!("run {key} is not in the store: it was deleted, or never created")),
        Some(stored) if stored.run.state().is_terminal() => {
            let state = stored.run.state();
            Error::new(ErrorKind::Conflict, format!("run {key} has ended: it is {state}"))
                .help(format!("{state} is final; start a new run instead"))
        }
        Some(stored) => Error::new(
            ErrorKind::Conflict,
            format!(
                "run {key} was changed meanwhile: revision {} is stored, {revision} was read",
                stored.revision
            ),
        )
        .help("read it again and make the change on that"),
    }
    .operation("store.update_run")
}

/// A run that has not ended cannot be deleted.
pub fn run_active(key: &RunKey, state: RunState) -> Error {
    Error::new(ErrorKind::Conflict, format!("run {key} has not ended: it is {state}"))
        .help("abort it, then delete it")
        .operation("store.delete_run")
}

/// A function that runs need cannot be deleted.
pub fn in_use(project: &str, name: &str, runs: &[String]) -> Error {
    let what = if runs.len() == 1 { "a run that has" } else { "runs that have" };
    let message = format!("function {project}/{name} is needed by {what} not ended: {}", listed(runs));
    Error::new(ErrorKind::Conflict, message)
        .help("wait for them, or abort them, then delete the function")
        .operation("store.delete_function")
}

/// A function is found by its name, so it must have one.
pub fn nameless() -> Error {
    Error::invalid("metadata.name", "a function without a name cannot be stored")
        .help("give it one")
        .operation("store.put_function")
}

/// More than one version begins so.
pub fn ambiguous(prefix: &str, hashes: &[impl AsRef<str>]) -> Error {
    Error::invalid("hash", format!("{prefix:?} is the beginning of several versions: {}", listed(hashes)))
        .help("write more digits of the hash, or a tag")
        .operation("store.get_function")
}

/// There is a document of this name already.
pub fn document_exists(document: &Document) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{} is in the store already", named(document)))
        .help("to change it, read it and put it with its revision")
        .operation("store.put_document")
}

/// A change of a document was refused: `stored` is the revision that the store has now.
pub fn document_refused(document: &Document, stored: Option<u64>) -> Error {
    let (what, read) = (named(document), document.revision);
    match stored {
        None => Error::not_found(format!("{what} is not in the store: it was deleted, or never created")),
        Some(stored) => Error::new(
            ErrorKind::Conflict,
            format!("{what} was changed meanwhile: revision {stored} is stored, {read} was read"),
        )
        .help("read it again and make the change on that"),
    }
    .operation("store.put_document")
}

/// A document is found by its kind and name, so it must have both.
pub fn document_nameless(document: &Document) -> Error {
    let field = if document.kind.is_empty() { "kind" } else { "name" };
    Error::invalid(field, format!("a document without a {field} cannot be stored"))
        .help("give it one")
        .operation("store.put_document")
}

/// A document belongs to a run that is not there.
pub fn document_orphaned(document: &Document) -> Error {
    let run = document.parent.as_ref().map(ToString::to_string).unwrap_or_default();
    Error::not_found(format!("{} belongs to run {run}, which is not in the store", named(document)))
        .help("record the run first; one that was deleted takes its documents along")
        .operation("store.put_document")
}

/// A document as an error names it.
fn named(document: &Document) -> String {
    let Document { kind, project, name, .. } = document;
    if project.is_empty() { format!("{kind} {name:?}") } else { format!("{kind} {name:?} of {project}") }
}

fn listed(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
