//! Many at once: nobody is lost, one wins, and everybody is told.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{advance, create, function, ok, record};
use crate::{
    ErrorKind, RunState, Store,
    store::{Document, RunFilter, RunRecord},
};

const WRITERS: u32 = 32;

/// A receiver is told about each kind of change, and has nothing to tell where nothing happened.
pub(super) async fn changes_are_told(store: &dyn Store) {
    let mut changes = store.changes();
    let mut told = async |what: &str| {
        let told = tokio::time::timeout(Duration::from_secs(60), changes.changed()).await;
        assert!(matches!(told, Ok(Ok(()))), "changes() must tell of {what}");
    };
    let run = create(store, record(1)).await;
    told("create_run").await;
    let run = advance(store, run, RunState::Completed).await;
    told("update_run").await;
    ok("delete_run", store.delete_run(&run.run.key()).await);
    told("delete_run").await;
    ok("put_function", store.put_function(&function("demo", "train", "a.py"), None).await);
    told("put_function").await;
    ok("delete_function", store.delete_function("demo", "train").await);
    told("delete_function").await;
    let document = Document::new("schedule", "demo", "nightly", serde_json::Value::Null);
    ok("put_document", store.put_document(&document).await);
    told("put_document").await;
    ok("delete_document", store.delete_document("schedule", "demo", "nightly", None).await);
    told("delete_document").await;
}

pub(super) async fn many_writers(store: Arc<dyn Store>) {
    const EACH: u32 = 20;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..EACH {
                // Every writer also fails now and then; that must not touch the others.
                let run = create(&*store, record(writer * EACH + n)).await;
                let twice = store.create_run(&run).await.map_err(|error| error.kind());
                assert_eq!(twice, Err(ErrorKind::AlreadyExists), "create_run twice, among other writers");
                let run = advance(&*store, run, RunState::Running).await;
                let stale = RunRecord { revision: 1, ..run.clone() };
                let stale = store.update_run(&stale).await.map_err(|error| error.kind());
                assert_eq!(
                    stale,
                    Err(ErrorKind::Conflict),
                    "update_run on an old revision, among other writers"
                );
                advance(&*store, run, RunState::Completed).await;
            }
            EACH
        });
    }
    assert_eq!(join(writers).await, WRITERS * EACH, "every writer came to its end");
    let all = ok("list_runs", store.list_runs(&RunFilter::default()).await);
    assert_eq!(all.len(), (WRITERS * EACH) as usize, "every run that {WRITERS} writers created is there");
    let whole = all.iter().all(|record| record.revision == 3 && record.run.state() == RunState::Completed);
    assert!(whole, "every run that {WRITERS} writers changed has its last state and revision");
}

/// Of many that change the same revision, one wins; of many that create the same run, one does.
pub(super) async fn one_winner(store: Arc<dyn Store>) {
    for n in 0..10 {
        let mut creators = JoinSet::new();
        for _ in 0..WRITERS {
            let store = Arc::clone(&store);
            creators.spawn(async move { u32::from(store.create_run(&record(n)).await.is_ok()) });
        }
        assert_eq!(join(creators).await, 1, "of {WRITERS} that create the same run, one succeeds");
        let mut changers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            changers.spawn(async move {
                let mut change = RunRecord { revision: 1, ..record(n) };
                change.attempt = writer;
                match store.update_run(&change).await {
                    Ok(revision) => {
                        assert_eq!(revision, 2, "the winner's revision");
                        let stored = ok("get_run", store.get_run(&change.run.key()).await);
                        assert_eq!(
                            stored.map(|stored| stored.attempt),
                            Some(writer),
                            "the winner's change is kept"
                        );
                        1
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "a loser's error: {error}");
                        0
                    }
                }
            });
        }
        assert_eq!(join(changers).await, 1, "of {WRITERS} that change the same revision, one succeeds");
    }
}

pub(super) async fn join(mut tasks: JoinSet<u32>) -> u32 {
    let mut sum = 0;
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(count) => sum += count,
            Err(error) => match error.try_into_panic() {
                Ok(reason) => std::panic::resume_unwind(reason),
                Err(error) => std::panic::panic_any(error),
            },
        }
    }
    sum
}
