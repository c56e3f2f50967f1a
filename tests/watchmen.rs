//! Secrets, notifications and schedules, as an embedder uses them.
#![cfg(all(feature = "sqlite", feature = "handler", feature = "local", feature = "http"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod chaos;
#[path = "watchmen/notifications.rs"]
mod notifications;
mod receiver;
#[path = "watchmen/schedules.rs"]
mod schedules;
#[path = "watchmen/secrets.rs"]
mod secrets;

use std::{fs, path::Path, time::Duration};

use runtimes::{Error, Function, Handle, Orchestrator, Request, Result};

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    chaos::other();
}

async fn open(folder: &Path) -> Orchestrator {
    Orchestrator::open(folder.join("home")).await.unwrap()
}

/// A shell program in this folder.
fn shell(folder: &Path, script: &str) -> Request {
    let function = Function::new("local", "shell").with_command("sh").with_args(["-c", script]);
    let mut request = Request::new(function);
    request.base_dir = folder.to_owned();
    request
}

/// Nothing here takes longer.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("it takes for ever"))
}

/// The files below a folder that hold these bytes, but for those where the secrets of projects are kept.
fn holding(folder: &Path, wanted: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && !path.ends_with("home/secrets") {
            found.extend(holding(&path, wanted));
        } else if kind.is_file()
            && let Ok(content) = fs::read(&path)
            && content.windows(wanted.len()).any(|window| window == wanted.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

/// Why it was refused.
fn refusal(submitted: Result<Handle>) -> Error {
    submitted.err().unwrap_or_else(|| panic!("it was not refused"))
}
