//! Documents: written by name and revision, read by name, by run, by what is due.

use std::{path::Path, sync::Arc};

use runtime_core::{
    Result,
    run::RunKey,
    store::{Document, DocumentFilter},
};
use sqlx::{
    Arguments, AssertSqlSafe, QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool,
    error::BoxDynError,
    query, query_with,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    error::{from_sqlx, unreadable},
    statement::{MAX_ROWS, sized, sizes, values},
};
use crate::store::row::{DocumentRow, Which, time};

/// The columns, in the order in which they are bound and read.
const COLUMNS: &str = "kind, project, name, revision, run, iteration, due, updated, body, topic";
const COLUMN_COUNT: usize = 10;

/// The statements that write documents, for one or for many: as those that write runs.
pub(super) struct DocumentStatements {
    insert: Vec<Arc<str>>,
    change: Vec<Arc<str>>,
    upsert: Vec<Arc<str>>,
}

impl DocumentStatements {
    pub(super) fn new() -> Self {
        let rows = |rows| format!("WITH n ({COLUMNS}) AS ({})", values(rows, COLUMN_COUNT));
        let insert = |count| {
            format!(
                "{} INSERT INTO documents ({COLUMNS}) SELECT kind, project, name, 1, run, iteration, due, updated, body, \
                 topic FROM n WHERE kind IS NOT NULL ON CONFLICT (kind, name, project) DO",
                rows(count)
            )
        };
        let set = |new: &str| {
            format!(
                "SET revision = documents.revision + 1, run = {new}.run, iteration = {new}.iteration, due = {new}.due, \
                 updated = {new}.updated, body = {new}.body, topic = {new}.topic"
            )
        };
        let change = |count| {
            format!(
                "{} UPDATE documents {} FROM n WHERE documents.kind = n.kind AND documents.project = n.project \
                 AND documents.name = n.name AND documents.revision = n.revision",
                rows(count),
                set("n")
            )
        };
        let upsert = |count| format!("{} UPDATE {}", insert(count), set("excluded"));
        Self {
            insert: sizes().map(|count| format!("{} NOTHING", insert(count)).into()).collect(),
            change: sizes().map(|count| change(count).into()).collect(),
            upsert: sizes().map(|count| upsert(count).into()).collect(),
        }
    }

    /// Writes those that are new, or of which the revision is the stored one; gives how many.
    pub(super) async fn put(&self, on: &mut SqliteConnection, rows: &[&DocumentRow]) -> sqlx::Result<u64> {
        let (new, changed): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.which.revision == Some(0));
        Ok(write(on, &self.insert, &new).await? + write(on, &self.change, &changed).await?)
    }

    /// Writes them, whatever is there.
    pub(super) async fn upsert(&self, on: &mut SqliteConnection, rows: &[&DocumentRow]) -> sqlx::Result<u64> {
        write(on, &self.upsert, rows).await
    }
}

async fn write(
    on: &mut SqliteConnection,
    statements: &[Arc<str>],
    rows: &[&DocumentRow],
) -> sqlx::Result<u64> {
    let mut written = 0;
    for chunk in rows.chunks(MAX_ROWS) {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(chunk.len() * COLUMN_COUNT, 0);
        for row in chunk {
            bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
        }
        let sql = AssertSqlSafe(Arc::clone(sized(statements, chunk.len())?));
        written += query_with(sql, arguments).execute(&mut *on).await?.rows_affected();
    }
    Ok(written)
}

fn bind(arguments: &mut SqliteArguments, row: &DocumentRow) -> Result<(), BoxDynError> {
    let DocumentRow { which, topic, parent, due, now, body } = row;
    arguments.add(which.kind.as_str())?;
    arguments.add(which.project.as_str())?;
    arguments.add(which.name.as_str())?;
    arguments.add(which.revision)?;
    arguments.add(parent.as_ref().map(|run| run.uid.as_str()))?;
    arguments.add(parent.as_ref().map(|run| run.iteration))?;
    arguments.add(due)?;
    arguments.add(now)?;
    arguments.add(Arc::clone(body))?;
    arguments.add(topic.as_deref())
}

/// Deletes it; gives how many there were.
pub(super) async fn delete(on: &mut SqliteConnection, which: &Which) -> sqlx::Result<u64> {
    let sql = "DELETE FROM documents WHERE kind = ?1 AND project = ?2 AND name = ?3 \
               AND revision = coalesce(?4, revision)";
    let statement = query(sql).bind(&which.kind).bind(&which.project).bind(&which.name).bind(which.revision);
    Ok(statement.execute(on).await?.rows_affected())
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
    use sqlx::{Connection, Executor};

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
