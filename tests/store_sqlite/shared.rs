//! One file, several processes: nobody loses a write, nobody waits for a writer to read, everybody is told.

use std::{io::Read, time::Duration};

use futures_util::FutureExt;
use runtime_core::{
    ErrorKind, Store,
    run::RunKey,
    store::{RunFilter, RunRecord},
};
use runtimes::store::SqliteStore;
use sqlx::Executor;

use super::{another_process, ask, connect, create, my_file, record};

const PROCESSES: usize = 4;
const RUNS: usize = 25;

/// Several processes open a file that does not exist yet, write their own runs, and count on a shared one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|n| another_process("shared::count", &file).env("PROCESS", n.to_string()).spawn().unwrap())
        .collect();
    for child in &mut children {
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
    }
    let store = SqliteStore::open(&file).await.unwrap();
    let all = store.list_runs(&RunFilter::default()).await.unwrap();
    assert_eq!(all.len(), PROCESSES * RUNS + 1, "every run of every process");
    let shared = store.get_run(&RunKey::new("shared")).await.unwrap().unwrap();
    assert_eq!(shared.attempt as usize, PROCESSES * RUNS, "no count was lost");
    assert_eq!(shared.revision as usize, PROCESSES * RUNS + 1);
    assert_eq!(ask::<String>(&file, "PRAGMA integrity_check").await, "ok");
}

#[ignore = "the work of a process of `several_processes`"]
#[tokio::test]
async fn count() {
    let Some(file) = my_file() else { return };
    let me = std::env::var("PROCESS").unwrap();
    let store = SqliteStore::open(file).await.unwrap();
    match store.create_run(&record("shared")).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
        Ok(()) => println!("process {me} was the first"),
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
}

#[tokio::test]
async fn a_change_of_another_store_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let (one, other) = (SqliteStore::open(&file).await.unwrap(), SqliteStore::open(&file).await.unwrap());
    let told = async |changes: &mut tokio::sync::watch::Receiver<u64>, run: &RunRecord| {
        let look = async {
            while one.get_run(&run.run.key()).await.unwrap().as_ref() != Some(run) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), look).await.expect("a sign to look again");
    };
    let mut changes = one.changes();
    for n in 0..3 {
        let run = create(&other, record(format!("first-{n}"))).await;
        told(&mut changes, &run).await;
    }
    // Nobody listens for a while; who listens again is told again.
    drop(changes);
    create(&other, record("unheard")).await;
    let mut changes = one.changes();
    let run = create(&other, record("last")).await;
    told(&mut changes, &run).await;
}

#[tokio::test]
async fn readers_do_not_wait_for_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let first = create(&store, record("aa")).await;
    let mut somebody = connect(&file).await;
    somebody.execute("BEGIN IMMEDIATE").await.unwrap();
    let second = record("bb");
    let mut write = Box::pin(store.create_run(&second));
    // The write is on its way and waits; lists and look-ups do not.
    assert!(write.as_mut().now_or_never().is_none());
    assert_eq!(store.list_runs(&RunFilter::default()).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.get_run(&first.run.key()).await.unwrap(), Some(first));
    assert!(write.as_mut().now_or_never().is_none(), "the other still holds the lock");
    somebody.execute("COMMIT").await.unwrap();
    write.await.unwrap();
    assert!(store.get_run(&second.run.key()).await.unwrap().is_some());
}
