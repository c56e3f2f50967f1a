//! A server that goes away and comes back, and connections that break at the worst moment.

use std::{sync::Arc, time::Duration};

use runtime_core::{ErrorKind, RunState, Store, jiff::Timestamp, store::RunFilter};
use runtimes::store::PostgresStore;
use tokio::task::JoinSet;

use super::{create, record, server::Server};

const WRITERS: u32 = 8;

/// Restarts and killed connections while many write: nothing that was acknowledged is lost, nothing is written twice,
/// and nobody is told of any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_waited_for() {
    let Some(server) = Server::start("-c fsync=off") else { return };
    let url = server.fresh();
    let store = Arc::new(PostgresStore::connect(&url).await.unwrap());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, stopped) = (Arc::clone(&store), stopped.clone());
        writers.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                let mut run = create(&store, record(format!("{writer}-{count}"))).await;
                for state in [RunState::Running, RunState::Completed] {
                    run.run_mut().transition(state, Timestamp::now()).unwrap();
                    run.revision = store.update_run(&run).await.unwrap();
                }
                count += 1;
            }
            count
        });
    }
    let mut changes = store.changes();
    let mut progress = async || {
        for _ in 0..20 {
            changes.changed().await.unwrap();
        }
    };
    for round in 0..3 {
        progress().await;
        server.stop(if round == 1 { "fast" } else { "immediate" });
        server.again();
        progress().await;
        for _ in 0..20 {
            let mut admin = super::connect(&server.url("postgres")).await;
            let kill =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'runtimes'";
            sqlx::query(kill).execute(&mut admin).await.unwrap();
            progress().await;
        }
    }
    stop.send_replace(true);
    let mut written = 0;
    while let Some(done) = writers.join_next().await {
        written += done.unwrap();
    }
    let all = store.list_runs(&RunFilter::default()).await.unwrap();
    assert_eq!(all.len(), written);
    assert!(all.iter().all(|record| record.revision == 3 && record.run.state() == RunState::Completed));
    // Changes of others are heard of again, too.
    let other = PostgresStore::connect(&url).await.unwrap();
    create(&other, record("last")).await;
    let look = async {
        while store.list_runs(&RunFilter::default()).await.unwrap().len() == written {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.expect("a sign to look again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_away_is_named() {
    let Some(server) = Server::start("-c fsync=off") else { return };
    let store = PostgresStore::connect(&server.fresh()).await.unwrap();
    let run = create(&store, record("aa")).await;
    server.stop("fast");
    let (next, key) = (record("bb"), run.run.key());
    let (written, read) = tokio::join!(store.create_run(&next), store.get_run(&key));
    for error in [written.unwrap_err(), read.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("cannot be reached"), "{error}");
    }
    server.again();
    store.create_run(&next).await.unwrap();
    assert_eq!(store.list_runs(&RunFilter::default()).await.unwrap().len(), 2);
    store.close().await.unwrap();
}
