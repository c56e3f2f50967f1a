//! The statements that write, each for one or for many at once.
//!
//! A round trip to SQLite's thread costs as much as a row, so many runs go in one statement. There is one statement for
//! each power of two: rows that are missing are NULL, and a row without a uid is none.

use std::{
    future::ready,
    sync::{Arc, OnceLock},
};

use futures_util::TryStreamExt;
use runtime_core::{
    Error, RunState,
    run::RunKey,
    store::{Version, function_of, is_version, refusal},
};
use sqlx::{
    Arguments, AssertSqlSafe, Executor, SqliteConnection, error::BoxDynError, query, query_as, query_with,
    sqlite::SqliteArguments,
};

use super::documents::DocumentStatements;
use crate::store::row::{FunctionRow, RunRow, TagRow};

/// The most rows of one statement.
pub(super) const MAX_ROWS: usize = 64;

/// The columns of a run, in the order in which they are bound.
const COLUMNS: &str = "uid, iteration, revision, project, name, function, function_uri, state, terminal, owner, \
                       target, attempt, created, started, ended, labels, body";
const COLUMN_COUNT: usize = 17;

/// What a change always writes.
const CHANGED: &str = "revision = n.revision, state = n.state, terminal = n.terminal, owner = n.owner, \
                       target = n.target, attempt = n.attempt, updated = n.created, started = n.started, \
                       ended = n.ended, labels = n.labels, body = n.body";

/// Which run may be changed: the one of the revision before, if it has not ended.
const UNCHANGED: &str = "runs.uid = n.uid AND runs.iteration = n.iteration AND runs.revision = n.revision - 1 \
                         AND NOT runs.terminal";

/// Begins a transaction. IMMEDIATE: it waits for other processes now, not half-way through.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// The statements of all sizes, made once: one for each power of two up to [`MAX_ROWS`].
pub(super) struct Statements {
    create: Vec<Arc<str>>,
    update: Vec<Arc<str>>,
    /// How transactions begin: `BEGIN` with none or each of `create`, and of these with none or each of `update`. Made
    /// when needed.
    begin: Vec<Vec<OnceLock<Arc<str>>>>,
    rename: Arc<str>,
    pub(super) documents: DocumentStatements,
}

impl Statements {
    pub(super) fn new() -> Self {
        // OR ROLLBACK: a batch is taken back as a whole, so no statement keeps what it alone may have to take back.
        let create = |rows| {
            format!(
                "WITH n ({COLUMNS}) AS ({}) INSERT OR ROLLBACK INTO runs ({COLUMNS}, updated) \
                 SELECT {COLUMNS}, created FROM n WHERE uid IS NOT NULL ON CONFLICT (uid, iteration) DO NOTHING",
                values(rows, COLUMN_COUNT)
            )
        };
        // Names almost never change, and then their indexes need not be touched.
        let update = |rows| {
            format!(
                "WITH n ({COLUMNS}) AS ({}) UPDATE OR ROLLBACK runs SET {CHANGED} FROM n WHERE {UNCHANGED} \
                 AND runs.project = n.project AND runs.name = n.name AND runs.function_uri = n.function_uri",
                values(rows, COLUMN_COUNT)
            )
        };
        let rename = format!(
            "WITH n ({COLUMNS}) AS ({}) UPDATE runs SET {CHANGED}, project = n.project, name = n.name, \
             function = n.function, function_uri = n.function_uri FROM n WHERE {UNCHANGED}",
            values(1, COLUMN_COUNT)
        );
        Self {
            create: sizes().map(|rows| create(rows).into()).collect(),
            update: sizes().map(|rows| update(rows).into()).collect(),
            begin: vec![vec![OnceLock::new(); sizes().count() + 1]; sizes().count() + 1],
            rename: rename.into(),
            documents: DocumentStatements::new(),
        }
    }

    /// Creates those of these runs that are not there yet; gives how many.
    pub(super) async fn create(&self, on: &mut SqliteConnection, rows: &[&RunRow]) -> sqlx::Result<u64> {
        write_rows(on, sized(&self.create, rows.len())?, rows).await
    }

    /// Changes those of these runs that have the revision before, the same names, and have not ended; gives how many.
    pub(super) async fn update(&self, on: &mut SqliteConnection, rows: &[&RunRow]) -> sqlx::Result<u64> {
        write_rows(on, sized(&self.update, rows.len())?, rows).await
    }

    /// Begins a transaction and does both in it, at most [`MAX_ROWS`] of each, in one round trip; gives how many.
    pub(super) async fn begin(
        &self,
        on: &mut SqliteConnection,
        creates: &[&RunRow],
        updates: &[&RunRow],
    ) -> sqlx::Result<u64> {
        let which = |rows: &[_]| if rows.is_empty() { 0 } else { 1 + power(rows.len()) };
        let cell = self.begin.get(which(creates)).and_then(|row| row.get(which(updates)));
        let cell = cell.ok_or_else(|| too_many(creates.len().max(updates.len())))?;
        let sql = cell.get_or_init(|| {
            let mut sql = BEGIN.to_owned();
            for (statements, rows) in [(&self.create, creates), (&self.update, updates)] {
                if let (false, Ok(statement)) = (rows.is_empty(), sized(statements, rows.len())) {
                    sql.push_str("; ");
                    sql.push_str(statement);
                }
            }
            sql.into()
        });
        let mut arguments = SqliteArguments::default();
        bind_all(&mut arguments, creates)?;
        // The rows that are missing: after the last statement they need not be said.
        let missing = if creates.is_empty() { 0 } else { creates.len().next_power_of_two() - creates.len() };
        for _ in 0..missing * COLUMN_COUNT {
            arguments.add(None::<i64>).map_err(sqlx::Error::Encode)?;
        }
        bind_all(&mut arguments, updates)?;
        let done = on.fetch_many(query_with(AssertSqlSafe(Arc::clone(sql)), arguments));
        let counts = done.try_filter_map(|step| ready(Ok(step.left().map(|done| done.rows_affected()))));
        // `BEGIN` gives the count of whatever was before it.
        Ok(counts.try_collect::<Vec<u64>>().await?.iter().skip(1).sum())
    }

    /// Changes a run that may have other names now.
    pub(super) async fn rename(&self, on: &mut SqliteConnection, row: &RunRow) -> sqlx::Result<u64> {
        write_rows(on, &self.rename, &[row]).await
    }
}

/// The sizes in which a statement is made.
pub(super) fn sizes() -> impl Iterator<Item = usize> {
    (0..=MAX_ROWS.ilog2()).map(|power| 1 << power)
}

/// The one of these statements for so many rows.
pub(super) fn sized(statements: &[Arc<str>], rows: usize) -> sqlx::Result<&Arc<str>> {
    statements.get(power(rows)).ok_or_else(|| too_many(rows))
}

/// Which power of two has room for so many rows: 3 for 5.
fn power(rows: usize) -> usize {
    rows.next_power_of_two().ilog2() as usize
}

fn too_many(rows: usize) -> sqlx::Error {
    sqlx::Error::Protocol(format!("{rows} rows at once"))
}

/// `VALUES (?,...),(?,...)`.
pub(super) fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("VALUES {}", vec![row; rows].join(","))
}

async fn write_rows(on: &mut SqliteConnection, sql: &Arc<str>, rows: &[&RunRow]) -> sqlx::Result<u64> {
    let mut arguments = SqliteArguments::default();
    bind_all(&mut arguments, rows)?;
    Ok(query_with(AssertSqlSafe(Arc::clone(sql)), arguments).execute(on).await?.rows_affected())
}

fn bind_all(arguments: &mut SqliteArguments, rows: &[&RunRow]) -> sqlx::Result<()> {
    arguments.reserve(rows.len() * COLUMN_COUNT, 0);
    for row in rows {
        bind(arguments, row).map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

fn bind(arguments: &mut SqliteArguments, row: &RunRow) -> Result<(), BoxDynError> {
    arguments.add(row.key.uid.as_str())?;
    arguments.add(row.key.iteration)?;
    arguments.add(row.revision)?;
    arguments.add(row.project.as_str())?;
    arguments.add(row.name.as_str())?;
    arguments.add(row.function.as_str())?;
    arguments.add(row.function_uri.as_str())?;
    arguments.add(row.state)?;
    arguments.add(row.terminal)?;
    arguments.add(row.owner.as_str())?;
    arguments.add(row.target.as_str())?;
    arguments.add(row.attempt)?;
    arguments.add(row.now)?;
    arguments.add(row.started)?;
    arguments.add(row.ended)?;
    arguments.add(Arc::clone(&row.labels))?;
    arguments.add(Arc::clone(&row.body))
}

/// Deletes a run that has ended; gives how many there were.
pub(super) async fn delete_run(on: &mut SqliteConnection, key: &RunKey) -> sqlx::Result<u64> {
    let delete = query("DELETE FROM runs WHERE uid = ? AND iteration = ? AND terminal");
    Ok(delete.bind(key.uid.as_str()).bind(key.iteration).execute(on).await?.rows_affected())
}

/// Stores a version, and moves its tags. Two statements: the caller has a transaction open.
pub(super) async fn put_function(on: &mut SqliteConnection, row: &FunctionRow) -> sqlx::Result<u64> {
    query(
        "INSERT INTO functions (project, name, hash, created, updated, body) VALUES (?1, ?2, ?3, ?4, ?4, ?5) \
         ON CONFLICT (project, name, hash) DO UPDATE SET updated = excluded.updated, body = excluded.body",
    )
    .bind(row.project.as_str())
    .bind(row.name.as_str())
    .bind(row.hash.as_str())
    .bind(row.now)
    .bind(Arc::clone(&row.body))
    .execute(&mut *on)
    .await?;
    let moved = query(
        "INSERT INTO tags (project, name, tag, hash) VALUES (?1, ?2, 'latest', ?4), (?1, ?2, ?3, ?4) \
         ON CONFLICT (project, name, tag) DO UPDATE SET hash = excluded.hash",
    )
    .bind(row.project.as_str())
    .bind(row.name.as_str())
    .bind(row.tag.as_deref().unwrap_or("latest"))
    .bind(row.hash.as_str())
    .execute(on)
    .await?;
    Ok(moved.rows_affected())
}

/// Lets a tag point at a version; gives how many such versions there are.
pub(super) async fn tag_function(on: &mut SqliteConnection, row: &TagRow) -> sqlx::Result<u64> {
    let tag = query(
        "INSERT INTO tags (project, name, tag, hash) SELECT project, name, ?4, hash FROM functions \
         WHERE project = ?1 AND name = ?2 AND hash = ?3 \
         ON CONFLICT (project, name, tag) DO UPDATE SET hash = excluded.hash",
    );
    let values = [&row.project, &row.name, &row.hash, &row.tag];
    let tag = values.into_iter().fold(tag, |tag, value| tag.bind(value.as_str()));
    Ok(tag.execute(on).await?.rows_affected())
}

/// Deletes all versions of a function, unless a run that has not ended needs it. The caller has a transaction open.
pub(super) async fn delete_function(
    on: &mut SqliteConnection,
    project: &str,
    name: &str,
) -> sqlx::Result<Result<u64, Error>> {
    let users = users_of(on, project, name, None).await?;
    if !users.is_empty() {
        return Ok(Err(refusal::in_use(project, name, &users)));
    }
    let delete = query("DELETE FROM functions WHERE project = ? AND name = ?");
    Ok(Ok(delete.bind(project).bind(name).execute(on).await?.rows_affected()))
}

/// Deletes one version, unless a run that has not ended needs it, or one tag. The caller has a transaction open.
pub(super) async fn delete_version(
    on: &mut SqliteConnection,
    project: &str,
    name: &str,
    version: &Version,
) -> sqlx::Result<Result<u64, Error>> {
    let (sql, which) = match version {
        Version::Tag(tag) => ("DELETE FROM tags WHERE project = ? AND name = ? AND tag = ?", tag),
        Version::Hash(hash) => {
            let users = users_of(on, project, name, Some(hash)).await?;
            if !users.is_empty() {
                return Ok(Err(refusal::in_use(project, name, &users)));
            }
            ("DELETE FROM functions WHERE project = ? AND name = ? AND hash = ?", hash)
        }
    };
    let deleted = query(sql).bind(project).bind(name).bind(which.as_str()).execute(&mut *on).await?;
    // `latest` points at what was stored last, where it went as well.
    query(
        "INSERT INTO tags (project, name, tag, hash) SELECT project, name, 'latest', hash FROM functions \
         WHERE project = ?1 AND name = ?2 \
         AND NOT EXISTS (SELECT 1 FROM tags WHERE project = ?1 AND name = ?2 AND tag = 'latest') \
         ORDER BY updated DESC, id DESC LIMIT 1",
    )
    .bind(project)
    .bind(name)
    .execute(on)
    .await?;
    Ok(Ok(deleted.rows_affected()))
}

/// The active runs of a function that is stored, or of one version of it.
async fn users_of(
    on: &mut SqliteConnection,
    project: &str,
    name: &str,
    hash: Option<&str>,
) -> sqlx::Result<Vec<String>> {
    let active = RunState::ALL.iter().filter(|state| !state.is_terminal());
    let states: Vec<String> = active.map(|state| format!("'{state}'")).collect();
    // Active runs are few; by function there would be all that ever ran.
    let sql = format!(
        "SELECT uid, iteration, function_uri FROM runs INDEXED BY runs_by_state \
         WHERE state IN ({}) AND function = ?1 \
         AND EXISTS (SELECT 1 FROM functions WHERE project = ?2 AND name = ?1)",
        states.join(",")
    );
    let rows: Vec<(String, u32, String)> =
        query_as(AssertSqlSafe(sql)).bind(name).bind(project).fetch_all(on).await?;
    let users = rows.into_iter().filter(|(_, _, uri)| {
        function_of(uri) == (project, name) && hash.is_none_or(|hash| is_version(uri, hash))
    });
    Ok(users.map(|(uid, iteration, _)| RunKey { uid, iteration }.to_string()).collect())
}
