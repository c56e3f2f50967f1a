//! Documents: put one at a time and by many, with a run, listed by what is due.

use std::{path::Path, sync::Arc, time::Instant};

use runtime_core::{
    RunState, Store,
    jiff::{SignedDuration, Timestamp},
    serde_json::json,
    store::{Document, DocumentFilter},
};
use runtimes::store::SqliteStore;
use tokio::task::JoinSet;

use super::{WRITERS, median, record, seconds};

fn document(n: u32) -> Document {
    let due = Timestamp::now().checked_add(SignedDuration::from_secs(i64::from(n))).ok();
    let body = json!({ "target": "https://example.org/hook", "when": ["completed", "error"], "number": n });
    Document { due, ..Document::new("notification", format!("project-{}", n % 10), format!("n-{n}"), body) }
}

/// Prints what documents cost beside runs.
pub(crate) async fn ratios(folder: &Path) {
    const ALONE: u32 = 500;
    const TOGETHER: u32 = 32_000;
    let store = Arc::new(SqliteStore::open(folder.join("documents.db")).await.unwrap());
    let mut times = [const { Vec::new() }; 3];
    for n in 0..ALONE {
        let mut run = record(n);
        let started = Instant::now();
        store.create_run(&run).await.unwrap();
        times[0].push(started.elapsed());
        let started = Instant::now();
        store.put_document(&document(n)).await.unwrap();
        times[1].push(started.elapsed());
        run.revision = 1;
        run.run_mut().transition(RunState::Completed, Timestamp::now()).unwrap();
        let of_run = Document { parent: Some(run.run.key()), ..document(n + TOGETHER * 2) };
        let started = Instant::now();
        store.update_run_with(&run, &[of_run]).await.unwrap();
        times[2].push(started.elapsed());
    }
    let [run, put, with] = times.map(median);
    println!("one document at a time: {put:?}, {:.2}x a run", seconds(put) / seconds(run));
    println!("a run's change and a document together: {with:?}, {:.2}x a run", seconds(with) / seconds(run));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for n in (writer..TOGETHER).step_by(WRITERS as usize) {
                store.put_document(&document(ALONE + n)).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    println!("{WRITERS} writers: {:.0} documents/s", f64::from(TOGETHER) / started.elapsed().as_secs_f64());
    let due = DocumentFilter {
        due_before: Timestamp::now().checked_add(SignedDuration::from_hours(1)).ok(),
        limit: 50,
        ..DocumentFilter::of("notification")
    };
    let of_project = DocumentFilter {
        project: Some("project-3".to_owned()),
        limit: 50,
        ..DocumentFilter::of("notification")
    };
    for (name, filter) in [("that are due", due), ("of a project", of_project)] {
        let mut times = Vec::new();
        for _ in 0..50 {
            let started = Instant::now();
            assert_eq!(store.list_documents(&filter).await.unwrap().len(), 50);
            times.push(started.elapsed());
        }
        println!("50 of {TOGETHER} documents {name}: {:?}", median(times));
    }
    store.close().await.unwrap();
}
