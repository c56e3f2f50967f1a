//! A run as it is read.

use std::{path::Path, sync::Arc};

use runtime_core::{Result, Run, store::RunRecord};
use sqlx::{Row, sqlite::SqliteRow};

use super::error::{from_sqlx, unreadable};

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
        run: Arc::new(run),
        revision: row.try_get::<i64, _>(1).map_err(failed)?.unsigned_abs(),
        owner: row.try_get(2).map_err(failed)?,
        target: row.try_get(3).map_err(failed)?,
        attempt: row.try_get(4).map_err(failed)?,
    })
}
