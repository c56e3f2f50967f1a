//! The file: kept over a restart, and refused with a clear error where it cannot be used.

use std::{fs, path::Path};

use runtime_core::{
    Error, ErrorKind, Function, RunState, Store,
    jiff::Timestamp,
    run::RunKey,
    store::{RunFilter, Version},
};
use runtimes::store::SqliteStore;
use sqlx::Executor;

use super::{ask, connect, create, record};

async fn refused(file: &Path) -> Error {
    match SqliteStore::open(file).await {
        Ok(_) => panic!("{} must be refused", file.display()),
        Err(error) => {
            assert!(error.help_text().is_some(), "what to do: {error}");
            assert_eq!(error.operation_name(), "store.open");
            error
        }
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/er/store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let run = create(&store, record("aa")).await;
    let mut function = Function { kind: "local".to_owned(), ..Function::default() };
    function.metadata.name = "train".to_owned();
    let hash = store.put_function(&function, Some("v1")).await.unwrap();
    store.close().await.unwrap();
    assert!(!file.with_extension("db-wal").exists(), "a closed store is one file");
    let error = store.get_run(&run.run.key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "a closed store says so: {error}");
    let error = store.create_run(&record("bb")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "a closed store says so: {error}");

    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(store.get_run(&run.run.key()).await.unwrap(), Some(run.clone()));
    let found = store.get_function("", "train", &Version::Tag("v1".to_owned())).await.unwrap();
    assert_eq!(found.unwrap().function.metadata.hash, hash);
    let more = create(&store, record("bb")).await;
    // Not closed: what was acknowledged is safe even so.
    drop(store);
    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(store.list_runs(&RunFilter::default()).await.unwrap(), [more, run]);
}

#[tokio::test]
async fn promises_are_durable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(ask::<String>(&file, "PRAGMA journal_mode").await, "wal");
    create(&store, record("aa")).await;
    // A copy of the files at this moment is what a power cut would leave behind.
    let copy = folder.path().join("copy.db");
    fs::copy(&file, &copy).unwrap();
    fs::copy(file.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    let copy = SqliteStore::open(&copy).await.unwrap();
    assert!(copy.get_run(&RunKey::new("aa")).await.unwrap().is_some(), "acknowledged is on the disk");
}

#[tokio::test]
async fn something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    let content = "not a database, but a text that is long enough to be looked at\n".repeat(100);
    fs::write(&text, &content).unwrap();
    let error = refused(&text).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("notes.txt is not a store: it is not a SQLite database"), "{error}");
    assert_eq!(fs::read_to_string(&text).unwrap(), content);

    let other = folder.path().join("other.db");
    connect(&other).await.execute("CREATE TABLE places (url TEXT)").await.unwrap();
    let before = fs::read(&other).unwrap();
    let error = refused(&other).await;
    assert!(error.to_string().contains("a SQLite database of another program"), "{error}");
    assert_eq!(fs::read(&other).unwrap(), before, "another program's database is left as it was");

    let error = refused(folder.path()).await;
    assert!(error.to_string().contains("it is not a file"), "{error}");
    let error = refused(&text.join("store.db")).await;
    assert!(error.to_string().contains("notes.txt"), "the folder that cannot be made is named: {error}");
}

#[tokio::test]
async fn a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    SqliteStore::open(&file).await.unwrap().close().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', TRUE, x'00', 0)";
    connect(&file).await.execute(newer).await.unwrap();
    let error = refused(&file).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("newer version of this program: its tables have version 9999"),
        "{error}"
    );
}

#[tokio::test]
async fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    create(&store, record("aa")).await;
    store.close().await.unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(&file, bytes).unwrap();
    let error = refused(&file).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("store.db is damaged"), "{error}");
}

#[tokio::test]
async fn a_record_that_somebody_broke_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    create(&store, record("aa")).await;
    connect(&file).await.execute("UPDATE runs SET body = '{\"metadata\": 3}'").await.unwrap();
    let error = store.get_run(&RunKey::new("aa")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("run aa in"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn an_unwritable_folder_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere but where nobody may.
    let everywhere = fs::write(locked.join("probe"), "").is_ok();
    let run = |program: &str, args: &[&str]| {
        let status = std::process::Command::new(program).args(args).arg(&locked).status();
        status.is_ok_and(|status| status.success())
    };
    if everywhere && !run("mount", &["-t", "tmpfs", "-o", "ro", "none"]) {
        println!("skipped: this user may write anywhere, and may not mount a file system");
        return;
    }
    let mut errors = Vec::new();
    for file in ["store.db", "more/store.db"] {
        errors.push(refused(&locked.join(file)).await);
    }
    if everywhere {
        assert!(run("umount", &["-l"]));
    }
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("locked"), "{error}");
    }
}

/// One change that cannot be stored must not take down those that came at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON runs WHEN new.name = 'poison' \
                BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
    connect(&file).await.execute(trap).await.unwrap();
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

/// The columns by which runs are found say what the record says.
#[tokio::test]
async fn columns_follow_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let mut run = record("aa");
    run.run_mut().spec.function = "demo/train@77".to_owned();
    let mut run = create(&store, run).await;
    for state in [RunState::Pending, RunState::Running, RunState::Completed] {
        run.run_mut().transition(state, Timestamp::now()).unwrap();
        run.revision = store.update_run(&run).await.unwrap();
    }
    let same = "SELECT count(*) FROM runs WHERE state = body ->> '$.status.state' AND terminal \
                AND name = body ->> '$.metadata.name' AND function = 'train' AND function_uri = 'demo/train@77' \
                AND revision = 4 AND started IS NOT NULL AND ended >= started AND updated >= created";
    assert_eq!(ask::<i64>(&file, same).await, 1);
}
