//! A full disk: a clear error, nothing lost, and work goes on when there is space again.

use std::{fs, path::Path, process::Command};

use runtime_core::{ErrorKind, Store, serde_json::json, store::RunFilter};
use runtimes::store::SqliteStore;

use super::{my_file, record};

/// Needs a small disk: one in memory, in a mount namespace of its own, where the kernel allows that to this user.
#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=2m none \"$0\"";
    let unshared = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script]).arg(folder.path());
        command
    };
    if !unshared(mount.to_owned()).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no mount namespaces here (unshare -rm)");
        return;
    }
    let script = format!("{mount} && exec \"$1\" --ignored --exact --nocapture full_disk::fill");
    let file = folder.path().join("store.db");
    let output =
        unshared(script).arg(std::env::current_exe().unwrap()).env("STORE_FILE", file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("went on"), "the work was done: {said}");
}

#[ignore = "the work of `a_full_disk_loses_nothing`, on its small disk"]
#[tokio::test]
async fn fill() {
    let Some(file) = my_file() else { return };
    let file = Path::new(&file);
    let ballast = file.with_extension("ballast");
    fs::write(&ballast, vec![1; 400 << 10]).unwrap();
    let store = SqliteStore::open(file).await.unwrap();
    let mut stored = Vec::new();
    let error = loop {
        let mut record = record(format!("{:04}", stored.len()));
        record.run_mut().spec.parameters.insert("large".to_owned(), json!("x".repeat(20_000)));
        match store.create_run(&record).await {
            Ok(()) => stored.push(record.run.key().uid),
            Err(error) => break error,
        }
        assert!(stored.len() < 1000, "2 MiB cannot hold that");
    };
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    assert!(stored.len() > 10, "it was full after {} runs", stored.len());
    let uids = async |store: &SqliteStore| -> Vec<String> {
        let mut runs = store.list_runs(&RunFilter::default()).await.unwrap();
        runs.reverse();
        runs.into_iter().map(|record| record.run.key().uid).collect()
    };
    assert_eq!(uids(&store).await, stored, "what was acknowledged can be read while the disk is full");

    let elsewhere = file.with_extension("other");
    fs::write(file.with_extension("filler"), vec![1; 2 << 20]).unwrap_err();
    match SqliteStore::open(&elsewhere).await {
        Ok(_) => panic!("a new store on a full disk must be refused"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}"),
    }

    fs::remove_file(&ballast).unwrap();
    store.create_run(&record("zzzz")).await.unwrap();
    stored.push("zzzz".to_owned());
    drop(store);
    let store = SqliteStore::open(file).await.unwrap();
    assert_eq!(uids(&store).await, stored);
    println!("went on");
}
