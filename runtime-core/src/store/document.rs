//! Whatever else is remembered: a record with a name, a revision, and maybe a time at which something is due.

use jiff::Timestamp;
use serde_json::Value;

use super::refusal::document_nameless;
use crate::{Result, run::RunKey};

/// Something else that is remembered beside functions and runs: a schedule, a notification to be sent, an artifact, an
/// orchestrator's lease. A document is found by kind, project and name; what is in it is its writer's affair.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What it is: `schedule`, `artifact`, ... Not empty.
    pub kind: String,
    /// Of which project; empty where it is of none.
    pub project: String,
    /// Which one of its kind and project. Not empty.
    pub name: String,
    /// Counts the changes: a change is made on the revision that was read, or refused. 0: not stored yet.
    pub revision: u64,
    /// What it is about, where several may be about the same: a way to find them, the newest first.
    pub topic: Option<String>,
    /// The run that it belongs to: it is deleted together with that one.
    pub parent: Option<RunKey>,
    /// When something is to be done about it.
    pub due: Option<Timestamp>,
    /// The content.
    pub body: Value,
    /// When it was stored last; the store sets it.
    pub updated: Timestamp,
}

impl Document {
    /// A document that is not stored yet.
    pub fn new(
        kind: impl Into<String>,
        project: impl Into<String>,
        name: impl Into<String>,
        body: Value,
    ) -> Self {
        Self { kind: kind.into(), project: project.into(), name: name.into(), body, ..Self::default() }
    }

    /// Whether it can be stored: a store asks this first.
    ///
    /// # Errors
    /// `Invalid` where its kind or its name is empty.
    pub fn check(&self) -> Result<()> {
        if self.kind.is_empty() || self.name.is_empty() {
            return Err(document_nameless(self));
        }
        Ok(())
    }
}

/// Which documents to list: by the time at which they are due where `due_before` is given, otherwise those that were
/// stored last first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentFilter {
    /// Of this kind.
    pub kind: String,
    /// Of this project.
    pub project: Option<String>,
    /// Of this name.
    pub name: Option<String>,
    /// About this.
    pub topic: Option<String>,
    /// That belong to this run.
    pub parent: Option<RunKey>,
    /// Due at this instant or before it.
    pub due_before: Option<Timestamp>,
    /// At most so many; 0: all.
    pub limit: usize,
}

impl DocumentFilter {
    /// All documents of a kind.
    pub fn of(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }
}
