//! What PostgreSQL says, in words that help: which server, what is wrong with it, what to do. Never a password.

use std::sync::Arc;

use runtime_core::{Error, ErrorKind};
use sqlx::migrate::MigrateError;

use super::server::Server;

/// The SQLSTATE of an error, where it came from the server.
fn state_of(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether the connection is of no use any more, or never was: the same may succeed on another.
pub(super) fn is_gone(error: &sqlx::Error) -> bool {
    match state_of(error).as_deref() {
        Some("57P01" | "57P02" | "57P03" | "53300") => true,
        Some(state) => state.starts_with("08"),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut),
    }
}

/// Whether the same transaction may succeed when it is made again.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    is_gone(error) || matches!(state_of(error).as_deref(), Some("40001" | "40P01" | "55P03"))
}

/// Whether the fault is in what was written, and not in the server or the way to it.
pub(super) fn is_about_data(error: &sqlx::Error) -> bool {
    match state_of(error) {
        Some(state) => ["22", "23", "54"].iter().any(|class| state.starts_with(class)) || state == "P0001",
        None => matches!(error, sqlx::Error::Encode(_)),
    }
}

/// Whether what was written belongs to something that is not there.
pub(super) fn is_orphan(error: &sqlx::Error) -> bool {
    state_of(error).as_deref() == Some("23503")
}

/// The error of an operation on the store of this server; one fault may be the error of many.
pub(super) fn from_sqlx(
    server: &Server,
    operation: &'static str,
    error: impl Into<Arc<sqlx::Error>>,
) -> Error {
    let error = error.into();
    let built = match state_of(&error) {
        Some(state) => from_state(server, &state, &error),
        None => from_connection(server, &error),
    };
    built.operation(operation).source(error)
}

fn from_state(server: &Server, state: &str, error: &sqlx::Error) -> Error {
    let said = error.as_database_error().map(ToString::to_string).unwrap_or_default();
    let (user, address) = (server.user(), server.address());
    match state {
        "28P01" => Error::new(
            ErrorKind::PermissionDenied,
            format!("the server at {address} does not accept the password of {user:?}"),
        )
        .help("give the right one in PGPASSWORD, in ~/.pgpass, or in RUNTIMES_STORE"),
        "28000" => Error::new(
            ErrorKind::PermissionDenied,
            format!("the server at {address} does not let {user:?} in: {said}"),
        )
        .help("name another user in the URL, or let this one in (pg_hba.conf, CREATE ROLE ... LOGIN)"),
        "3D000" => Error::not_found(format!("there is no database {:?} at {address}", server.database()))
            .help(format!("make it: createdb {}", server.database())),
        "42501" => Error::new(
            ErrorKind::PermissionDenied,
            format!("{user:?} may not do that in the {server}: {said}"),
        )
        .help(format!(
            "grant it: GRANT CREATE ON DATABASE {} TO {user}, or make the schema `{}` for it",
            server.database(),
            server.schema
        )),
        "42P07" | "42723" => Error::new(
            ErrorKind::Invalid,
            format!("the schema `{}` of the {server} has tables of another program: {said}", server.schema),
        )
        .help("it was left as it was; name another `?schema=` in the URL"),
        "53100" => Error::new(
            ErrorKind::Exhausted,
            format!("the disk of the {server} is full; nothing that was stored is lost"),
        )
        .help("free some space there, then try again"),
        "53300" => Error::new(ErrorKind::Unavailable, format!("the {server} has no connection left: {said}"))
            .help("raise max_connections there, or let fewer programs use it; each takes up to six"),
        "25006" => Error::new(ErrorKind::Unavailable, format!("the {server} may only be read at the moment"))
            .help("is it a standby? name the primary in the URL"),
        _ if state.starts_with("54") => Error::invalid("status", format!("the object is too large: {said}"))
            .help("write large results to a file and log it as an artifact"),
        _ if is_gone(error) => away(server, &said),
        _ => Error::internal(format!("the store in the {server} failed: {said} (SQLSTATE {state})")),
    }
}

fn from_connection(server: &Server, error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => closed(server),
        sqlx::Error::PoolTimedOut => away(server, "no connection came about in time"),
        sqlx::Error::Io(error) => away(server, &error.to_string()),
        sqlx::Error::Tls(error) => {
            let build =
                if cfg!(feature = "tls") { "" } else { "; this build has no TLS: enable the feature `tls`" };
            Error::new(ErrorKind::Unavailable, format!("no TLS with {}: {error}{build}", server.address()))
                .help("see `sslmode` and `sslrootcert` in the URL, or PGSSLMODE and PGSSLROOTCERT")
        }
        error => Error::internal(format!("the store in the {server} failed: {error}")),
    }
}

fn away(server: &Server, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the {server} cannot be reached: {why}"))
        .help("is the server running, and are host and port right? nothing that was stored is lost")
}

/// The store was closed, or its runtime has ended.
pub(super) fn closed(server: &Server) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the store in the {server} is closed"))
        .help("open it again; a store lives as long as the runtime in which it was opened")
}

/// What is stored is not what this program writes.
pub(super) fn unreadable(server: &Server, what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} in the {server} cannot be read: {error}"))
        .help("was it changed by another program? the record itself is JSON in the column `body`")
        .source(error)
}

/// The tables cannot be brought to what this program needs.
pub(super) fn from_migrate(server: &Server, error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            from_sqlx(server, "store.open", error)
        }
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => Error::new(
            ErrorKind::Unsupported,
            format!("the tables of the {server} (version {version}) are not those of this program"),
        )
        .help("use the program that made them, or another `?schema=` in the URL"),
        error => Error::internal(format!("the tables of the {server} cannot be made: {error}")).source(error),
    }
    .operation("store.open")
}

/// The tables are of a later version of this program.
pub(super) fn newer(server: &Server, found: i64, known: i64) -> Error {
    let message = format!(
        "the schema `{}` of the {server} was written by a newer version of this program: its tables have version \
         {found}, this one knows {known}",
        server.schema
    );
    Error::new(ErrorKind::Unsupported, message)
        .help("use the newer version, or another `?schema=` in the URL")
        .operation("store.open")
}
