//! Functions that are read: by tag, by hash, in lists.

use std::path::Path;

use runtime_core::{
    Function, Result,
    store::{FunctionRecord, Version, refusal},
};
use sqlx::{Row, SqlitePool, query, query_scalar, sqlite::SqliteRow};

use super::{
    error::{from_sqlx, unreadable},
    query::AFTER,
};
use crate::store::row::time;

/// How many hashes an ambiguous beginning is answered with.
const CANDIDATES: i64 = 20;

/// A version, with its tags as a JSON list.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT f.project, f.name, f.created, f.updated, f.body, (SELECT json_group_array(t.tag ORDER BY t.tag) \
             FROM tags AS t WHERE t.project = f.project AND t.name = f.name AND t.hash = f.hash) FROM functions AS f ",
            $rest
        )
    };
}

pub(super) async fn get(
    pool: &SqlitePool,
    path: &Path,
    project: &str,
    name: &str,
    version: &Version,
) -> Result<Option<FunctionRecord>> {
    const OPERATION: &str = "store.get_function";
    let failed = |error| from_sqlx(path, OPERATION, error);
    let (found, tag) = match version {
        Version::Tag(tag) => {
            let by_tag = select!(
                "JOIN tags AS g ON g.project = f.project AND g.name = f.name AND g.hash = f.hash \
                 WHERE g.project = ? AND g.name = ? AND g.tag = ?"
            );
            (
                query(by_tag).bind(project).bind(name).bind(tag.as_str()).fetch_optional(pool).await,
                tag.as_str(),
            )
        }
        Version::Hash(prefix) => {
            let Some(hash) = whole_hash(pool, project, name, prefix).await.map_err(failed)?? else {
                return Ok(None);
            };
            let by_hash = select!("WHERE f.project = ? AND f.name = ? AND f.hash = ?");
            (query(by_hash).bind(project).bind(name).bind(hash).fetch_optional(pool).await, "")
        }
    };
    found.map_err(failed)?.map(|row| record(path, OPERATION, &row, tag)).transpose()
}

/// The hash that is meant by its beginning; a whole hash means itself.
async fn whole_hash(
    pool: &SqlitePool,
    project: &str,
    name: &str,
    prefix: &str,
) -> sqlx::Result<Result<Option<String>>> {
    let hashes: Vec<String> = query_scalar(
        "SELECT hash FROM functions WHERE project = ? AND name = ? AND hash >= ? AND hash < ? ORDER BY hash LIMIT ?",
    )
    .bind(project)
    .bind(name)
    .bind(prefix)
    .bind(format!("{prefix}{AFTER}"))
    .bind(CANDIDATES)
    .fetch_all(pool)
    .await?;
    // In this order a whole hash comes before those that go on.
    Ok(match &hashes[..] {
        [first, ..] if first == prefix => Ok(hashes.into_iter().next()),
        [] | [_] => Ok(hashes.into_iter().next()),
        _ => Err(refusal::ambiguous(prefix, &hashes)),
    })
}

pub(super) async fn list(
    pool: &SqlitePool,
    path: &Path,
    project: Option<&str>,
    all_versions: bool,
) -> Result<Vec<FunctionRecord>> {
    const OPERATION: &str = "store.list_functions";
    let rows = query(select!(
        "WHERE (?1 IS NULL OR f.project = ?1) AND (?2 OR EXISTS (SELECT 1 FROM tags AS t \
         WHERE t.project = f.project AND t.name = f.name AND t.hash = f.hash)) ORDER BY f.updated DESC, f.id DESC"
    ))
    .bind(project)
    .bind(all_versions)
    .fetch_all(pool)
    .await
    .map_err(|error| from_sqlx(path, OPERATION, error))?;
    rows.iter().map(|row| record(path, OPERATION, row, "")).collect()
}

fn record(path: &Path, operation: &'static str, row: &SqliteRow, tag: &str) -> Result<FunctionRecord> {
    let failed = |error| from_sqlx(path, operation, error);
    let unreadable = |error| {
        let part = |n: usize| row.try_get::<String, _>(n).unwrap_or_default();
        unreadable(path, &format!("function {}/{}", part(0), part(1)), error).operation(operation)
    };
    let body: &str = row.try_get(4).map_err(failed)?;
    let mut function: Function = serde_json::from_str(body).map_err(unreadable)?;
    tag.clone_into(&mut function.metadata.tag);
    let tags: &str = row.try_get(5).map_err(failed)?;
    Ok(FunctionRecord {
        function,
        tags: serde_json::from_str(tags).map_err(unreadable)?,
        created: time(row.try_get(2).map_err(failed)?)?,
        updated: time(row.try_get(3).map_err(failed)?)?,
    })
}
