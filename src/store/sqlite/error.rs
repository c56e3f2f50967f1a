//! What SQLite says, in words that help: the file, what is wrong with it, what to do.

use std::{path::Path, sync::Arc};

use runtime_core::{Error, ErrorKind};
use sqlx::migrate::MigrateError;

/// The primary result codes of SQLite that mean something to a user.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const IO: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANNOT_OPEN: i32 = 14;
    pub(super) const TOO_BIG: i32 = 18;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    /// An I/O error while the shared memory grew: the disk is full.
    pub(super) const IO_SHARED_MEMORY_SIZE: i32 = 4874;
}

/// What a connection of one or the other kind says: of those that read, or of the one that writes.
pub(super) trait Fault: std::error::Error + Send + Sync + 'static {
    /// The extended result code, where it came from SQLite.
    fn code(&self) -> Option<i32>;

    /// Whether another process holds the database at the moment.
    fn is_busy(&self) -> bool {
        matches!(self.code().map(|code| code & 0xff), Some(code::BUSY | code::LOCKED))
    }
}

impl Fault for sqlx::Error {
    fn code(&self) -> Option<i32> {
        self.as_database_error()?.code()?.parse().ok()
    }
}

impl Fault for rusqlite::Error {
    fn code(&self) -> Option<i32> {
        self.sqlite_error().map(|error| error.extended_code)
    }
}

/// Whether the fault is in what was written, and not in the file, the disk or the connection.
pub(super) fn is_about_data(error: &rusqlite::Error) -> bool {
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    match error.code().map(|code| code & 0xff) {
        Some(code) => matches!(code, code::TOO_BIG | CONSTRAINT | MISMATCH),
        None => matches!(error, rusqlite::Error::ToSqlConversionFailure(_)),
    }
}

/// Whether what was written belongs to something that is not there.
pub(super) fn is_orphan(error: &rusqlite::Error) -> bool {
    const FOREIGN_KEY: i32 = 787;
    error.code() == Some(FOREIGN_KEY)
}

/// The error of an operation of a connection that reads.
pub(super) fn from_sqlx(path: &Path, operation: &'static str, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            closed(path).operation(operation).source(error)
        }
        sqlx::Error::PoolTimedOut => {
            Error::new(ErrorKind::Unavailable, format!("too many readers wait for {}", path.display()))
                .help("try again")
                .operation(operation)
                .source(error)
        }
        error => from_sqlite(path, operation, Arc::new(error)),
    }
}

/// The error of an operation on the store in this file; one fault may be the error of many.
pub(super) fn from_sqlite<F: Fault>(path: &Path, operation: &'static str, error: Arc<F>) -> Error {
    let file = path.display();
    let extended = error.code();
    let full = || {
        Error::new(
            ErrorKind::Exhausted,
            format!("the disk of {file} is full; nothing that was stored is lost"),
        )
        .help("free some space on that file system, then try again")
    };
    let built = match extended.map(|code| code & 0xff) {
        _ if extended == Some(code::IO_SHARED_MEMORY_SIZE) => full(),
        Some(code::FULL) => full(),
        Some(code::BUSY | code::LOCKED) => {
            Error::new(ErrorKind::Unavailable, format!("another process keeps {file} locked"))
                .help("wait until it is done, or find it: `fuser` or `lsof` on that file names it")
        }
        Some(code::READ_ONLY) => {
            Error::new(ErrorKind::PermissionDenied, format!("{file} may not be written"))
                .help("check the owner and the mode of the file and of its folder, or open another home")
        }
        Some(code::CANNOT_OPEN) => {
            Error::new(ErrorKind::PermissionDenied, format!("{file} cannot be opened or created"))
                .help("check the owner and the mode of the file and of its folder, or open another home")
        }
        Some(code::NOT_A_DATABASE) => not_a_store(path, "it is not a SQLite database"),
        Some(code::CORRUPT) => Error::new(ErrorKind::Invalid, format!("{file} is damaged"))
            .help(format!("put a backup in its place, or save what can be read: sqlite3 {file} .recover")),
        Some(code::IO) => Error::new(ErrorKind::Io, format!("the disk of {file} failed or is full"))
            .help("check its space and the system's log, then try again"),
        Some(code::TOO_BIG) => Error::invalid("status", "the object is too large to be stored")
            .help("write large results to a file and log it as an artifact"),
        _ => Error::internal(format!("the store in {file} failed: {error}")),
    };
    built.operation(operation).source(error)
}

/// The file is something else; it is left alone.
pub(super) fn not_a_store(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} is not a store: {why}", path.display()))
        .help("it was left as it is; move it away, or open another home")
}

/// The store was closed, or its runtime has ended.
pub(super) fn closed(path: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the store in {} is closed", path.display()))
        .help("open it again; a store lives as long as the runtime in which it was opened")
}

/// What is stored is not what this program writes.
pub(super) fn unreadable(path: &Path, what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} in {} cannot be read: {error}", path.display()))
        .help("was the file changed by another program? the record itself is JSON in the column `body`")
        .source(error)
}

/// The file's tables cannot be brought to what this program needs.
pub(super) fn from_migrate(path: &Path, error: MigrateError) -> Error {
    let file = path.display();
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            from_sqlx(path, "store.open", error)
        }
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => Error::new(
            ErrorKind::Unsupported,
            format!("the tables of {file} (version {version}) are not those of this program"),
        )
        .help("use the program that wrote it, or open another home"),
        error => Error::internal(format!("the tables of {file} cannot be made: {error}")).source(error),
    }
    .operation("store.open")
}
