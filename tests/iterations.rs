//! Runs with hyper-parameters, and runs that are tried again: what is recorded, what is refused, and `kill -9` of the
//! orchestrator at every step and at any moment. Nothing is run twice, nothing is lost.
#![cfg(all(feature = "sqlite", feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod chaos;
#[path = "iterations/crash.rs"]
mod crash;
#[path = "iterations/retry.rs"]
mod retry;
#[path = "iterations/sweep.rs"]
mod sweep;

use std::time::Duration;

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    chaos::other();
}

/// What takes longer than this does not end.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}
