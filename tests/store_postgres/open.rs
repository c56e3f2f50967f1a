//! Opening: what is wrong is named, with what to do, and never with a password.

use runtime_core::{Error, ErrorKind, Store, run::RunKey};
use runtimes::store::PostgresStore;
use sqlx::Executor;

use super::{connect, create, record, server::Server};

async fn refused(url: &str) -> Error {
    match PostgresStore::connect(url).await {
        Ok(_) => panic!("{url} must be refused"),
        Err(error) => {
            assert!(error.help_text().is_some(), "what to do: {error}");
            assert_eq!(error.operation_name(), "store.open");
            let everything = format!("{error:?} {:?}", std::error::Error::source(&error));
            assert!(!everything.contains("hunter2"), "a password is shown: {everything}");
            error
        }
    }
}

fn expect(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
}

#[tokio::test]
async fn a_wrong_address_is_named() {
    let error = refused("postgres://me:hunter2@127.0.0.1:1/ml").await;
    expect(
        &error,
        ErrorKind::Unavailable,
        &["database \"ml\" at 127.0.0.1:1", "refused", "is the server running"],
    );
    let error = refused("postgres://me:hunter2@/ml?host=/nowhere").await;
    expect(&error, ErrorKind::Unavailable, &["at /nowhere", "No such file"]);
    let error = refused("mysql://me:hunter2@127.0.0.1/ml").await;
    expect(&error, ErrorKind::Invalid, &["its scheme is \"mysql\"", "postgres://USER@HOST"]);
}

#[tokio::test]
async fn what_the_server_refuses_is_named() {
    let Some(server) = Server::shared() else { return };
    let mut admin = connect(&server.url("postgres")).await;
    for sql in [
        "CREATE ROLE guarded LOGIN PASSWORD 'right'",
        "CREATE ROLE locked NOLOGIN",
        "CREATE ROLE guest LOGIN",
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
    ] {
        admin.execute(sql).await.unwrap();
    }
    let error = refused(&server.url("nothere")).await;
    expect(&error, ErrorKind::NotFound, &["no database \"nothere\"", "createdb nothere"]);
    let guarded = server.url("postgres").replace("test@", "guarded:hunter2@");
    let error = refused(&guarded).await;
    expect(
        &error,
        ErrorKind::PermissionDenied,
        &["does not accept the password of \"guarded\"", "PGPASSWORD"],
    );
    let error = refused(&server.url("postgres").replace("test@", "locked@")).await;
    expect(&error, ErrorKind::PermissionDenied, &["does not let \"locked\" in"]);
    let error = refused(&server.url("postgres").replace("test@", "guest@")).await;
    expect(
        &error,
        ErrorKind::PermissionDenied,
        &["\"guest\" may not", "GRANT CREATE ON DATABASE postgres TO guest"],
    );
    let error = refused(&server.url("latin")).await;
    expect(&error, ErrorKind::Unsupported, &["has the encoding LATIN1", "--encoding=UTF8"]);
    let error = refused(&format!("{}&sslmode=require", server.url("postgres"))).await;
    assert!(error.to_string().contains("TLS"), "{error}");

    admin.execute("GRANT CREATE ON DATABASE postgres TO guarded").await.unwrap();
    let right = format!("{}&schema=of_guarded", guarded.replace("hunter2", "right"));
    PostgresStore::connect(&right).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn what_was_stored_is_there_when_it_is_opened_again() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh();
    let store = PostgresStore::connect(&url).await.unwrap();
    let run = create(&store, record("aa")).await;
    store.close().await.unwrap();
    let (_, schema) = url.split_once("schema=").unwrap();
    let writers = format!("SELECT name FROM {schema}.writers");
    let mut admin = super::connect(&server.url("postgres")).await;
    assert_eq!(admin.fetch_all(sqlx::AssertSqlSafe(writers)).await.unwrap().len(), 0, "it left in order");
    let error = store.get_run(&run.run.key()).await.unwrap_err();
    expect(&error, ErrorKind::Unavailable, &["is closed"]);
    let error = store.create_run(&record("bb")).await.unwrap_err();
    expect(&error, ErrorKind::Unavailable, &["is closed"]);
    let store = PostgresStore::connect(&url).await.unwrap();
    assert_eq!(store.get_run(&RunKey::new("aa")).await.unwrap(), Some(run));
}

#[tokio::test]
async fn tables_of_others_and_of_newer_versions_are_left_alone() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh();
    PostgresStore::connect(&url).await.unwrap().close().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', TRUE, 'x', 0)";
    connect(&url).await.execute(newer).await.unwrap();
    let error = refused(&url).await;
    expect(&error, ErrorKind::Unsupported, &["newer version of this program", "version 9999", "?schema="]);

    let url = format!("{}&schema=others", server.url("postgres"));
    let mut other = connect(&url).await;
    other.execute("CREATE SCHEMA others").await.unwrap();
    other.execute("CREATE TABLE runs (distance int)").await.unwrap();
    let error = refused(&url).await;
    expect(&error, ErrorKind::Invalid, &["the schema `others`", "another program"]);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'others'")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(kept, 1, "nothing is left of the attempt");
}

#[tokio::test]
async fn a_record_that_somebody_broke_is_named() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh();
    let store = PostgresStore::connect(&url).await.unwrap();
    create(&store, record("aa")).await;
    connect(&url).await.execute("UPDATE runs SET body = '{\"metadata\": 3}'").await.unwrap();
    let error = store.get_run(&RunKey::new("aa")).await.unwrap_err();
    expect(&error, ErrorKind::Invalid, &["run aa in"]);
}

#[tokio::test]
async fn commits_are_durable_whatever_the_default_is() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh();
    let mut admin = connect(&url).await;
    admin.execute("CREATE ROLE hasty SUPERUSER LOGIN").await.unwrap();
    admin.execute("ALTER ROLE hasty SET synchronous_commit = off").await.unwrap();
    let store = PostgresStore::connect(&url.replace("test@", "hasty@")).await.unwrap();
    // The store says in which mode it writes.
    let trap = "CREATE FUNCTION mode() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                new.name = current_setting('synchronous_commit'); RETURN new; END $$";
    let mut somebody = connect(&url).await;
    somebody.execute(trap).await.unwrap();
    somebody
        .execute("CREATE TRIGGER mode BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION mode()")
        .await
        .unwrap();
    create(&store, record("aa")).await;
    let mode: String = sqlx::query_scalar("SELECT name FROM runs").fetch_one(&mut somebody).await.unwrap();
    assert_eq!(mode, "on");
}
