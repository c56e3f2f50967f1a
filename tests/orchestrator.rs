//! The orchestrator as an embedder uses it: what it records, what it refuses, how it ends.
#![cfg(all(feature = "sqlite", feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod chaos;
#[path = "orchestrator/disk.rs"]
mod disk;
#[path = "orchestrator/record.rs"]
mod record;
#[path = "orchestrator/several.rs"]
mod several;
#[path = "orchestrator/stores.rs"]
mod stores;
#[path = "orchestrator/versions.rs"]
mod versions;

use std::time::Duration;

use runtimes::{Function, Handle, Request, Update};

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    chaos::other();
}

/// A shell program in this folder.
fn shell(folder: &std::path::Path, script: &str) -> Request {
    let function = Function::new("local", "shell").with_command("sh").with_args(["-c", script]);
    let mut request = Request::new(function);
    request.base_dir = folder.to_owned();
    request
}

/// Waits for this line of the log.
async fn until_line(handle: &mut Handle, wanted: &str) {
    let wait = async {
        loop {
            match handle.next().await {
                Some(Update::Log(line)) if line.text() == wanted => return,
                Some(_) => {}
                None => panic!("it ended without the line {wanted:?}"),
            }
        }
    };
    within(wait).await;
}

/// Nothing here takes longer.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("it takes for ever"))
}
