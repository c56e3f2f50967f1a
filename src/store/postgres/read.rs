//! What is read: rows, as what they stand for.

use std::sync::Arc;

use runtime_core::{
    Error, Function, Result, Run,
    run::RunKey,
    store::{Document, FunctionRecord, RunRecord},
};
use sqlx::{Row, postgres::PgRow};

use super::{
    error::{from_sqlx, unreadable},
    server::Server,
    text::original,
};
use crate::store::row::time;

/// What is read of a run, in this order.
pub(super) const RUN_COLUMNS: &str = "r.uid, r.revision, r.owner, r.target, r.attempt, r.body";

/// What is read of a document, in this order.
pub(super) const DOCUMENT_COLUMNS: &str =
    "kind, project, name, revision, run, iteration, due, updated, body, topic";

/// What is read of a function, in this order.
pub(super) const FUNCTION_COLUMNS: &str = "f.project, f.name, f.created, f.updated, f.body, ARRAY(SELECT t.tag \
     FROM tags AS t WHERE t.project = f.project AND t.name = f.name AND t.hash = f.hash ORDER BY t.tag)";

/// Reads rows for one operation.
pub(super) struct Reader<'a> {
    pub(super) server: &'a Server,
    pub(super) operation: &'static str,
}

impl Reader<'_> {
    fn failed(&self, error: sqlx::Error) -> Error {
        from_sqlx(self.server, self.operation, error)
    }

    fn unreadable(&self, what: String) -> impl FnOnce(serde_json::Error) -> Error {
        move |error| unreadable(self.server, &what, error).operation(self.operation)
    }

    pub(super) fn run(&self, row: &PgRow) -> Result<RunRecord> {
        let columns = || {
            let (body, attempt): (&str, i64) = (row.try_get(5)?, row.try_get(4)?);
            let record = RunRecord {
                run: Arc::default(),
                revision: row.try_get::<i64, _>(1)?.unsigned_abs(),
                owner: original(row.try_get(2)?),
                target: original(row.try_get(3)?),
                attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            };
            Ok((record, body, row.try_get::<String, _>(0)?))
        };
        let (record, body, uid) = columns().map_err(|error| self.failed(error))?;
        let run: Run = serde_json::from_str(body).map_err(self.unreadable(format!("run {uid}")))?;
        Ok(RunRecord { run: Arc::new(run), ..record })
    }

    pub(super) fn document(&self, row: &PgRow) -> Result<Document> {
        let columns = || {
            let run: Option<String> = row.try_get(4)?;
            let iteration: Option<i64> = row.try_get(5)?;
            let iteration = u32::try_from(iteration.unwrap_or_default()).unwrap_or(u32::MAX);
            let document = Document {
                kind: original(row.try_get(0)?),
                project: original(row.try_get(1)?),
                name: original(row.try_get(2)?),
                revision: row.try_get::<i64, _>(3)?.unsigned_abs(),
                topic: row.try_get::<Option<String>, _>(9)?.map(original),
                parent: run.map(|uid| RunKey { uid: original(uid), iteration }),
                ..Document::default()
            };
            Ok((
                document,
                row.try_get::<Option<i64>, _>(6)?,
                row.try_get::<i64, _>(7)?,
                row.try_get::<&str, _>(8)?,
            ))
        };
        let (document, due, updated, body) = columns().map_err(|error| self.failed(error))?;
        let what = format!("{} {:?}", document.kind, document.name);
        let body = serde_json::from_str(body).map_err(self.unreadable(what))?;
        Ok(Document { due: due.map(time).transpose()?, updated: time(updated)?, body, ..document })
    }

    /// A version; `tag` is the one by which it was asked for.
    pub(super) fn function(&self, row: &PgRow, tag: &str) -> Result<FunctionRecord> {
        let columns = || {
            let name: (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let times: (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
            Ok((name, times, row.try_get::<&str, _>(4)?, row.try_get::<Vec<String>, _>(5)?))
        };
        let ((project, name), (created, updated), body, tags) =
            columns().map_err(|error| self.failed(error))?;
        let mut function: Function =
            serde_json::from_str(body).map_err(self.unreadable(format!("function {project}/{name}")))?;
        tag.clone_into(&mut function.metadata.tag);
        Ok(FunctionRecord {
            function,
            tags: tags.into_iter().map(original).collect(),
            created: time(created)?,
            updated: time(updated)?,
        })
    }
}
