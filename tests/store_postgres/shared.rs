//! One database, several stores: nobody loses a write, everybody is told, one harms no other.

use std::{sync::Arc, time::Duration};

use runtime_core::{ErrorKind, Store, run::RunKey, store::RunFilter};
use runtimes::store::PostgresStore;
use sqlx::Executor;
use tokio::task::JoinSet;

use super::{connect, create, record, server::Server};

const STORES: usize = 4;
const RUNS: usize = 25;

/// Several stores open a schema that does not exist yet, write their own runs, and count on a shared one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores() {
    let Some(server) = Server::shared() else { return };
    let url = Arc::new(server.fresh());
    let mut tasks = JoinSet::new();
    for me in 0..STORES {
        let url = Arc::clone(&url);
        tasks.spawn(async move {
            let store = PostgresStore::connect(&url).await.unwrap();
            if let Err(error) = store.create_run(&record("shared")).await {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "another was the first: {error}");
            }
            for n in 0..RUNS {
                store.create_run(&record(format!("{me}-{n}"))).await.unwrap();
                loop {
                    let mut shared = store.get_run(&RunKey::new("shared")).await.unwrap().unwrap();
                    shared.attempt += 1;
                    match store.update_run(&shared).await {
                        Ok(_) => break,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                    }
                }
            }
            store.close().await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let store = PostgresStore::connect(&url).await.unwrap();
    assert_eq!(store.list_runs(&RunFilter::default()).await.unwrap().len(), STORES * RUNS + 1);
    let shared = store.get_run(&RunKey::new("shared")).await.unwrap().unwrap();
    assert_eq!(shared.attempt as usize, STORES * RUNS, "no count was lost");
    assert_eq!(shared.revision as usize, STORES * RUNS + 1);
}

#[tokio::test]
async fn a_change_of_another_store_is_told() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh();
    let one = PostgresStore::connect(&url).await.unwrap();
    let other = PostgresStore::connect(&url).await.unwrap();
    let mut changes = one.changes();
    for n in 0..5 {
        let run = create(&other, record(format!("{n}"))).await;
        let look = async {
            while one.get_run(&run.run.key()).await.unwrap().is_none() {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), look).await.expect("a sign to look again");
    }
    // And one's own changes are told once, not also by the server.
    create(&one, record("own")).await;
    changes.changed().await.unwrap();
    create(&other, record("end")).await;
    tokio::time::timeout(Duration::from_secs(60), changes.changed()).await.expect("told").unwrap();
    assert_eq!(one.list_runs(&RunFilter::default()).await.unwrap().len(), 7);
}

/// One change that cannot be stored must not take down those that came at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_harms_no_other() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh();
    let store = PostgresStore::connect(&url).await.unwrap();
    let mut somebody = connect(&url).await;
    somebody.execute("ALTER TABLE runs ADD CONSTRAINT trap CHECK (name <> 'poison')").await.unwrap();
    let results = futures_util::future::join_all((0..100).map(async |n| {
        let mut record = record(format!("{n:032x}"));
        if n % 10 == 0 {
            record.run_mut().metadata.name = "poison".to_owned();
        }
        store.create_run(&record).await
    }))
    .await;
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_err(), n % 10 == 0, "run {n}: {result:?}");
        let stored = store.get_run(&RunKey::new(format!("{n:032x}"))).await.unwrap();
        assert_eq!(stored.is_some(), n % 10 != 0, "run {n} is stored exactly if it was acknowledged");
    }
}
