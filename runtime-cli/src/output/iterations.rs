//! The iterations of a run, as people read them.

use comfy_table::Cell;
use runtimes::{
    Run, RunState,
    core::{
        run::hyper::{Selector, Sweep},
        serde_json::{Map, Value},
        store::RunRecord,
    },
};

use super::{
    human,
    run::View,
    table::{self, Long, text},
};

/// How much of a value a table of iterations shows.
const VALUE: usize = 32;

/// More columns than this are not read.
const COLUMNS: usize = 8;

impl View<'_> {
    /// The iterations of a run; of more than `limit`, the best ones, or where there is no best, the first.
    pub(crate) fn iterations(&self, run: &Run, records: &[RunRecord], limit: Option<usize>) -> String {
        let sweep = Sweep::of(&run.spec).ok().flatten();
        let selector = sweep.as_ref().and_then(|sweep| sweep.selector.clone());
        let best = run.status.results.get("best_iteration").and_then(Value::as_u64);
        let mut children: Vec<&Run> = records.iter().map(|record| &*record.run).collect();
        let results = names(&children, selector.as_ref());
        let parameters: Vec<&str> = sweep.iter().flat_map(Sweep::names).take(COLUMNS).collect();
        let cut = limit.filter(|limit| children.len() > *limit);
        if let (Some(_), Some(selector)) = (cut, &selector) {
            sort(&mut children, selector);
        }
        let shown = cut.unwrap_or(children.len());
        let failed = children.iter().take(shown).any(|child| child.state() == RunState::Error);
        let mut header = vec!["ITER".to_owned(), "STATE".to_owned(), "DURATION".to_owned()];
        header.extend(parameters.iter().chain(&results).map(|name| human::shorten(name, VALUE)));
        header.extend(failed.then(|| "ERROR".to_owned()));
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let row = |child: &&Run| self.iteration(child, best, &parameters, &results, failed);
        let rows = children.iter().take(shown).map(row).collect();
        let mut out = table::render(&header, rows, Long::Cut, self.terminal);
        if children.len() > shown {
            let which = if selector.is_some() { "the best" } else { "the first" };
            let (more, uid) = (children.len() - shown, human::uid(&run.metadata.uid));
            out += &format!("{which} {shown}; {more} more: runtimes get {uid} --iterations\n");
        }
        out
    }

    fn iteration(
        &self,
        child: &Run,
        best: Option<u64>,
        parameters: &[&str],
        results: &[&str],
        failed: bool,
    ) -> Vec<Cell> {
        let number = child.metadata.iteration;
        let mark = if best == Some(u64::from(number)) { " best" } else { "" };
        let mut cells = vec![
            text(format!("{number}{mark}")),
            table::state(child.state()),
            text(self.took(child).unwrap_or_default()),
        ];
        let cell = |values: &Map<String, Value>, name: &str| {
            text(values.get(name).map(|value| human::brief(value, VALUE)).unwrap_or_default())
        };
        cells.extend(parameters.iter().map(|name| cell(&child.spec.parameters, name)));
        cells.extend(results.iter().map(|name| cell(&child.status.results, name)));
        if failed {
            let error = child.status.error.as_deref().unwrap_or_default();
            cells.push(text(human::shorten(error, 2 * VALUE)));
        }
        cells
    }
}

/// The results that are shown: the selected one first.
fn names<'a>(children: &[&'a Run], selector: Option<&'a Selector>) -> Vec<&'a str> {
    let mut names: Vec<&str> = selector.map(|selector| selector.result.as_str()).into_iter().collect();
    for child in children {
        for name in child.status.results.keys() {
            if names.len() == COLUMNS {
                return names;
            }
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

/// The best ones first; those without the result last.
fn sort(children: &mut [&Run], selector: &Selector) {
    let value = |child: &Run| {
        let value = selector.value(&child.status.results).filter(|_| child.state() == RunState::Completed)?;
        Some(if selector.max { -value } else { value })
    };
    children.sort_by(|a, b| match (value(a), value(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
}
