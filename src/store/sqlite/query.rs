//! Lists of runs. Each list is read along one index, chosen here by what the filter names, so that its cost follows
//! from the filter and not from statistics.

use runtime_core::{RunState, store::RunFilter};
use sqlx::{QueryBuilder, Sqlite};

use super::row::RUN_COLUMNS;

/// Above every text that begins with what stands before it.
pub(super) const AFTER: char = char::MAX;

/// The query for the runs that a filter lets through, newest first, in [`RUN_COLUMNS`].
pub(super) fn runs(filter: &RunFilter) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(format!("SELECT {RUN_COLUMNS} FROM ("));
    let along = Along::choose(filter);
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
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Uid,
    Owner,
    Label,
    Name,
    Function,
    State,
}

impl Along {
    fn choose(filter: &RunFilter) -> Self {
        match filter {
            RunFilter { uid_prefix: Some(prefix), .. } if !prefix.is_empty() => Self::Uid,
            RunFilter { owner: Some(owner), .. } if !owner.is_empty() => Self::Owner,
            // Few runs are active at a time, however many have a label or a name.
            RunFilter { states, .. }
                if !states.is_empty() && !states.iter().any(|state| state.is_terminal()) =>
            {
                Self::State
            }
            RunFilter { labels, .. } if !labels.is_empty() => Self::Label,
            RunFilter { name: Some(_), .. } => Self::Name,
            RunFilter { function: Some(_), .. } => Self::Function,
            _ => Self::State,
        }
    }

    fn table(self, filter: &RunFilter) -> &'static str {
        match self {
            Self::Uid => "runs AS r INDEXED BY runs_by_uid",
            Self::Owner => "runs AS r INDEXED BY runs_by_owner",
            Self::Label => "run_labels AS l CROSS JOIN runs AS r ON r.id = l.run",
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
    let (created, id) = if along == Along::Label { ("l.created", "l.run") } else { ("r.created", "r.id") };
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
        None => {
            let names: Vec<String> = states(filter).iter().map(|state| format!("'{state}'")).collect();
            sql.push(format!(" AND r.state IN ({})", names.join(",")));
        }
    }
    labels(sql, along, filter);
    sql.push(format!(" ORDER BY {created} DESC, {id} DESC"));
    limit(sql, filter);
}

fn labels(sql: &mut QueryBuilder<Sqlite>, along: Along, filter: &RunFilter) {
    for (n, (key, value)) in filter.labels.iter().enumerate() {
        let leads = n == 0 && along == Along::Label;
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
