//! The PostgreSQL store: what every store does, and what only a server can do wrong.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod away;
mod open;
#[path = "../server/mod.rs"]
mod server;
mod shared;

use std::sync::Arc;

use runtime_core::{Run, Store, store::RunRecord, testkit::store_conformance};
use runtimes::store::PostgresStore;

use self::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Some(server) = Server::shared() else { return };
    store_conformance(async || {
        Arc::new(PostgresStore::connect(&server.fresh()).await.unwrap()) as Arc<dyn Store>
    })
    .await;
}

fn record(uid: impl Into<String>) -> RunRecord {
    let mut run = Run::default();
    run.metadata.uid = uid.into();
    run.metadata.name = "train".to_owned();
    run.metadata.project = "demo".to_owned();
    RunRecord { run: run.into(), revision: 0, owner: "one".to_owned(), target: "host".to_owned(), attempt: 0 }
}

/// Creates the run, and gives it as it is stored.
async fn create(store: &PostgresStore, record: RunRecord) -> RunRecord {
    store.create_run(&record).await.unwrap();
    RunRecord { revision: 1, ..record }
}

/// A connection of somebody else, in the schema of this URL.
async fn connect(url: &str) -> sqlx::PgConnection {
    use sqlx::{ConnectOptions, postgres::PgConnectOptions};
    let (url, schema) = url.split_once("&schema=").unwrap_or((url, "runtimes"));
    let options: PgConnectOptions = url.parse().unwrap();
    options.options([("search_path", schema)]).connect().await.unwrap()
}
