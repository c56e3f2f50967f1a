//! Documents: written by name and revision, read by name, by run, by what is due.

use std::{path::Path, sync::Arc};

use runtime_core::{
    Result,
    run::RunKey,
    store::{Document, DocumentFilter},
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool, query, sqlite::SqliteRow};

use super::error::{from_sqlx, unreadable};
use crate::store::row::{DocumentRow, Which, time};

/// Writes a new one, or a changed one of the revision before; gives how many.
pub(super) async fn put(on: &mut SqliteConnection, row: &DocumentRow) -> sqlx::Result<u64> {
    let sql = match row.which.revision {
        Some(0) => {
            "INSERT INTO documents (kind, project, name, revision, run, iteration, due, updated, body) \
             VALUES (?1, ?2, ?3, ?4 + 1, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (kind, name, project) DO NOTHING"
        }
        _ => {
            "UPDATE documents SET revision = ?4 + 1, run = ?5, iteration = ?6, due = ?7, updated = ?8, body = ?9 \
             WHERE kind = ?1 AND project = ?2 AND name = ?3 AND revision = ?4"
        }
    };
    execute(on, sql, row, row.which.revision).await
}

/// Writes it, whatever is there. The caller has a transaction open.
pub(super) async fn upsert(on: &mut SqliteConnection, row: &DocumentRow) -> sqlx::Result<u64> {
    let sql = "INSERT INTO documents (kind, project, name, revision, run, iteration, due, updated, body) \
               VALUES (?1, ?2, ?3, ?4 + 1, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (kind, name, project) DO UPDATE \
               SET revision = revision + 1, run = excluded.run, iteration = excluded.iteration, \
               due = excluded.due, updated = excluded.updated, body = excluded.body";
    execute(on, sql, row, Some(0)).await
}

async fn execute(
    on: &mut SqliteConnection,
    sql: &'static str,
    row: &DocumentRow,
    revision: Option<i64>,
) -> sqlx::Result<u64> {
    let DocumentRow { which, parent, due, now, body } = row;
    let statement = query(sql)
        .bind(which.kind.as_str())
        .bind(which.project.as_str())
        .bind(which.name.as_str())
        .bind(revision)
        .bind(parent.as_ref().map(|run| run.uid.as_str()))
        .bind(parent.as_ref().map(|run| run.iteration))
        .bind(due)
        .bind(now)
        .bind(Arc::clone(body));
    Ok(statement.execute(on).await?.rows_affected())
}

/// Deletes it; gives how many there were.
pub(super) async fn delete(on: &mut SqliteConnection, which: &Which) -> sqlx::Result<u64> {
    let sql = "DELETE FROM documents WHERE kind = ?1 AND project = ?2 AND name = ?3 \
               AND revision = coalesce(?4, revision)";
    let statement = query(sql).bind(&which.kind).bind(&which.project).bind(&which.name).bind(which.revision);
    Ok(statement.execute(on).await?.rows_affected())
}

const COLUMNS: &str = "kind, project, name, revision, run, iteration, due, updated, body";

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
    let DocumentFilter { kind, project, name, parent, due_before, limit } = filter;
    // The index is chosen by what the filter names, not by statistics.
    let along = match filter {
        DocumentFilter { parent: Some(_), .. } => "run",
        DocumentFilter { name: Some(_), .. } => "name",
        DocumentFilter { due_before: Some(_), .. } => "due",
        DocumentFilter { project: Some(_), .. } => "project",
        _ => "time",
    };
    let mut sql = select(&format!("INDEXED BY documents_by_{along} WHERE kind = "));
    sql.push_bind(kind);
    if let Some(project) = project {
        sql.push(" AND project = ").push_bind(project);
    }
    if let Some(name) = name {
        sql.push(" AND name = ").push_bind(name);
    }
    if let Some(parent) = parent {
        sql.push(" AND run = ").push_bind(&parent.uid).push(" AND iteration = ").push_bind(parent.iteration);
    }
    if let Some(before) = due_before {
        sql.push(" AND due <= ").push_bind(before.as_microsecond()).push(" ORDER BY due, id");
    } else {
        sql.push(" ORDER BY updated DESC, id DESC");
    }
    if *limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::try_from(*limit).unwrap_or(i64::MAX));
    }
    let rows = sql.build().fetch_all(pool).await.map_err(|error| from_sqlx(path, OPERATION, error))?;
    rows.iter().map(|row| read(path, OPERATION, row)).collect()
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
        ..Document::default()
    };
    Ok((document, row.try_get(6)?, row.try_get(7)?, row.try_get(8)?))
}
