//! The SQLite store: what every store does, and what only a file can do wrong.
#![cfg(feature = "sqlite")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use runtime_core::{Store, testkit::store_conformance};
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
