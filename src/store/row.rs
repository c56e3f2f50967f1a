//! What is written, as rows. Encoding is done by whoever calls, never by the writer.

use std::sync::Arc;

use jiff::Timestamp;
use runtime_core::{
    Error, Function, Result,
    run::RunKey,
    store::{Document, RunRecord, function_of, refusal},
};

/// The columns of a run that is written. The text that may be long is shared, not copied, when it is bound.
pub(super) struct RunRow {
    pub(super) key: RunKey,
    pub(super) revision: i64,
    pub(super) project: String,
    pub(super) name: String,
    pub(super) function: String,
    pub(super) function_uri: String,
    pub(super) state: &'static str,
    pub(super) terminal: bool,
    pub(super) owner: String,
    pub(super) target: String,
    pub(super) attempt: u32,
    pub(super) now: i64,
    pub(super) started: Option<i64>,
    pub(super) ended: Option<i64>,
    pub(super) labels: Arc<str>,
    pub(super) body: Arc<str>,
}

impl RunRow {
    /// The row of this record at this revision.
    pub(super) fn new(record: &RunRecord, revision: i64) -> Result<Self> {
        let RunRecord { run, owner, target, attempt, .. } = record;
        let encoded = |what: &str, error: serde_json::Error| {
            Error::internal(format!("{what} of run {} cannot be written as JSON: {error}", run.key()))
                .source(error)
        };
        let labels =
            serde_json::to_string(&run.metadata.labels).map_err(|error| encoded("the labels", error))?;
        let body = serde_json::to_string(run).map_err(|error| encoded("the record", error))?;
        let state = run.state();
        Ok(Self {
            key: run.key(),
            revision,
            project: run.metadata.project.clone(),
            name: run.metadata.name.clone(),
            function: function_of(&run.spec.function).1.to_owned(),
            function_uri: run.spec.function.clone(),
            state: state.as_str(),
            terminal: state.is_terminal(),
            owner: owner.clone(),
            target: target.clone(),
            attempt: *attempt,
            now: Timestamp::now().as_microsecond(),
            started: run.status.start_time.map(Timestamp::as_microsecond),
            ended: run.status.end_time.map(Timestamp::as_microsecond),
            labels: labels.into(),
            body: body.into(),
        })
    }
}

/// A version of a function that is written.
pub(super) struct FunctionRow {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) hash: String,
    /// The tag beside `latest`, if there is one.
    pub(super) tag: Option<String>,
    pub(super) now: i64,
    pub(super) body: Arc<str>,
}

impl FunctionRow {
    /// The row of this function. Tags belong to the store, not to the content, so the body has none.
    pub(super) fn new(function: &Function, tag: Option<&str>) -> Result<Self> {
        let metadata = &function.metadata;
        if metadata.name.is_empty() {
            return Err(refusal::nameless());
        }
        let hash = function.hash();
        let mut kept = function.clone();
        kept.metadata.hash.clone_from(&hash);
        kept.metadata.tag.clear();
        let body = serde_json::to_string(&kept).map_err(|error| {
            let message = format!("function {} cannot be written as JSON: {error}", metadata.name);
            Error::internal(message).operation("store.put_function").source(error)
        })?;
        Ok(Self {
            project: metadata.project.clone(),
            name: metadata.name.clone(),
            hash,
            tag: tag.filter(|tag| !tag.is_empty()).map(str::to_owned),
            now: Timestamp::now().as_microsecond(),
            body: body.into(),
        })
    }
}

/// A tag that is to point at a version.
pub(super) struct TagRow {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) hash: String,
    pub(super) tag: String,
}

/// A document that is written.
pub(super) struct DocumentRow {
    pub(super) which: Which,
    pub(super) topic: Option<String>,
    pub(super) parent: Option<RunKey>,
    pub(super) due: Option<i64>,
    pub(super) now: i64,
    pub(super) body: Arc<str>,
}

/// Which document; where a revision is given, only if that is the stored one.
pub(super) struct Which {
    pub(super) kind: String,
    pub(super) project: String,
    pub(super) name: String,
    pub(super) revision: Option<i64>,
}

impl Which {
    pub(super) fn new(kind: &str, project: &str, name: &str, revision: Option<u64>) -> Self {
        let revision = revision.map(|revision| i64::try_from(revision).unwrap_or(i64::MAX));
        Self { kind: kind.to_owned(), project: project.to_owned(), name: name.to_owned(), revision }
    }
}

impl DocumentRow {
    pub(super) fn new(document: &Document) -> Result<Self> {
        document.check()?;
        let Document { kind, project, name, revision, .. } = document;
        let body = serde_json::to_string(&document.body).map_err(|error| {
            let message = format!("the body of {kind} {name:?} cannot be written as JSON: {error}");
            Error::internal(message).operation("store.put_document").source(error)
        })?;
        Ok(Self {
            which: Which::new(kind, project, name, Some(*revision)),
            topic: document.topic.clone(),
            parent: document.parent.clone(),
            due: document.due.map(Timestamp::as_microsecond),
            now: Timestamp::now().as_microsecond(),
            body: body.into(),
        })
    }

    /// Whether both are about the same document.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.which.kind.clone(), row.which.project.clone(), row.which.name.clone());
        key(self) == key(other)
    }

    pub(super) fn is_of_another_than(&self, run: &RunKey) -> bool {
        self.parent.as_ref().is_some_and(|parent| parent != run)
    }

    /// The error of a document whose run is not there.
    pub(super) fn orphaned(&self) -> Error {
        let Which { kind, project, name, .. } = &self.which;
        let document = Document::new(kind, project, name, serde_json::Value::Null);
        refusal::document_orphaned(&Document { parent: self.parent.clone(), ..document })
    }
}

/// A time as it is stored.
pub(super) fn time(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros)
        .map_err(|error| Error::internal(format!("{micros} is stored as a time: {error}")).source(error))
}
