//! Many changes in a few statements, inside of a transaction that the caller has begun.

use std::{borrow::Cow, collections::HashSet};

use runtime_core::{
    Result, RunState,
    run::RunKey,
    store::{Version, function_of, is_version, refusal},
};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, postgres::PgArguments, query, query_as};

use super::{
    documents,
    text::{original, stored, stored_labels},
};
use crate::store::{
    row::{FunctionRow, RunRow, TagRow},
    writer::{Counts, Request, Write},
};

/// The columns of a run, in the order in which they are bound.
macro_rules! columns {
    () => {
        "uid, iteration, revision, project, name, function, function_uri, state, terminal, owner, target, attempt, \
         created, started, ended, labels, body"
    };
}

/// The runs of a batch as one table: a list for each column.
macro_rules! rows {
    () => {
        "unnest($1::text[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
         $9::bool[], $10::text[], $11::text[], $12::int8[], $13::int8[], $14::int8[], $15::int8[], $16::text[], \
         $17::text[])"
    };
}

const CREATE: &str = concat!(
    "INSERT INTO runs (",
    columns!(),
    ", updated) SELECT uid, iteration, revision, project, name, function, \
     function_uri, state, terminal, owner, target, attempt, created, started, ended, labels::jsonb, body, created \
     FROM ",
    rows!(),
    " WITH ORDINALITY AS n (",
    columns!(),
    ", position) ORDER BY position \
     ON CONFLICT (uid, iteration) DO NOTHING RETURNING uid, iteration"
);

const UPDATE: &str = concat!(
    "UPDATE runs SET revision = n.revision, project = n.project, name = n.name, function = n.function, \
     function_uri = n.function_uri, state = n.state, terminal = n.terminal, owner = n.owner, target = n.target, \
     attempt = n.attempt, updated = n.created, started = n.started, ended = n.ended, labels = n.labels::jsonb, \
     body = n.body FROM ",
    rows!(),
    " AS n (",
    columns!(),
    ") WHERE runs.uid = n.uid \
     AND runs.iteration = n.iteration AND runs.revision = n.revision - 1 AND NOT runs.terminal \
     RETURNING runs.uid, runs.iteration"
);

/// Makes these changes; says what each came to. An error leaves the transaction of no use.
pub(super) async fn write(on: &mut PgConnection, batch: &[Request]) -> sqlx::Result<Counts> {
    let (mut creates, mut updates) = (Vec::new(), Vec::new());
    let (mut inserts, mut changes) = (Vec::new(), Vec::new());
    for request in batch {
        match &request.write {
            Write::CreateRun(row) => creates.push(row),
            Write::UpdateRun(row) | Write::UpdateRunWith(row, _) => updates.push(row),
            Write::PutDocument(row) if row.which.revision == Some(0) => inserts.push(row),
            Write::PutDocument(row) => changes.push(row),
            _ => {}
        }
    }
    let created = write_runs(on, CREATE, &creates).await?;
    let updated = write_runs(on, UPDATE, &updates).await?;
    let with = batch.iter().filter_map(|request| match &request.write {
        Write::UpdateRunWith(row, documents) if updated.contains(&row.key) => Some(documents),
        _ => None,
    });
    documents::write(on, documents::UPSERT, &with.flatten().collect::<Vec<_>>()).await?;
    let inserted = documents::write(on, documents::INSERT, &inserts).await?;
    let changed = documents::write(on, documents::CHANGE, &changes).await?;
    let mut counts = Vec::with_capacity(batch.len());
    for request in batch {
        counts.push(match &request.write {
            Write::CreateRun(row) => Ok(created.contains(&row.key).into()),
            Write::UpdateRun(row) | Write::UpdateRunWith(row, _) => Ok(updated.contains(&row.key).into()),
            Write::PutDocument(row) => {
                let key = documents::key(&row.which);
                Ok((inserted.contains(&key) || changed.contains(&key)).into())
            }
            other => one(on, other).await?,
        });
    }
    Ok(counts)
}

async fn one(on: &mut PgConnection, write: &Write) -> sqlx::Result<Result<u64>> {
    Ok(match write {
        Write::DeleteRun(key) => {
            let delete = query("DELETE FROM runs WHERE uid = $1 AND iteration = $2 AND terminal");
            let deleted = delete.bind(stored(&key.uid)).bind(i64::from(key.iteration)).execute(on).await?;
            Ok(deleted.rows_affected())
        }
        Write::PutFunction(row) => Ok(put_function(on, row).await?),
        Write::TagFunction(row) => Ok(tag_function(on, row).await?),
        Write::DeleteFunction { project, name } => delete_function(on, project, name).await?,
        Write::DeleteVersion { project, name, version } => delete_version(on, project, name, version).await?,
        Write::DeleteDocument(which) => Ok(documents::delete(on, which).await?),
        // The others are written by many.
        _ => Ok(0),
    })
}

/// Writes runs in one statement; gives those whose condition held.
async fn write_runs(
    on: &mut PgConnection,
    sql: &'static str,
    rows: &[&RunRow],
) -> sqlx::Result<HashSet<RunKey>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let written: Vec<(String, i64)> = query_as_rows(sql, rows)?.fetch_all(on).await?;
    let key = |(uid, iteration)| RunKey {
        uid: original(uid),
        iteration: u32::try_from(iteration).unwrap_or(u32::MAX),
    };
    Ok(written.into_iter().map(key).collect())
}

type Written<'q> = sqlx::query::QueryAs<'q, Postgres, (String, i64), PgArguments>;

fn query_as_rows<'q>(sql: &'static str, rows: &[&RunRow]) -> sqlx::Result<Written<'q>> {
    use sqlx::Arguments;
    let mut arguments = PgArguments::default();
    let texts =
        |of: fn(&RunRow) -> &str| rows.iter().map(|row| stored(of(row))).collect::<Vec<Cow<'_, str>>>();
    let numbers = |of: fn(&RunRow) -> i64| rows.iter().map(|row| of(row)).collect::<Vec<i64>>();
    let times = |of: fn(&RunRow) -> Option<i64>| rows.iter().map(|row| of(row)).collect::<Vec<Option<i64>>>();
    let mut add = || {
        arguments.add(texts(|row| &row.key.uid))?;
        arguments.add(numbers(|row| row.key.iteration.into()))?;
        arguments.add(numbers(|row| row.revision))?;
        arguments.add(texts(|row| &row.project))?;
        arguments.add(texts(|row| &row.name))?;
        arguments.add(texts(|row| &row.function))?;
        arguments.add(texts(|row| &row.function_uri))?;
        arguments.add(texts(|row| row.state))?;
        arguments.add(rows.iter().map(|row| row.terminal).collect::<Vec<bool>>())?;
        arguments.add(texts(|row| &row.owner))?;
        arguments.add(texts(|row| &row.target))?;
        arguments.add(numbers(|row| row.attempt.into()))?;
        arguments.add(numbers(|row| row.now))?;
        arguments.add(times(|row| row.started))?;
        arguments.add(times(|row| row.ended))?;
        arguments.add(rows.iter().map(|row| stored_labels(&row.labels)).collect::<Vec<Cow<'_, str>>>())?;
        // JSON has no NUL: it is written as an escape there.
        arguments.add(rows.iter().map(|row| &*row.body).collect::<Vec<&str>>())
    };
    add().map_err(sqlx::Error::Encode)?;
    Ok(sqlx::query_as_with(sql, arguments))
}

/// Lets a tag point at a version; gives how many such versions there are.
async fn tag_function(on: &mut PgConnection, row: &TagRow) -> sqlx::Result<u64> {
    let tag = query(
        "INSERT INTO tags (project, name, tag, hash) SELECT project, name, $4, hash FROM functions \
         WHERE project = $1 AND name = $2 AND hash = $3 \
         ON CONFLICT (project, name, tag) DO UPDATE SET hash = excluded.hash",
    );
    let tag = tag.bind(stored(&row.project)).bind(stored(&row.name)).bind(row.hash.as_str());
    Ok(tag.bind(stored(&row.tag)).execute(on).await?.rows_affected())
}

/// Stores a version, and moves its tags.
async fn put_function(on: &mut PgConnection, row: &FunctionRow) -> sqlx::Result<u64> {
    query(
        "INSERT INTO functions (project, name, hash, created, updated, body) VALUES ($1, $2, $3, $4, $4, $5) \
         ON CONFLICT (project, name, hash) DO UPDATE SET updated = excluded.updated, body = excluded.body",
    )
    .bind(stored(&row.project))
    .bind(stored(&row.name))
    .bind(row.hash.as_str())
    .bind(row.now)
    .bind(&*row.body)
    .execute(&mut *on)
    .await?;
    let tags: HashSet<&str> = ["latest", row.tag.as_deref().unwrap_or("latest")].into();
    let moved = query(
        "INSERT INTO tags (project, name, tag, hash) SELECT $1, $2, tag, $4 FROM unnest($3::text[]) AS tag \
         ON CONFLICT (project, name, tag) DO UPDATE SET hash = excluded.hash",
    )
    .bind(stored(&row.project))
    .bind(stored(&row.name))
    .bind(tags.into_iter().map(stored).collect::<Vec<_>>())
    .bind(row.hash.as_str())
    .execute(on)
    .await?;
    Ok(moved.rows_affected())
}

/// Deletes all versions of a function, unless a run that has not ended needs it.
async fn delete_function(on: &mut PgConnection, project: &str, name: &str) -> sqlx::Result<Result<u64>> {
    let users = users_of(on, project, name, None).await?;
    if !users.is_empty() {
        return Ok(Err(refusal::in_use(project, name, &users)));
    }
    let delete = query("DELETE FROM functions WHERE project = $1 AND name = $2");
    Ok(Ok(delete.bind(stored(project)).bind(stored(name)).execute(on).await?.rows_affected()))
}

/// Deletes one version, unless a run that has not ended needs it, or one tag.
async fn delete_version(
    on: &mut PgConnection,
    project: &str,
    name: &str,
    version: &Version,
) -> sqlx::Result<Result<u64>> {
    let (sql, which) = match version {
        Version::Tag(tag) => ("DELETE FROM tags WHERE project = $1 AND name = $2 AND tag = $3", tag),
        Version::Hash(hash) => {
            let users = users_of(on, project, name, Some(hash)).await?;
            if !users.is_empty() {
                return Ok(Err(refusal::in_use(project, name, &users)));
            }
            ("DELETE FROM functions WHERE project = $1 AND name = $2 AND hash = $3", hash)
        }
    };
    let delete = query(sql).bind(stored(project)).bind(stored(name)).bind(stored(which));
    let deleted = delete.execute(&mut *on).await?;
    // `latest` points at what was stored last, where it went as well.
    let latest = query(
        "INSERT INTO tags (project, name, tag, hash) SELECT project, name, 'latest', hash FROM functions \
         WHERE project = $1 AND name = $2 ORDER BY updated DESC, id DESC LIMIT 1 \
         ON CONFLICT (project, name, tag) DO NOTHING",
    );
    latest.bind(stored(project)).bind(stored(name)).execute(on).await?;
    Ok(Ok(deleted.rows_affected()))
}

/// The active runs of a function that is stored, or of one version of it.
async fn users_of(
    on: &mut PgConnection,
    project: &str,
    name: &str,
    hash: Option<&str>,
) -> sqlx::Result<Vec<String>> {
    let active = RunState::ALL.iter().filter(|state| !state.is_terminal());
    let states: Vec<String> = active.map(|state| format!("'{state}'")).collect();
    let users = format!(
        "SELECT uid, iteration, function_uri FROM runs WHERE state IN ({}) AND function = $2 \
         AND EXISTS (SELECT 1 FROM functions WHERE project = $1 AND name = $2)",
        states.join(",")
    );
    let users: Vec<(String, i64, String)> =
        query_as(AssertSqlSafe(users)).bind(stored(project)).bind(stored(name)).fetch_all(&mut *on).await?;
    let users = users.into_iter().filter(|(_, _, uri)| {
        function_of(uri) == (project, name) && hash.is_none_or(|hash| is_version(uri, hash))
    });
    let key = |(uid, iteration, _)| RunKey {
        uid: original(uid),
        iteration: u32::try_from(iteration).unwrap_or(u32::MAX),
    };
    Ok(users.map(|user| key(user).to_string()).collect())
}
