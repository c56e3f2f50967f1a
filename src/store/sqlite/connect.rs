//! Opening: one durable connection that writes, a few that read, and tables of the right version.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime_core::{Error, ErrorKind, Result};
use sqlx::{
    Connection, SqlSafeStr, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    query, query_scalar,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::error::{Fault, from_migrate, from_sqlite, from_sqlx, not_a_store};

/// "RUNT", as the first migration writes it.
const APPLICATION_ID: i64 = 0x5255_4e54;

/// How long SQLite itself waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// After so long, a lock that another process holds is an error.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How many lists and look-ups run at the same time.
const READERS: u32 = 4;

/// The schema, oldest first: (version, name, SQL). A version that was released is never changed.
pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "functions and runs", include_str!("migrations/0001_functions_and_runs.sql")),
    (2, "documents", include_str!("migrations/0002_documents.sql")),
    (3, "topics, and lists without iterations", include_str!("migrations/0003_topics_and_iterations.sql")),
];

/// What holds for all connections.
const PRAGMAS: &[(&str, &str)] = &[
    ("foreign_keys", "ON"),
    // FULL in WAL mode: the log is on the disk before a commit returns, also on disks that lie a little (macOS).
    ("synchronous", "FULL"),
    ("fullfsync", "ON"),
    ("checkpoint_fullfsync", "ON"),
    // The log is copied into the file every 16 MiB, and does not keep more on the disk after a peak.
    ("wal_autocheckpoint", "4096"),
    ("journal_size_limit", "67108864"),
    // Statements with triggers keep what they may have to take back: in memory, not in a file for each.
    ("temp_store", "MEMORY"),
    ("trusted_schema", "OFF"),
];

/// How many statements of the writer stay prepared: all there are.
const STATEMENTS: usize = 32;

/// Opens the file for writing: creates it where there is none, and brings its tables up to date.
pub(super) async fn writer(path: &Path) -> Result<rusqlite::Connection> {
    let failed = |error| from_sqlx(path, "store.open", error);
    prepare_folder(path)?;
    let options = options(path).create_if_missing(true);
    let mut connection =
        patient(async || SqliteConnection::connect_with(&options).await).await.map_err(failed)?;
    // Before anything is changed: is it ours to change?
    check_owner(&mut connection, path).await?;
    // Entering WAL needs the file for itself for a moment, and SQLite does not wait for that on its own.
    patient(async || query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut connection).await)
        .await
        .map_err(failed)?;
    migrate(&mut connection, path).await?;
    let opened = {
        let path = path.to_owned();
        // It may have to wait for another process.
        tokio::task::spawn_blocking(move || open_writer(&path)).await
    };
    let opened = opened.map_err(|error| Error::internal("the store was not opened").source(error))?;
    // Only now: the last connection that is closed would take the log away, and the next one make it again.
    connection.close().await.map_err(failed)?;
    opened.map_err(|error| from_sqlite(path, "store.open", Arc::new(error)))
}

/// The connection that writes, to a file that is as it should be.
fn open_writer(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    for (name, value) in PRAGMAS {
        connection.pragma_update(None, name, value)?;
    }
    // 8 MiB: the pages of the indexes that every write needs.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Connections that read. They see what was committed when they ask, and never wait for the writer.
pub(super) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .connect_lazy_with(options(path).pragma("query_only", "ON"))
}

fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY);
    PRAGMAS.iter().fold(options, |options, (name, value)| options.pragma(*name, *value))
}

fn prepare_folder(path: &Path) -> Result<()> {
    let failed = |action: &str, at: &Path, error: io::Error| {
        let error = Error::io(action, at, error).operation("store.open");
        if error.help_text().is_some() { error } else { error.help("check that path, or open another home") }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| failed("create the folder", folder, error))?;
    }
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(not_a_store(path, "it is not a file").operation("store.open")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("open", path, error)),
        _ => Ok(()),
    }
}

async fn check_owner(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let failed = |error| from_sqlx(path, "store.open", error);
    let id: i64 = query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let tables: i64 = query_scalar("SELECT count(*) FROM sqlite_master")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    // Another process may have written the first tables between the two questions.
    let id: i64 = query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    if tables == 0 || id == APPLICATION_ID {
        return Ok(());
    }
    Err(not_a_store(path, "it is a SQLite database of another program").operation("store.open"))
}

/// Brings the tables up to date, in one transaction that only one process at a time can be in.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let failed = |error| from_sqlx(path, "store.open", error);
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    match applied(connection).await.map_err(failed)? {
        Some(version) if version == newest => return Ok(()),
        Some(version) if version > newest => return Err(newer(path, version, newest)),
        _ => {}
    }
    patient(async || query("BEGIN IMMEDIATE").execute(&mut *connection).await.map(drop))
        .await
        .map_err(failed)?;
    let done = migrate_locked(connection, path, newest).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = query(end).execute(&mut *connection).await.map_err(failed);
    done.and(ended.map(drop))
}

async fn migrate_locked(connection: &mut SqliteConnection, path: &Path, newest: i64) -> Result<()> {
    // Somebody else may have done it while this process waited.
    let at = applied(connection).await.map_err(|error| from_sqlx(path, "store.open", error))?;
    if let Some(version) = at.filter(|version| *version > newest) {
        return Err(newer(path, version, newest));
    }
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), true)
        })
        .collect();
    let migrator = Migrator::with_migrations(migrations);
    migrator.run(connection).await.map_err(|error| from_migrate(path, error))
}

/// The version of the file's tables; `None` for a new file.
async fn applied(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    let known: i64 = query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await?;
    if known == 0 {
        return Ok(None);
    }
    query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut *connection).await
}

fn newer(path: &Path, found: i64, known: i64) -> Error {
    let message = format!(
        "{} was written by a newer version of this program: its tables have version {found}, this one knows {known}",
        path.display()
    );
    Error::new(ErrorKind::Unsupported, message)
        .help("use the newer version, or open another home")
        .operation("store.open")
}

/// Does it again while another process is in the way.
async fn patient<T>(mut attempt: impl AsyncFnMut() -> sqlx::Result<T>) -> sqlx::Result<T> {
    let started = Instant::now();
    loop {
        match attempt().await {
            Err(error) if error.is_busy() && started.elapsed() < PATIENCE => pause().await,
            result => return result,
        }
    }
}

/// A moment for the process that holds the lock.
pub(super) async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An acknowledged write survives a power cut only with these, and orphans are refused only with one of them.
    #[tokio::test]
    async fn the_writer_keeps_its_promises() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder.path().join("store.db")).await.unwrap();
        let ask = |name: &str| {
            let text = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            writer.pragma_query_value(None, name, text).unwrap()
        };
        const FULL: i64 = 2;
        assert_eq!(ask("journal_mode"), "wal".to_owned().into());
        assert_eq!(ask("synchronous"), FULL.into());
        for name in ["fullfsync", "checkpoint_fullfsync", "foreign_keys"] {
            assert_eq!(ask(name), 1.into(), "{name}");
        }
        assert_eq!(ask("trusted_schema"), 0.into());
    }
}
