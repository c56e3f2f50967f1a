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
    if along == Along::State {
        // In the order of time within each state: the newest of all are among the newest of each.
        for (n, state) in states(filter).into_iter().enumerate() {
            sql.push(if n == 0 { "" } else { " UNION ALL " });
            sql.push("SELECT * FROM (");
            newest(&mut sql, along, filter, Some(state));
            sql.push(")");
        }
    } else {
        newest(&mut sql, along, filter, None);
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
        if candidates.is_empty() || !states.is_empty() || project.is_some() {
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
            if let Some(since) = filter.since {
                sql.push(" AND r.created >= ").push_bind(since.as_microsecond());
            }
            sql.push(format!(" LIMIT {ENOUGH}))"));
        }
        sql
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

fn states(filter: &RunFilter) -> Vec<RunState> {
    let asked = |state: &RunState| filter.states.is_empty() || filter.states.contains(state);
    RunState::ALL.into_iter().filter(asked).collect()
}

/// The ids and times of the newest runs along one index.
fn newest(sql: &mut QueryBuilder<Sqlite>, along: Along, filter: &RunFilter, state: Option<RunState>) {
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
    match state {
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
