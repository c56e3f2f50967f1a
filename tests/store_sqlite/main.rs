//! The SQLite store: what every store does, and what only a file that others share can do wrong.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod crash;
mod file;
mod full_disk;
mod shared;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use runtime_core::{Run, Store, store::RunRecord, testkit::store_conformance};
use runtimes::store::SqliteStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let opened = AtomicUsize::new(0);
    store_conformance(async || {
        let file = folder.path().join(format!("{}.db", opened.fetch_add(1, Ordering::Relaxed)));
        Arc::new(SqliteStore::open(file).await.unwrap()) as Arc<dyn Store>
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
async fn create(store: &SqliteStore, record: RunRecord) -> RunRecord {
    store.create_run(&record).await.unwrap();
    RunRecord { revision: 1, ..record }
}

/// This program again, as a process of its own that runs one ignored test as its work.
fn another_process(work: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", work])
        .env("STORE_FILE", file)
        .stdout(Stdio::piped());
    command
}

/// In such a process: the file to work on. `None` where somebody ran all ignored tests by hand.
fn my_file() -> Option<String> {
    std::env::var("STORE_FILE").ok()
}

/// One value, from the file itself.
async fn ask<T>(file: &Path, sql: &'static str) -> T
where
    T: Send + Unpin + sqlx::Type<sqlx::Sqlite> + for<'r> sqlx::Decode<'r, sqlx::Sqlite>,
{
    let mut connection = connect(file).await;
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

/// A connection of somebody else to the file.
async fn connect(file: &Path) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    sqlx::SqliteConnection::connect_with(&options).await.unwrap()
}
