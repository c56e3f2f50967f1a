//! What the iterations that have ended come to: the best one, whether another may start, and the table.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Condition, Selector, Sweep};
use crate::{
    RunState,
    error::did_you_mean,
    run::{Artifact, Cause, Reason, Run},
};

/// A value that is written in more bytes than this stands in the iteration alone.
const MAX_CELL: usize = 1000;

/// So many iterations are named.
const NAMED: usize = 5;

/// An iteration that has ended.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which one, from 1.
    pub iteration: u32,
    /// How it ended.
    pub state: RunState,
    /// What it was given.
    pub parameters: Map<String, Value>,
    /// What came out of it.
    pub results: Map<String, Value>,
    /// Why it failed, where it did.
    pub error: Option<String>,
}

/// Why no further iteration is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// This iteration meets the stop condition.
    Condition(u32),
    /// More have failed than may.
    Errors,
}

/// What the iterations that have ended come to: the same in whatever order they are taken.
#[derive(Clone, Debug)]
pub struct Tally {
    total: u32,
    selector: Option<Selector>,
    stop: Option<Condition>,
    max_errors: u32,
    rows: BTreeMap<u32, Row>,
    /// Of the best one, which is kept alone.
    best: Option<(f64, u32, Vec<Artifact>)>,
    errors: u32,
    met: Option<u32>,
}

impl Tally {
    /// Nothing has ended yet.
    pub fn new(sweep: &Sweep) -> Self {
        Self {
            total: sweep.len(),
            selector: sweep.selector.clone(),
            stop: sweep.stop.clone(),
            max_errors: sweep.max_errors,
            rows: BTreeMap::new(),
            best: None,
            errors: 0,
            met: None,
        }
    }

    /// Takes an iteration that has ended; once, however often it is given.
    pub fn take(&mut self, run: &Run) {
        let iteration = run.metadata.iteration;
        if !run.state().is_terminal() || self.rows.contains_key(&iteration) {
            return;
        }
        let row = Row {
            iteration,
            state: run.state(),
            parameters: run.spec.parameters.clone(),
            results: run.status.results.clone(),
            error: run.status.error.clone().filter(|_| run.state() == RunState::Error),
        };
        self.errors += u32::from(row.state == RunState::Error);
        if row.state == RunState::Completed {
            self.compare(&row, &run.status.artifacts);
            let meets = self.stop.as_ref().is_some_and(|stop| stop.holds(&row.results));
            if meets && self.met.is_none_or(|met| iteration < met) {
                self.met = Some(iteration);
            }
        }
        self.rows.insert(iteration, row);
    }

    /// Of equals the first one is the best, whichever ended first.
    fn compare(&mut self, row: &Row, artifacts: &[Artifact]) {
        let Some(selector) = &self.selector else { return };
        let Some(value) = selector.value(&row.results) else { return };
        let better = match &self.best {
            None => true,
            Some((best, iteration, _)) => {
                selector.is_better(value, *best)
                    || (!selector.is_better(*best, value) && row.iteration < *iteration)
            }
        };
        if better {
            self.best = Some((value, row.iteration, artifacts.to_vec()));
        }
    }

    /// How many there are at most.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// How many have ended.
    pub fn ended(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// How many have failed.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// Whether this iteration has ended.
    pub fn has(&self, iteration: u32) -> bool {
        self.rows.contains_key(&iteration)
    }

    /// Those that have ended, by iteration.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Which result makes the best one.
    pub fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// The best one so far.
    pub fn best(&self) -> Option<&Row> {
        self.best.as_ref().and_then(|(_, iteration, _)| self.rows.get(iteration))
    }

    /// What the best one wrote.
    pub fn best_artifacts(&self) -> &[Artifact] {
        self.best.as_ref().map_or(&[], |(_, _, artifacts)| artifacts)
    }

    /// Why no further one is started; `None` where one may be.
    pub fn over(&self) -> Option<Over> {
        if self.errors > self.max_errors {
            return Some(Over::Errors);
        }
        self.met.map(Over::Condition)
    }

    /// The state of the whole, and why it failed where it did. `error` where all failed, or more than may.
    pub fn verdict(&self) -> (RunState, Option<Cause>) {
        let completed = self.rows.values().any(|row| row.state == RunState::Completed);
        let failed = || self.rows.values().filter(|row| row.state == RunState::Error);
        let first = failed().next();
        let why = first.map_or_else(String::new, |row| {
            format!("; iteration {}: {}", row.iteration, row.error.as_deref().unwrap_or("no cause is known"))
        });
        let message = if self.errors > self.max_errors {
            format!(
                "{} of {} iterations failed, and at most {} may (`max_errors`){why}",
                self.errors,
                self.ended(),
                self.max_errors
            )
        } else if completed {
            return (RunState::Completed, None);
        } else if first.is_some() {
            format!("no iteration completed: {} of {} failed{why}", self.errors, self.ended())
        } else {
            return (RunState::Aborted, Some(Cause::new(Reason::Aborted, "every iteration was stopped")));
        };
        (RunState::Error, Some(Cause::new(Reason::IterationsFailed, message)))
    }

    /// What the user should know at the end.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(Over::Condition(iteration)) = self.over() {
            let stop = self.stop.as_ref().map(Condition::as_str).unwrap_or_default();
            notes.push(format!(
                "stopped after {} of {} iterations: iteration {iteration} meets `{stop}`",
                self.ended(),
                self.total
            ));
        }
        let failed: Vec<_> = self.rows.values().filter(|row| row.state == RunState::Error).collect();
        if !failed.is_empty() && self.verdict().0 == RunState::Completed {
            let names: Vec<_> = failed.iter().take(NAMED).map(|row| row.iteration.to_string()).collect();
            let more = if failed.len() > NAMED { ", …" } else { "" };
            notes.push(format!(
                "{} of {} iterations failed: {}{more}",
                failed.len(),
                self.ended(),
                names.join(", ")
            ));
        }
        self.note_missing(&mut notes);
        notes
    }

    /// Results that were asked for and that no iteration has.
    fn note_missing(&self, notes: &mut Vec<String>) {
        let known = self.columns(|row| &row.results);
        if !self.rows.values().any(|row| row.state == RunState::Completed) {
            return;
        }
        let missing = |what: &str, name: &str| {
            let help = match did_you_mean(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if known.is_empty() => "they have none; return a value, or log_result".to_owned(),
                None => format!("they have {}", known.join(", ")),
            };
            format!("the {what} names `{name}`, which no iteration has as a result: {help}")
        };
        if let Some(selector) = &self.selector {
            if !known.contains(&selector.result.as_str()) {
                notes.push(missing("selector", &selector.result));
            } else if self.best.is_none() {
                notes.push(format!("no iteration is the best: no `{}` is a number", selector.result));
            }
        }
        for name in self.stop.iter().flat_map(Condition::names).filter(|name| !known.contains(name)) {
            notes.push(missing("stop condition", name));
        }
    }

    /// The names of parameters or results, in the order in which they came.
    pub fn columns<'a>(&'a self, of: impl Fn(&'a Row) -> &'a Map<String, Value>) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for row in self.rows.values() {
            names.extend(of(row).keys().map(String::as_str).filter(|name| known.insert(*name)));
        }
        names
    }

    /// MLRun's table: `state`, `iter`, `param.NAME`, `output.NAME`; then a row for each.
    pub fn table(&self) -> Vec<Vec<Value>> {
        let (parameters, results) = (self.columns(|row| &row.parameters), self.columns(|row| &row.results));
        let mut header = vec![Value::from("state"), Value::from("iter")];
        header.extend(parameters.iter().map(|name| Value::from(format!("param.{name}"))));
        header.extend(results.iter().map(|name| Value::from(format!("output.{name}"))));
        let row = |row: &Row| {
            let mut cells = vec![Value::from(row.state.as_str()), Value::from(row.iteration)];
            cells.extend(parameters.iter().map(|name| cell(row.parameters.get(*name))));
            cells.extend(results.iter().map(|name| cell(row.results.get(*name))));
            cells
        };
        std::iter::once(header).chain(self.rows.values().map(row)).collect()
    }
}

/// A value in the table.
fn cell(value: Option<&Value>) -> Value {
    match value {
        None => Value::Null,
        Some(Value::String(text)) if text.len() > MAX_CELL => {
            Value::from(text.chars().take(MAX_CELL).chain(['…']).collect::<String>())
        }
        Some(value @ (Value::Array(_) | Value::Object(_))) if value.to_string().len() > MAX_CELL => {
            Value::from("…")
        }
        Some(value) => value.clone(),
    }
}
