//! Lists of runs. Each list is read along one index, chosen by what the filter names, and where it names several things
//! by how many runs have each: counted in the index, up to a number that is counted in a moment.

use runtime_core::{RunState, store::RunFilter};
use sqlx::{QueryBuilder, Sqlite};

use super::read::RUN_COLUMNS;

/// Above every text that begins with what stands before it.
pub(super) const AFTER: char = char::MAX;

/// How far is counted.
const ENOUGH: u32 = 4000;

/// The query for the runs that a filter lets through, newest first, in [`RUN_COLUMNS`]; read along this index.
pub(super) fn runs(filter: &RunFilter, along: Along) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(format!("SELECT {RUN_COLUMNS} FROM ("));
    // In the order of time within each part: the newest of all are among the newest of each.
    for (n, part) in parts(filter, along).into_iter().enumerate() {
        sql.push(if n == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT * FROM (");
        newest(&mut sql, along, filter, part);
        sql.push(")");
    }
    sql.push(") AS found CROSS JOIN runs AS r ON r.id = found.id ORDER BY found.created DESC, found.id DESC");
    limit(&mut sql, filter);
    sql
}

/// The index along which a list is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Along {
    Uid,
    Owner,
    /// The label of this position.
    Label(usize),
    Name,
    Function,
    State,
}

impl Along {
    /// Those that may be the best for this filter; the first one where all are equally good.
    pub(super) fn candidates(filter: &RunFilter) -> Vec<Self> {
        let RunFilter { project, name, function, states, labels, .. } = filter;
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if is_given(&filter.uid_prefix) {
            return vec![Self::Uid];
        }
        if is_given(&filter.owner) {
            return vec![Self::Owner];
        }
        // Few runs are active at a time, however many have a label or a name.
        if !states.is_empty() && !states.iter().any(|state| state.is_terminal()) {
            return vec![Self::State];
        }
        let mut candidates: Vec<Self> = (0..labels.len()).map(Self::Label).collect();
        candidates.extend(name.as_ref().map(|_| Self::Name));
        candidates.extend(function.as_ref().map(|_| Self::Function));
        if filter.iteration.is_some() {
            // Whole runs are few among their iterations, and labels do not tell them apart.
            candidates.insert(0, Self::State);
        } else if candidates.is_empty() || !states.is_empty() || project.is_some() {
            candidates.push(Self::State);
        }
        candidates
    }

    /// Counts, for each of these, the runs that would be looked at, as far as [`ENOUGH`].
    pub(super) fn count(these: &[Self], filter: &RunFilter) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new("SELECT ");
        for (n, along) in these.iter().enumerate() {
            sql.push(if n == 0 { "" } else { ", " }).push("(SELECT count(*) FROM (SELECT 1 FROM ");
            if let Self::Label(position) = along {
                sql.push("run_labels AS r WHERE TRUE");
                if let Some((key, value)) = filter.labels.iter().nth(*position) {
                    sql.push(" AND r.key = ").push_bind(key.clone());
                    sql.push(" AND r.value = ").push_bind(value.clone());
                }
            } else {
                sql.push(along.table(filter)).push(" WHERE TRUE");
            }
            let mut equal = |column: &str, wanted: &Option<String>| {
                if let Some(wanted) = wanted {
                    sql.push(format!(" AND r.{column} = ")).push_bind(wanted.clone());
                }
            };
            match along {
                Self::Name => equal("name", &filter.name),
                Self::Function => equal("function", &filter.function),
                Self::State => {
                    equal("project", &filter.project);
                    in_states(&mut sql, filter);
                }
                _ => {}
            }
            if along.knows_iterations() {
                sql.push(match filter.iteration {
                    None => " AND (r.iteration > 0) IN (0, 1)",
                    Some(0) => " AND (r.iteration > 0) = 0",
                    Some(_) => " AND (r.iteration > 0) = 1",
                });
            }
            if let Some(since) = filter.since {
                sql.push(" AND r.created >= ").push_bind(since.as_microsecond());
            }
            sql.push(format!(" LIMIT {ENOUGH}))"));
        }
        sql
    }

    /// Whether its index tells iterations from whole runs, and so has an order in each of the two only.
    fn knows_iterations(self) -> bool {
        matches!(self, Self::Name | Self::Function | Self::State)
    }

    fn table(self, filter: &RunFilter) -> &'static str {
        match self {
            Self::Uid => "runs AS r INDEXED BY runs_by_uid",
            Self::Owner => "runs AS r INDEXED BY runs_by_owner",
            Self::Label(_) => "run_labels AS l CROSS JOIN runs AS r ON r.id = l.run",
            Self::Name => "runs AS r INDEXED BY runs_by_name",
            Self::Function => "runs AS r INDEXED BY runs_by_function",
            Self::State if filter.project.is_some() => "runs AS r INDEXED BY runs_by_project",
            Self::State => "runs AS r INDEXED BY runs_by_state",
        }
    }
}

/// A part of an index that is in the order of time.
#[derive(Clone, Copy, Default)]
struct Part {
    state: Option<RunState>,
    is_iteration: Option<bool>,
}

fn parts(filter: &RunFilter, along: Along) -> Vec<Part> {
    if !along.knows_iterations() {
        return vec![Part::default()];
    }
    let kinds = match filter.iteration {
        None => vec![false, true],
        Some(number) => vec![number > 0],
    };
    let states = match along {
        Along::State => states(filter).into_iter().map(Some).collect(),
        _ => vec![None],
    };
    let part = |state| kinds.iter().map(move |kind| Part { state, is_iteration: Some(*kind) });
    states.into_iter().flat_map(part).collect()
}

fn states(filter: &RunFilter) -> Vec<RunState> {
    let asked = |state: &RunState| filter.states.is_empty() || filter.states.contains(state);
    RunState::ALL.into_iter().filter(asked).collect()
}

/// The ids and times of the newest runs along one index.
fn newest(sql: &mut QueryBuilder<Sqlite>, along: Along, filter: &RunFilter, part: Part) {
    // The order is that of the index, so that reading stops at the limit.
    let (created, id) =
        if matches!(along, Along::Label(_)) { ("l.created", "l.run") } else { ("r.created", "r.id") };
    sql.push(format!("SELECT {id} AS id, {created} AS created FROM {} WHERE TRUE", along.table(filter)));
    if let Some(project) = &filter.project {
        sql.push(" AND r.project = ").push_bind(project.clone());
    }
    if let Some(name) = &filter.name {
        sql.push(" AND r.name = ").push_bind(name.clone());
    }
    if let Some(function) = &filter.function {
        sql.push(" AND r.function = ").push_bind(function.clone());
    }
    if let Some(owner) = &filter.owner {
        sql.push(" AND r.owner = ").push_bind(owner.clone());
        // Said again for the index, which leaves the others out.
        sql.push(if owner.is_empty() { "" } else { " AND r.owner <> ''" });
    }
    if let Some(prefix) = filter.uid_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        sql.push(" AND r.uid >= ").push_bind(prefix.to_owned());
        sql.push(" AND r.uid < ").push_bind(format!("{prefix}{AFTER}"));
    }
    if let Some(since) = filter.since {
        sql.push(format!(" AND {created} >= ")).push_bind(since.as_microsecond());
    }
    if let Some(iteration) = filter.iteration {
        sql.push(" AND r.iteration = ").push_bind(iteration);
    }
    if let Some(is_iteration) = part.is_iteration {
        sql.push(if is_iteration { " AND (r.iteration > 0) = 1" } else { " AND (r.iteration > 0) = 0" });
    }
    match part.state {
        Some(state) => drop(sql.push(" AND r.state = ").push_bind(state.as_str())),
        None if filter.states.is_empty() => {}
        None => in_states(sql, filter),
    }
    labels(sql, along, filter);
    sql.push(format!(" ORDER BY {created} DESC, {id} DESC"));
    limit(sql, filter);
}

fn in_states(sql: &mut QueryBuilder<Sqlite>, filter: &RunFilter) {
    let names: Vec<String> = states(filter).iter().map(|state| format!("'{state}'")).collect();
    sql.push(format!(" AND r.state IN ({})", names.join(",")));
}

fn labels(sql: &mut QueryBuilder<Sqlite>, along: Along, filter: &RunFilter) {
    for (n, (key, value)) in filter.labels.iter().enumerate() {
        let leads = along == Along::Label(n);
        sql.push(if leads {
            " AND l.key = "
        } else {
            " AND EXISTS (SELECT 1 FROM run_labels AS o WHERE o.run = r.id AND o.created = r.created AND o.key = "
        });
        sql.push_bind(key.clone());
        sql.push(if leads { " AND l.value = " } else { " AND o.value = " }).push_bind(value.clone());
        sql.push(if leads { "" } else { ")" });
    }
}

fn limit(sql: &mut QueryBuilder<Sqlite>, filter: &RunFilter) {
    if filter.limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

    use super::*;

    /// Lists are read in the order of an index, part by part, and no further than the limit.
    #[tokio::test]
    async fn no_list_reads_past_what_it_leaves_out() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for (_, _, migration) in super::super::connect::MIGRATIONS {
            connection.execute(*migration).await.unwrap();
        }
        let text = |text: &str| Some(text.to_owned());
        let base = || RunFilter { limit: 50, ..RunFilter::default() };
        for (filter, along, parts, searched) in [
            (base(), Along::State, 20, "runs_by_state (state=? AND <expr>=?)"),
            (
                RunFilter { project: text("p"), iteration: Some(0), ..base() },
                Along::State,
                10,
                "runs_by_project (project=? AND state=? AND <expr>=?)",
            ),
            (RunFilter { name: text("n"), ..base() }, Along::Name, 2, "runs_by_name (name=? AND <expr>=?)"),
            (
                RunFilter {
                    name: text("n"),
                    since: Some(jiff::Timestamp::now()),
                    iteration: Some(3),
                    ..base()
                },
                Along::Name,
                1,
                "runs_by_name (name=? AND <expr>=? AND created>?)",
            ),
        ] {
            let explain = async |connection: &mut SqliteConnection, sql: String| -> Vec<String> {
                let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let plan: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(sql).fetch_all(connection).await.unwrap();
                plan.into_iter().map(|step| step.3).collect()
            };
            let plan = explain(&mut connection, runs(&filter, along).into_sql().as_str().to_owned()).await;
            let reads: Vec<&String> = plan.iter().filter(|step| step.contains("runs_by")).collect();
            assert_eq!(reads.len(), parts, "{plan:#?}");
            assert!(reads.iter().all(|step| step.ends_with(searched)), "{plan:#?}");
            // Only what was found is put in order.
            assert!(plan.iter().filter(|step| step.contains("B-TREE")).count() <= 1, "{plan:#?}");
            let counted = Along::count(&[along], &filter).into_sql().as_str().to_owned();
            let plan = explain(&mut connection, counted).await;
            assert!(plan.iter().any(|step| step.contains("COVERING INDEX runs_by")), "{plan:#?}");
        }
    }
}
