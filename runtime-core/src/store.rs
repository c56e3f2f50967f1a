//! What a store is: the record of functions, runs and documents. Everything that is said to be true was written there first.

mod document;
mod memory;
pub mod refusal;
mod uri;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{Function, Result, Run, RunState, run::RunKey};

pub use document::{Document, DocumentFilter};
pub use memory::MemoryStore;
pub use uri::{function_of, is_version};

/// A run as it is kept: the run, and who follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// The run. Shared, since many look at it and few change it ([`Self::run_mut`]).
    pub run: Arc<Run>,
    /// Counts the changes: a change is made on the revision that was read, or refused.
    pub revision: u64,
    /// The orchestrator that follows it; empty when it has ended.
    pub owner: String,
    /// The target on which it runs.
    pub target: String,
    /// Which attempt is the current one, from 0.
    pub attempt: u32,
}

impl RunRecord {
    /// The run, to be changed; nobody else who holds it sees that.
    pub fn run_mut(&mut self) -> &mut Run {
        Arc::make_mut(&mut self.run)
    }
}

/// Which runs to list; the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of this name.
    pub name: Option<String>,
    /// Of this function's name.
    pub function: Option<String>,
    /// In one of these states; empty: in any.
    pub states: Vec<RunState>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Whose uid begins so.
    pub uid_prefix: Option<String>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Followed by this orchestrator.
    pub owner: Option<String>,
    /// Of this iteration: 0 leaves out the iterations of runs with hyper-parameters.
    pub iteration: Option<u32>,
    /// At most so many; 0: all.
    pub limit: usize,
}

impl RunFilter {
    /// The runs that have not ended.
    pub fn active() -> Self {
        Self {
            states: RunState::ALL.into_iter().filter(|state| !state.is_terminal()).collect(),
            ..Self::default()
        }
    }
}

/// Which version of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one to which a tag points; `latest` is the newest.
    Tag(String),
    /// The one of this hash, or of the only one that begins so.
    Hash(String),
}

impl Default for Version {
    fn default() -> Self {
        Self::Tag("latest".to_owned())
    }
}

/// A version of a function in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionRecord {
    /// The function; `metadata.hash` is set.
    pub function: Function,
    /// The tags that point at it.
    pub tags: Vec<String>,
    /// When this version was stored first.
    pub created: Timestamp,
    /// When it was stored last.
    pub updated: Timestamp,
}

/// What is remembered: functions by version, runs by uid, documents by name. Safe for several orchestrators at once.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a function under its hash, and lets `tag` (default `latest`) and `latest` point at it. The same content
    /// stored again is the same version. Returns the hash.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn put_function(&self, function: &Function, tag: Option<&str>) -> Result<String>;

    /// Lets a tag point at this version; the other tags, `latest` among them, stay. Returns whether there is such a
    /// version.
    ///
    /// A store that can does it at once; this way needs several steps.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn tag_function(&self, project: &str, name: &str, hash: &str, tag: &str) -> Result<bool> {
        let version = Version::Hash(hash.to_owned());
        let Some(wanted) = self.get_function(project, name, &version).await? else { return Ok(false) };
        let latest = self.get_function(project, name, &Version::default()).await?;
        self.put_function(&wanted.function, Some(tag)).await?;
        if let Some(latest) = latest.filter(|_| tag != "latest") {
            self.put_function(&latest.function, None).await?;
        }
        Ok(true)
    }

    /// A version of a function; `None` where there is none.
    ///
    /// # Errors
    /// When the store cannot be read, or a hash's beginning is ambiguous.
    async fn get_function(
        &self,
        project: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<FunctionRecord>>;

    /// The functions of a project (or of all), newest first; all versions, or the tagged ones only.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list_functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>>;

    /// Forgets a function with all its versions and tags; returns how many versions there were.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn delete_function(&self, project: &str, name: &str) -> Result<usize>;

    /// Forgets one version of a function, named by its whole hash, with the tags that point at it; or one tag alone.
    /// Where `latest` went with it, it points at that of the other versions that was stored last. Returns whether
    /// there was such a version or tag.
    ///
    /// # Errors
    /// `Conflict` where a run that has not ended needs this version; when it cannot be written.
    async fn delete_version(&self, project: &str, name: &str, version: &Version) -> Result<bool>;

    /// Writes a new run, durably. Its revision becomes 1.
    ///
    /// # Errors
    /// `AlreadyExists` where there is a run of that key.
    async fn create_run(&self, record: &RunRecord) -> Result<()>;

    /// Writes a changed run, durably, if its revision is still `record.revision`; returns the new revision. A run
    /// that has reached a terminal state is not changed any more.
    ///
    /// # Errors
    /// `Conflict` where somebody changed it meanwhile, or it has ended; `NotFound` where it was deleted.
    async fn update_run(&self, record: &RunRecord) -> Result<u64>;

    /// The run of this key.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get_run(&self, key: &RunKey) -> Result<Option<RunRecord>>;

    /// The runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>>;

    /// As [`Self::update_run`], and writes these documents, whatever their revision: all of it, or nothing.
    ///
    /// # Errors
    /// As [`Self::update_run`]; `NotFound` where the run to which a document belongs is not there.
    async fn update_run_with(&self, record: &RunRecord, documents: &[Document]) -> Result<u64>;

    /// Forgets a run that has ended, with the documents that belong to it; returns whether there was one.
    ///
    /// # Errors
    /// `Conflict` where it has not ended.
    async fn delete_run(&self, key: &RunKey) -> Result<bool>;

    /// Writes a document, durably: a new one where its revision is 0, otherwise a changed one, if its revision is
    /// still the stored one. Returns the new revision.
    ///
    /// # Errors
    /// `AlreadyExists` where a new one is there already; `Conflict` where somebody changed it meanwhile; `NotFound`
    /// where it was deleted, or the run to which it belongs is not there.
    async fn put_document(&self, document: &Document) -> Result<u64>;

    /// The document of this kind, project and name.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get_document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>>;

    /// The documents that a filter lets through.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list_documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>>;

    /// Forgets a document, where a revision is given only at that one; returns whether there was one.
    ///
    /// # Errors
    /// `Conflict` where it has another revision.
    async fn delete_document(
        &self,
        kind: &str,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<bool>;

    /// Changes whenever anybody, in whichever process, changed the store: a sign to look again. May change
    /// without a reason; comes late by at most a fraction of a second.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Writes what is still to be written and lets go of files and connections.
    ///
    /// # Errors
    /// When something could not be written.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
