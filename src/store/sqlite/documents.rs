//! Documents: written by name and revision, read by name, by run, by what is due.

use std::path::Path;

use runtime_core::{
    Result,
    run::RunKey,
    store::{Document, DocumentFilter},
};
use rusqlite::{Connection, params};
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool, sqlite::SqliteRow};

use super::error::{from_sqlx, unreadable};
use crate::store::row::{DocumentRow, Which, time};

/// The columns, in the order in which they are bound and read.
const COLUMNS: &str = "kind, project, name, revision, run, iteration, due, updated, body, topic";

/// The statements that write: the same values for each, in the order of [`COLUMNS`].
macro_rules! insert {
    ($rest:literal) => {
        concat!(
            "INSERT INTO documents (kind, project, name, revision, run, iteration, due, updated, body, topic) \
             VALUES (?1, ?2, ?3, 1, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (kind, name, project) DO ",
            $rest
        )
    };
}
const INSERT: &str = insert!("NOTHING");
const UPSERT: &str = insert!(
    "UPDATE SET revision = documents.revision + 1, run = excluded.run, iteration = excluded.iteration, \
     due = excluded.due, updated = excluded.updated, body = excluded.body, topic = excluded.topic"
);
const CHANGE: &str = "UPDATE documents SET revision = revision + 1, run = ?5, iteration = ?6, due = ?7, \
    updated = ?8, body = ?9, topic = ?10 WHERE kind = ?1 AND project = ?2 AND name = ?3 AND revision = ?4";

/// Writes one that is new, or of which the revision is the stored one; gives how many.
pub(super) fn put(on: &Connection, row: &DocumentRow) -> rusqlite::Result<usize> {
    write(on, if row.which.revision == Some(0) { INSERT } else { CHANGE }, row)
}

/// Writes them, whatever is there.
pub(super) fn upsert(on: &Connection, rows: &[DocumentRow]) -> rusqlite::Result<()> {
    rows.iter().try_for_each(|row| write(on, UPSERT, row).map(drop))
}

fn write(on: &Connection, sql: &str, row: &DocumentRow) -> rusqlite::Result<usize> {
    let DocumentRow { which, topic, parent, due, now, body } = row;
    on.prepare_cached(sql)?.execute(params![
        which.kind,
        which.project,
        which.name,
        which.revision,
        parent.as_ref().map(|run| run.uid.as_str()),
        parent.as_ref().map(|run| run.iteration),
        due,
        now,
        body,
        topic,
    ])
}

/// Deletes it; gives how many there were.
pub(super) fn delete(on: &Connection, which: &Which) -> rusqlite::Result<usize> {
    on.prepare_cached(
        "DELETE FROM documents WHERE kind = ?1 AND project = ?2 AND name = ?3 AND revision = coalesce(?4, revision)",
    )?
    .execute(params![which.kind, which.project, which.name, which.revision])
}

pub(super) async fn get(
    pool: &SqlitePool,
    path: &Path,
    kind: &str,
    project: &str,
    name: &str,
) -> Result<Option<Document>> {
    const OPERATION: &str = "store.get_document";
    let mut sql = select("WHERE kind = ");
    sql.push_bind(kind).push(" AND project = ").push_bind(project).push(" AND name = ").push_bind(name);
    let found = sql.build().fetch_optional(pool).await;
    let found = found.map_err(|error| from_sqlx(path, OPERATION, error))?;
    found.map(|row| read(path, OPERATION, &row)).transpose()
}

pub(super) async fn list(pool: &SqlitePool, path: &Path, filter: &DocumentFilter) -> Result<Vec<Document>> {
    const OPERATION: &str = "store.list_documents";
    let mut sql = listed(filter);
    let rows = sql.build().fetch_all(pool).await.map_err(|error| from_sqlx(path, OPERATION, error))?;
    rows.iter().map(|row| read(path, OPERATION, row)).collect()
}

/// The documents that a filter lets through, along the index that it names: not by statistics.
fn listed(filter: &DocumentFilter) -> QueryBuilder<Sqlite> {
    let DocumentFilter { kind, project, name, topic, parent, due_before, limit } = filter;
    let along = match filter {
        DocumentFilter { parent: Some(_), .. } => "run",
        DocumentFilter { name: Some(_), .. } => "name",
        DocumentFilter { due_before: Some(_), .. } => "due",
        DocumentFilter { topic: Some(_), .. } => "topic",
        DocumentFilter { project: Some(_), .. } => "project",
        _ => "time",
    };
    let mut sql = select(&format!("INDEXED BY documents_by_{along} WHERE kind = "));
    sql.push_bind(kind.clone());
    if let Some(project) = project {
        sql.push(" AND project = ").push_bind(project.clone());
    }
    if let Some(name) = name {
        sql.push(" AND name = ").push_bind(name.clone());
    }
    if let Some(topic) = topic {
        sql.push(" AND topic = ").push_bind(topic.clone());
    }
    if let Some(parent) = parent {
        sql.push(" AND run = ").push_bind(parent.uid.clone());
        sql.push(" AND iteration = ").push_bind(parent.iteration);
    }
    if let Some(before) = due_before {
        sql.push(" AND due <= ").push_bind(before.as_microsecond()).push(" ORDER BY due, id");
    } else {
        sql.push(" ORDER BY updated DESC, id DESC");
    }
    if *limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::try_from(*limit).unwrap_or(i64::MAX));
    }
    sql
}

fn select(rest: &str) -> QueryBuilder<Sqlite> {
    QueryBuilder::new(format!("SELECT {COLUMNS} FROM documents {rest}"))
}

fn read(path: &Path, operation: &'static str, row: &SqliteRow) -> Result<Document> {
    let (document, due, updated, body) =
        read_columns(row).map_err(|error| from_sqlx(path, operation, error))?;
    let body = serde_json::from_str(&body).map_err(|error| {
        let what = format!("{} {:?}", document.kind, document.name);
        unreadable(path, &what, error).operation(operation)
    })?;
    Ok(Document { due: due.map(time).transpose()?, updated: time(updated)?, body, ..document })
}

fn read_columns(row: &SqliteRow) -> sqlx::Result<(Document, Option<i64>, i64, String)> {
    let run: Option<String> = row.try_get(4)?;
    let parent = match run {
        Some(uid) => Some(RunKey { uid, iteration: row.try_get(5)? }),
        None => None,
    };
    let document = Document {
        kind: row.try_get(0)?,
        project: row.try_get(1)?,
        name: row.try_get(2)?,
        revision: row.try_get::<i64, _>(3)?.unsigned_abs(),
        parent,
        topic: row.try_get(9)?,
        ..Document::default()
    };
    Ok((document, row.try_get(6)?, row.try_get(7)?, row.try_get(8)?))
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

    use super::*;

    /// What may be many is read in the order of an index, and no further than the limit.
    #[tokio::test]
    async fn long_lists_are_not_sorted() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for (_, _, migration) in super::super::connect::MIGRATIONS {
            connection.execute(*migration).await.unwrap();
        }
        let all = || DocumentFilter { limit: 50, ..DocumentFilter::of("a") };
        let due_before = Some(jiff::Timestamp::now());
        let project = Some("demo".to_owned());
        for filter in [
            all(),
            DocumentFilter { project: project.clone(), ..all() },
            DocumentFilter { topic: Some("model".to_owned()), ..all() },
            DocumentFilter { topic: Some("model".to_owned()), project: project.clone(), ..all() },
            DocumentFilter { due_before, ..all() },
            DocumentFilter { due_before, project, ..all() },
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", listed(&filter).into_sql().as_str());
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
            let plan: String = plan.into_iter().map(|step| step.3).collect();
            assert!(plan.starts_with("SEARCH documents USING INDEX") && !plan.contains("B-TREE"), "{plan}");
        }
    }
}
