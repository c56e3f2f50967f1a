//! Documents that are written: many in a statement.

use std::{borrow::Cow, collections::HashSet};

use sqlx::{PgConnection, query, query_as};

use super::text::stored;
use crate::store::row::{DocumentRow, Which};

/// The documents of a batch as one table: a list for each column.
macro_rules! rows {
    () => {
        "unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::int8[], $7::int8[], $8::int8[], \
         $9::text[], $10::text[]) WITH ORDINALITY \
         AS n (kind, project, name, revision, run, iteration, due, updated, body, topic, position)"
    };
}

macro_rules! insert {
    () => {
        concat!(
            "INSERT INTO documents AS d (kind, project, name, revision, run, iteration, due, updated, body, topic) \
             SELECT kind, project, name, 1, run, iteration, due, updated, body, topic FROM ",
            rows!(),
            " ORDER BY position ON CONFLICT (kind, name, project) DO"
        )
    };
}

/// Writes those that are not there.
pub(super) const INSERT: &str = concat!(insert!(), " NOTHING RETURNING d.kind, d.project, d.name");

/// Writes them, whatever is there.
pub(super) const UPSERT: &str = concat!(
    insert!(),
    " UPDATE SET revision = d.revision + 1, run = excluded.run, iteration = excluded.iteration, due = excluded.due, \
     updated = excluded.updated, body = excluded.body, topic = excluded.topic RETURNING d.kind, d.project, d.name"
);

/// Writes those whose revision is the stored one.
pub(super) const CHANGE: &str = concat!(
    "UPDATE documents AS d SET revision = n.revision + 1, run = n.run, iteration = n.iteration, due = n.due, \
     updated = n.updated, body = n.body, topic = n.topic FROM ",
    rows!(),
    " WHERE d.kind = n.kind AND d.project = n.project AND d.name = n.name AND d.revision = n.revision \
     RETURNING d.kind, d.project, d.name"
);

/// Kind, project and name, as they are stored.
pub(super) type Key = (String, String, String);

pub(super) fn key(which: &Which) -> Key {
    let text = |text| stored(text).into_owned();
    (text(&which.kind), text(&which.project), text(&which.name))
}

/// Writes documents in one statement, none of them twice; gives those whose condition held.
pub(super) async fn write(
    on: &mut PgConnection,
    sql: &'static str,
    rows: &[&DocumentRow],
) -> sqlx::Result<HashSet<Key>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let texts =
        |of: fn(&DocumentRow) -> &str| rows.iter().map(|row| stored(of(row))).collect::<Vec<Cow<'_, str>>>();
    let run = |row: &&DocumentRow| row.parent.as_ref().map(|run| stored(&run.uid).into_owned());
    let iteration = |row: &&DocumentRow| row.parent.as_ref().map(|run| i64::from(run.iteration));
    let written: Vec<Key> = query_as(sql)
        .bind(texts(|row| &row.which.kind))
        .bind(texts(|row| &row.which.project))
        .bind(texts(|row| &row.which.name))
        .bind(rows.iter().map(|row| row.which.revision.unwrap_or_default()).collect::<Vec<i64>>())
        .bind(rows.iter().map(run).collect::<Vec<Option<String>>>())
        .bind(rows.iter().map(iteration).collect::<Vec<Option<i64>>>())
        .bind(rows.iter().map(|row| row.due).collect::<Vec<Option<i64>>>())
        .bind(rows.iter().map(|row| row.now).collect::<Vec<i64>>())
        .bind(rows.iter().map(|row| &*row.body).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.topic.as_deref().map(stored)).collect::<Vec<Option<Cow<'_, str>>>>())
        .fetch_all(on)
        .await?;
    Ok(written.into_iter().collect())
}

/// Deletes it; gives how many there were.
pub(super) async fn delete(on: &mut PgConnection, which: &Which) -> sqlx::Result<u64> {
    let delete = query(
        "DELETE FROM documents WHERE kind = $1 AND project = $2 AND name = $3 AND revision = coalesce($4, revision)",
    );
    let (kind, project, name) = key(which);
    Ok(delete.bind(kind).bind(project).bind(name).bind(which.revision).execute(on).await?.rows_affected())
}
