//! The statements that write runs and functions.

use runtime_core::{
    Error, RunState,
    run::RunKey,
    store::{Version, function_of, is_version, refusal},
};
use rusqlite::{Connection, params};

use crate::store::row::{FunctionRow, RunRow, TagRow};

/// Creates a run that is not there yet; gives how many there are now. OR ROLLBACK: a batch is taken back as a whole, so
/// no statement keeps what it alone may have to take back.
const CREATE: &str = "INSERT OR ROLLBACK INTO runs (uid, iteration, revision, project, name, function, \
    function_uri, state, terminal, owner, target, attempt, created, updated, started, ended, labels, body) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?15, ?16, ?17) \
    ON CONFLICT (uid, iteration) DO NOTHING";

/// Names and labels almost never change, and then their indexes and triggers need not be touched.
const UPDATE: &str = "UPDATE OR ROLLBACK runs SET revision = ?3, state = ?8, terminal = ?9, owner = ?10, \
    target = ?11, attempt = ?12, updated = ?13, started = ?14, ended = ?15, body = ?17 \
    WHERE uid = ?1 AND iteration = ?2 AND revision = ?3 - 1 AND NOT terminal \
    AND project = ?4 AND name = ?5 AND function = ?6 AND function_uri = ?7 AND labels = ?16";

const UPDATE_ALL: &str = "UPDATE OR ROLLBACK runs SET revision = ?3, state = ?8, terminal = ?9, owner = ?10, \
    target = ?11, attempt = ?12, updated = ?13, started = ?14, ended = ?15, body = ?17, \
    project = ?4, name = ?5, function = ?6, function_uri = ?7, labels = ?16 \
    WHERE uid = ?1 AND iteration = ?2 AND revision = ?3 - 1 AND NOT terminal";

/// Creates a run, unless it is there; gives how many.
pub(super) fn create_run(on: &Connection, row: &RunRow) -> rusqlite::Result<usize> {
    write_run(on, CREATE, row)
}

/// Changes a run that has the revision before and has not ended; gives how many.
pub(super) fn update_run(on: &Connection, row: &RunRow) -> rusqlite::Result<usize> {
    match write_run(on, UPDATE, row)? {
        0 => write_run(on, UPDATE_ALL, row),
        changed => Ok(changed),
    }
}

fn write_run(on: &Connection, sql: &str, row: &RunRow) -> rusqlite::Result<usize> {
    on.prepare_cached(sql)?.execute(params![
        row.key.uid,
        row.key.iteration,
        row.revision,
        row.project,
        row.name,
        row.function,
        row.function_uri,
        row.state,
        row.terminal,
        row.owner,
        row.target,
        row.attempt,
        row.now,
        row.started,
        row.ended,
        row.labels,
        row.body,
    ])
}

/// Deletes a run that has ended; gives how many there were.
pub(super) fn delete_run(on: &Connection, key: &RunKey) -> rusqlite::Result<usize> {
    on.prepare_cached("DELETE FROM runs WHERE uid = ? AND iteration = ? AND terminal")?
        .execute(params![key.uid, key.iteration])
}

/// Stores a version, and moves its tags. Two statements: the caller has a transaction open.
pub(super) fn put_function(on: &Connection, row: &FunctionRow) -> rusqlite::Result<usize> {
    on.prepare_cached(
        "INSERT INTO functions (project, name, hash, created, updated, body) VALUES (?1, ?2, ?3, ?4, ?4, ?5) \
         ON CONFLICT (project, name, hash) DO UPDATE SET updated = excluded.updated, body = excluded.body",
    )?
    .execute(params![row.project, row.name, row.hash, row.now, row.body])?;
    let tag = row.tag.as_deref().unwrap_or("latest");
    on.prepare_cached(
        "INSERT INTO tags (project, name, tag, hash) VALUES (?1, ?2, 'latest', ?4), (?1, ?2, ?3, ?4) \
         ON CONFLICT (project, name, tag) DO UPDATE SET hash = excluded.hash",
    )?
    .execute(params![row.project, row.name, tag, row.hash])
}

/// Lets a tag point at a version; gives how many such versions there are.
pub(super) fn tag_function(on: &Connection, row: &TagRow) -> rusqlite::Result<usize> {
    on.prepare_cached(
        "INSERT INTO tags (project, name, tag, hash) SELECT project, name, ?4, hash FROM functions \
         WHERE project = ?1 AND name = ?2 AND hash = ?3 \
         ON CONFLICT (project, name, tag) DO UPDATE SET hash = excluded.hash",
    )?
    .execute(params![row.project, row.name, row.hash, row.tag])
}

/// Deletes all versions of a function, unless a run that has not ended needs it. The caller has a transaction open.
pub(super) fn delete_function(
    on: &Connection,
    project: &str,
    name: &str,
) -> rusqlite::Result<Result<u64, Error>> {
    let users = users_of(on, project, name, None)?;
    if !users.is_empty() {
        return Ok(Err(refusal::in_use(project, name, &users)));
    }
    let deleted = on.execute("DELETE FROM functions WHERE project = ? AND name = ?", [project, name])?;
    Ok(Ok(deleted as u64))
}

/// Deletes one version, unless a run that has not ended needs it, or one tag. The caller has a transaction open.
pub(super) fn delete_version(
    on: &Connection,
    project: &str,
    name: &str,
    version: &Version,
) -> rusqlite::Result<Result<u64, Error>> {
    let (sql, which) = match version {
        Version::Tag(tag) => ("DELETE FROM tags WHERE project = ? AND name = ? AND tag = ?", tag),
        Version::Hash(hash) => {
            let users = users_of(on, project, name, Some(hash))?;
            if !users.is_empty() {
                return Ok(Err(refusal::in_use(project, name, &users)));
            }
            ("DELETE FROM functions WHERE project = ? AND name = ? AND hash = ?", hash)
        }
    };
    let deleted = on.execute(sql, [project, name, which.as_str()])?;
    // `latest` points at what was stored last, where it went as well.
    on.execute(
        "INSERT INTO tags (project, name, tag, hash) SELECT project, name, 'latest', hash FROM functions \
         WHERE project = ?1 AND name = ?2 \
         AND NOT EXISTS (SELECT 1 FROM tags WHERE project = ?1 AND name = ?2 AND tag = 'latest') \
         ORDER BY updated DESC, id DESC LIMIT 1",
        [project, name],
    )?;
    Ok(Ok(deleted as u64))
}

/// The active runs of a function that is stored, or of one version of it.
fn users_of(on: &Connection, project: &str, name: &str, hash: Option<&str>) -> rusqlite::Result<Vec<String>> {
    let active = RunState::ALL.iter().filter(|state| !state.is_terminal());
    let states: Vec<String> = active.map(|state| format!("'{state}'")).collect();
    // Active runs are few; by function there would be all that ever ran.
    let sql = format!(
        "SELECT uid, iteration, function_uri FROM runs INDEXED BY runs_by_state \
         WHERE state IN ({}) AND function = ?1 \
         AND EXISTS (SELECT 1 FROM functions WHERE project = ?2 AND name = ?1)",
        states.join(",")
    );
    let mut statement = on.prepare_cached(&sql)?;
    let rows = statement.query_map([name, project], |row| {
        let key = RunKey { uid: row.get(0)?, iteration: row.get(1)? };
        Ok((key, row.get::<_, String>(2)?))
    })?;
    let mut users = Vec::new();
    for row in rows {
        let (key, uri) = row?;
        if function_of(&uri) == (project, name) && hash.is_none_or(|hash| is_version(&uri, hash)) {
            users.push(key.to_string());
        }
    }
    Ok(users)
}
