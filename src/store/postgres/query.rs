//! What is asked: lists of runs and documents, functions by version. The server chooses the way, by its statistics.

use runtime_core::{
    run::RunKey,
    store::{DocumentFilter, RunFilter, Version},
};
use sqlx::{Postgres, QueryBuilder};

use super::{
    read::{DOCUMENT_COLUMNS, FUNCTION_COLUMNS, RUN_COLUMNS},
    text::stored,
};

/// Above every text that begins with what stands before it.
const AFTER: char = char::MAX;

/// How many hashes an ambiguous beginning is answered with.
const CANDIDATES: i64 = 20;

pub(super) fn run(key: &RunKey) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(format!("SELECT {RUN_COLUMNS} FROM runs AS r WHERE r.uid = "));
    sql.push_bind(stored(&key.uid).into_owned())
        .push(" AND r.iteration = ")
        .push_bind(i64::from(key.iteration));
    sql
}

/// The runs that a filter lets through, newest first.
pub(super) fn runs(filter: &RunFilter) -> QueryBuilder<Postgres> {
    let RunFilter { project, name, function, states, labels, uid_prefix, since, owner, iteration, limit: _ } =
        filter;
    let mut sql = QueryBuilder::new(format!("SELECT {RUN_COLUMNS} FROM runs AS r WHERE TRUE"));
    for (column, wanted) in [("project", project), ("name", name), ("function", function), ("owner", owner)] {
        if let Some(wanted) = wanted {
            sql.push(format!(" AND r.{column} = ")).push_bind(stored(wanted).into_owned());
        }
    }
    if owner.as_ref().is_some_and(|owner| !owner.is_empty()) {
        // Said again for the index, which leaves the others out.
        sql.push(" AND r.owner <> ''");
    }
    if let Some(prefix) = uid_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        let prefix = stored(prefix).into_owned();
        sql.push(" AND r.uid < ").push_bind(format!("{prefix}{AFTER}"));
        sql.push(" AND r.uid >= ").push_bind(prefix);
    }
    if let Some(since) = since {
        sql.push(" AND r.created >= ").push_bind(since.as_microsecond());
    }
    if let Some(0) = iteration {
        // Said so, for the indexes of them.
        sql.push(" AND r.iteration = 0");
    } else if let Some(iteration) = iteration {
        sql.push(" AND r.iteration = ").push_bind(i64::from(*iteration));
    }
    if !states.is_empty() {
        let names: Vec<String> = states.iter().map(|state| format!("'{state}'")).collect();
        sql.push(format!(" AND r.state IN ({})", names.join(",")));
    }
    for (key, value) in labels {
        sql.push(
            " AND EXISTS (SELECT 1 FROM run_labels AS l WHERE l.run = r.id AND l.created = r.created AND l.key = ",
        );
        sql.push_bind(stored(key).into_owned()).push(" AND l.value = ");
        sql.push_bind(stored(value).into_owned()).push(")");
    }
    sql.push(" ORDER BY r.created DESC, r.id DESC");
    limit(&mut sql, filter.limit);
    sql
}

pub(super) fn document(kind: &str, project: &str, name: &str) -> QueryBuilder<Postgres> {
    let mut sql = documents_where(kind);
    sql.push(" AND project = ").push_bind(stored(project).into_owned());
    sql.push(" AND name = ").push_bind(stored(name).into_owned());
    sql
}

/// The documents that a filter lets through: by due time where one is given, otherwise the newest first.
pub(super) fn documents(filter: &DocumentFilter) -> QueryBuilder<Postgres> {
    let DocumentFilter { kind, project, name, topic, parent, due_before, limit: at_most } = filter;
    let mut sql = documents_where(kind);
    for (column, wanted) in [("project", project), ("name", name), ("topic", topic)] {
        if let Some(wanted) = wanted {
            sql.push(format!(" AND {column} = ")).push_bind(stored(wanted).into_owned());
        }
    }
    if let Some(RunKey { uid, iteration }) = parent {
        sql.push(" AND run = ").push_bind(stored(uid).into_owned());
        sql.push(" AND iteration = ").push_bind(i64::from(*iteration));
    }
    if let Some(before) = due_before {
        sql.push(" AND due <= ").push_bind(before.as_microsecond()).push(" ORDER BY due, id");
    } else {
        sql.push(" ORDER BY updated DESC, id DESC");
    }
    limit(&mut sql, *at_most);
    sql
}

fn documents_where(kind: &str) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(format!("SELECT {DOCUMENT_COLUMNS} FROM documents WHERE kind = "));
    sql.push_bind(stored(kind).into_owned());
    sql
}

/// The version of this tag or whole hash.
pub(super) fn function(project: &str, name: &str, version: &Version) -> QueryBuilder<Postgres> {
    let mut sql =
        QueryBuilder::new(format!("SELECT {FUNCTION_COLUMNS} FROM functions AS f WHERE f.project = "));
    sql.push_bind(stored(project).into_owned());
    sql.push(" AND f.name = ").push_bind(stored(name).into_owned()).push(" AND f.hash = ");
    match version {
        Version::Hash(hash) => drop(sql.push_bind(stored(hash).into_owned())),
        Version::Tag(tag) => {
            sql.push(
                "(SELECT t.hash FROM tags AS t WHERE t.project = f.project AND t.name = f.name AND t.tag = ",
            );
            sql.push_bind(stored(tag).into_owned()).push(")");
        }
    }
    sql
}

/// The hashes that begin so, in order: a whole one comes before those that go on.
pub(super) fn hashes(project: &str, name: &str, prefix: &str) -> QueryBuilder<Postgres> {
    let prefix = stored(prefix).into_owned();
    let mut sql = QueryBuilder::new("SELECT hash FROM functions WHERE project = ");
    sql.push_bind(stored(project).into_owned()).push(" AND name = ").push_bind(stored(name).into_owned());
    sql.push(" AND hash < ").push_bind(format!("{prefix}{AFTER}")).push(" AND hash >= ").push_bind(prefix);
    sql.push(" ORDER BY hash LIMIT ").push_bind(CANDIDATES);
    sql
}

/// The functions of a project, or of all; all versions, or those that have a tag.
pub(super) fn functions(project: Option<&str>, all_versions: bool) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(format!("SELECT {FUNCTION_COLUMNS} FROM functions AS f WHERE TRUE"));
    if let Some(project) = project {
        sql.push(" AND f.project = ").push_bind(stored(project).into_owned());
    }
    if !all_versions {
        sql.push(
            " AND EXISTS (SELECT 1 FROM tags AS t WHERE t.project = f.project AND t.name = f.name AND t.hash = f.hash)",
        );
    }
    sql.push(" ORDER BY f.updated DESC, f.id DESC");
    sql
}

fn limit(sql: &mut QueryBuilder<Postgres>, limit: usize) {
    if limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    }
}
