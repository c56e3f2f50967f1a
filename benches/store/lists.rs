//! Lists of a large store.

use std::{hint::black_box, path::Path, sync::Arc};

use criterion::Criterion;
use runtime_core::{
    RunState, Store,
    jiff::Timestamp,
    store::{RunFilter, RunRecord},
};
use runtimes::store::SqliteStore;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{LISTED, record, uid};

pub(crate) async fn fill(store: &Arc<dyn Store>) {
    const TASKS: u32 = 64;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for n in (task..LISTED).step_by(TASKS as usize) {
                let mut record = listed(n);
                // Most have ended; few have failed, and fewer are active.
                let state = match n {
                    n if n % 1000 == 0 => RunState::Running,
                    n if n % 100 == 0 => RunState::Error,
                    _ => RunState::Completed,
                };
                record.run_mut().transition(state, Timestamp::now()).unwrap();
                if state.is_terminal() {
                    record.owner.clear();
                }
                store.create_run(&record).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Most are iterations of a few runs.
fn listed(n: u32) -> RunRecord {
    let mut record = record(n);
    record.run_mut().metadata.iteration = n % 1000;
    record
}

pub(crate) fn reads(criterion: &mut Criterion, runtime: &Runtime, folder: &Path) {
    let store: Arc<dyn Store> =
        Arc::new(runtime.block_on(SqliteStore::open(folder.join("large.db"))).unwrap());
    runtime.block_on(fill(&store));
    let middle = runtime.block_on(middle(&*store));
    let mut group = criterion.benchmark_group("list 50 of 100,000");
    for (name, filter) in cases(middle) {
        group.bench_function(name, |bencher| {
            bencher.to_async(runtime).iter(async || black_box(store.list_runs(&filter).await.unwrap()));
        });
    }
    group.finish();
    let key = listed(4711).run.key();
    criterion.bench_function("get 1 of 100,000", |bencher| {
        bencher.to_async(runtime).iter(async || black_box(store.get_run(&key).await.unwrap()));
    });
}

/// A time in the middle of those of the runs.
pub(crate) async fn middle(store: &dyn Store) -> Option<Timestamp> {
    store.list_runs(&RunFilter::active()).await.unwrap()[50].run.status.last_update
}

/// What is asked for, each with a name.
pub(crate) fn cases(middle: Option<Timestamp>) -> Vec<(&'static str, RunFilter)> {
    let base = RunFilter { limit: 50, ..RunFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    vec![
        ("newest", base.clone()),
        ("project", RunFilter { project: text("project-3"), ..base.clone() }),
        ("without iterations", RunFilter { iteration: Some(0), ..base.clone() }),
        (
            "project, without iterations",
            RunFilter { project: text("project-0"), iteration: Some(0), ..base.clone() },
        ),
        (
            "name, without iterations",
            RunFilter { name: text("train-fit"), iteration: Some(0), ..base.clone() },
        ),
        ("state error", RunFilter { states: vec![RunState::Error], ..base.clone() }),
        ("active", RunFilter { limit: 50, ..RunFilter::active() }),
        ("project, active", RunFilter { project: text("project-0"), limit: 50, ..RunFilter::active() }),
        ("owner", RunFilter { owner: text("one"), ..base.clone() }),
        ("name", RunFilter { name: text("train-fit"), ..base.clone() }),
        ("function", RunFilter { function: text("train"), ..base.clone() }),
        ("label, rare", RunFilter { labels: label("team", "t7"), ..base.clone() }),
        ("label, on all", RunFilter { labels: label("kind", "local"), ..base.clone() }),
        (
            "label and project",
            RunFilter { labels: label("kind", "local"), project: text("project-3"), ..base.clone() },
        ),
        ("time", RunFilter { since: middle, ..base.clone() }),
        ("uid", RunFilter { uid_prefix: Some(uid(4711)[..8].to_owned()), ..base.clone() }),
        // The worst: what leads is on every run, and what follows lets almost none through.
        (
            "label on all, active",
            RunFilter { labels: label("kind", "local"), ..RunFilter { limit: 50, ..RunFilter::active() } },
        ),
        (
            "label on all, state error",
            RunFilter { labels: label("kind", "local"), states: vec![RunState::Error], ..base.clone() },
        ),
        (
            "name on all, state aborted (none)",
            RunFilter { name: text("train-fit"), states: vec![RunState::Aborted], ..base.clone() },
        ),
        (
            "project, state, label, time",
            RunFilter {
                project: text("project-0"),
                states: vec![RunState::Error],
                labels: label("kind", "local"),
                since: middle,
                ..base.clone()
            },
        ),
    ]
}
