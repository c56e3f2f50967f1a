//! Opening: a server that will do, and tables of the right version.

use std::time::{Duration, Instant};

use runtime_core::{Error, ErrorKind, Result};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgPoolOptions,
    query, query_scalar,
};

use super::{
    error::{from_migrate, from_sqlx, newer},
    server::Server,
    writers,
};

/// How many lists and look-ups run at the same time.
const READERS: u32 = 4;

/// How long a connection may take to come about.
pub(super) const CONNECTING: Duration = Duration::from_secs(10);

/// The oldest server that will do: those before 13 are not kept up by their makers.
const OLDEST: i32 = 130_000;

/// Who makes the tables holds this lock ("RUNT").
const MAKING_TABLES: i64 = 0x5255_4e54;

/// The schema, oldest first: (version, name, SQL). A version that was released is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "functions, runs, documents", include_str!("migrations/0001_functions_runs_documents.sql")),
    (2, "topics, and lists without iterations", include_str!("migrations/0002_topics_and_iterations.sql")),
    (3, "writers", include_str!("migrations/0003_writers.sql")),
];

/// A connection that writes, to tables that are up to date.
pub(super) async fn open(server: &Server) -> Result<PgConnection> {
    let failed = |error| from_sqlx(server, "store.open", error);
    let mut connection = starting(server).await.map_err(failed)?;
    let (version, encoding): (i32, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(failed)?;
    if version < OLDEST {
        return Err(unsupported(
            format!("the {server} has version {}", version / 10_000),
            "13 or later will do",
        ));
    }
    if encoding != "UTF8" {
        let help =
            format!("make another: createdb --encoding=UTF8 --template=template0 {}", server.database());
        return Err(unsupported(format!("the {server} has the encoding {encoding}"), &help));
    }
    migrate(&mut connection, server).await?;
    writers::forget_old(&mut connection).await.map_err(failed)?;
    Ok(connection)
}

/// A connection, as soon as a server that is just starting takes one.
async fn starting(server: &Server) -> sqlx::Result<PgConnection> {
    let started = Instant::now();
    loop {
        match connect(server).await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some("57P03") && started.elapsed() < CONNECTING =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result,
        }
    }
}

/// A connection whose commits are durable, whatever the server's default is.
pub(super) async fn connect(server: &Server) -> sqlx::Result<PgConnection> {
    let connecting = async {
        let mut connection = server.options.connect().await?;
        let durable = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'";
        connection.execute(durable).await?;
        Ok(connection)
    };
    tokio::time::timeout(CONNECTING, connecting).await.unwrap_or_else(|_| Err(timed_out()))
}

/// What took too long.
pub(super) fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"))
}

/// Connections that read.
pub(super) fn readers(server: &Server) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(CONNECTING)
        .test_before_acquire(false)
        .connect_lazy_with(server.options.clone())
}

/// Brings the tables up to date, in one transaction that only one program at a time can be in.
async fn migrate(connection: &mut PgConnection, server: &Server) -> Result<()> {
    let failed = |error| from_sqlx(server, "store.open", error);
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    match applied(connection).await.map_err(failed)? {
        Some(version) if version == newest => return Ok(()),
        Some(version) if version > newest => return Err(newer(server, version, newest)),
        _ => {}
    }
    let mut transaction = connection.begin().await.map_err(failed)?;
    let lock = query("SELECT pg_advisory_xact_lock($1)").bind(MAKING_TABLES);
    lock.execute(&mut *transaction).await.map_err(failed)?;
    // Somebody else may have done it meanwhile.
    if let Some(version) =
        applied(&mut transaction).await.map_err(failed)?.filter(|version| *version > newest)
    {
        return Err(newer(server, version, newest));
    }
    let known = query_scalar::<_, bool>("SELECT to_regnamespace($1) IS NOT NULL").bind(&server.schema);
    if !known.fetch_one(&mut *transaction).await.map_err(failed)? {
        let create = format!("CREATE SCHEMA \"{}\"", server.schema);
        transaction.execute(AssertSqlSafe(create)).await.map_err(failed)?;
    }
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), true)
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.set_locking(false);
    // `run` is the same, but its future could not move between threads.
    let done = migrator.run_direct(None, &mut *transaction, false).await;
    done.map_err(|error| from_migrate(server, error))?;
    transaction.commit().await.map_err(failed)
}

/// The version of the tables; `None` where there are none.
async fn applied(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    let known: bool = query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(None);
    }
    query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut *connection).await
}

fn unsupported(what: String, help: &str) -> Error {
    Error::new(ErrorKind::Unsupported, what).help(help).operation("store.open")
}
