//! A run as a row, and back. Encoding is done by whoever calls, never by the writer.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use runtime_core::{
    Error, Result,
    run::{Run, RunKey},
    store::{RunRecord, function_of},
};
use sqlx::{Row, sqlite::SqliteRow};

use super::error::{from_sqlx, unreadable};

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

/// What is read of a run, in this order.
pub(super) const RUN_COLUMNS: &str = "r.uid, r.revision, r.owner, r.target, r.attempt, r.body";

/// A run by its key.
pub(super) const RUN_BY_KEY: &str = "SELECT r.uid, r.revision, r.owner, r.target, r.attempt, r.body \
                                     FROM runs AS r WHERE r.uid = ? AND r.iteration = ?";

/// The record in a row of [`RUN_COLUMNS`].
pub(super) fn run_record(path: &Path, operation: &'static str, row: &SqliteRow) -> Result<RunRecord> {
    let failed = |error| from_sqlx(path, operation, error);
    let body: &str = row.try_get(5).map_err(failed)?;
    let run: Run = serde_json::from_str(body).map_err(|error| {
        let uid: String = row.try_get(0).unwrap_or_default();
        unreadable(path, &format!("run {uid}"), error).operation(operation)
    })?;
    Ok(RunRecord {
        run,
        revision: row.try_get::<i64, _>(1).map_err(failed)?.unsigned_abs(),
        owner: row.try_get(2).map_err(failed)?,
        target: row.try_get(3).map_err(failed)?,
        attempt: row.try_get(4).map_err(failed)?,
    })
}
