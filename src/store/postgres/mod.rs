//! The store in a PostgreSQL database: for several orchestrators, on one machine or many.

mod batch;
mod connect;
mod documents;
mod engine;
mod error;
mod listen;
mod query;
mod read;
mod server;
mod text;
mod writers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use runtime_core::{
    Error, Result,
    run::RunKey,
    store::{Document, DocumentFilter, FunctionRecord, RunFilter, RunRecord, Version, refusal},
};
use sqlx::{PgPool, Postgres as Db, QueryBuilder, Row, postgres::PgRow};

use self::{engine::PostgresEngine, error::from_sqlx, read::Reader, server::Server};
use super::database::{Database, DatabaseStore};

/// How long a question is asked again while the server is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// The store in a PostgreSQL database (13 or later), in a schema of its own.
///
/// What a method has said is durable on the server. Any number of programs may use the same database; each hears of the
/// others' changes at once. A server that restarts is waited for, for some seconds, and a change is made once even
/// where the connection broke before its answer came.
pub type PostgresStore = DatabaseStore<Postgres>;

/// A PostgreSQL database that is asked.
pub struct Postgres {
    server: Arc<Server>,
    readers: PgPool,
}

impl PostgresStore {
    /// Opens the store in the database of this URL: `postgres://USER@HOST:PORT/DATABASE`, with `?schema=NAME` where the
    /// tables are to be in another schema than `runtimes`. Makes the schema and the tables where there are none. What
    /// the URL leaves out, a password above all, comes from `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE` and
    /// the file `~/.pgpass`.
    ///
    /// # Errors
    /// When the URL is wrong, the server cannot be reached or does not let the user in, there is no such database, or
    /// its tables are those of a newer version of this program. No error quotes a password.
    pub async fn connect(url: &str) -> Result<Self> {
        let server = Arc::new(Server::parse(url)?);
        let connection = connect::open(&server).await?;
        let readers = connect::readers(&server);
        let engine = PostgresEngine::new(Arc::clone(&server), connection);
        Self::start(Postgres { server, readers }, engine)
    }
}

impl Postgres {
    /// The answer to a question; asked again while the server is away for a moment.
    async fn ask(
        &self,
        operation: &'static str,
        question: impl Fn() -> QueryBuilder<Db> + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        let started = Instant::now();
        loop {
            let mut sql = question();
            match sql.build().fetch_all(&self.readers).await {
                Ok(rows) => return Ok(rows),
                Err(error) if error::is_gone(&error) && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(from_sqlx(&self.server, operation, error)),
            }
        }
    }

    fn reader(&self, operation: &'static str) -> Reader<'_> {
        Reader { server: &self.server, operation }
    }

    /// The hash that is meant by its beginning; a whole hash means itself.
    async fn whole_hash(&self, project: &str, name: &str, prefix: &str) -> Result<Option<String>> {
        const OPERATION: &str = "store.get_function";
        let rows = self.ask(OPERATION, || query::hashes(project, name, prefix)).await?;
        let hashes = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<sqlx::Result<Vec<_>>>();
        let mut hashes = hashes.map_err(|error| from_sqlx(&self.server, OPERATION, error))?;
        match &hashes[..] {
            [] => Ok(None),
            [first, _, ..] if first != prefix => Err(refusal::ambiguous(prefix, &hashes)),
            _ => Ok(Some(hashes.remove(0))),
        }
    }
}

#[async_trait]
impl Database for Postgres {
    fn closed(&self) -> Error {
        error::closed(&self.server)
    }

    async fn run(&self, operation: &'static str, key: &RunKey) -> Result<Option<RunRecord>> {
        let rows = self.ask(operation, || query::run(key)).await?;
        rows.first().map(|row| self.reader(operation).run(row)).transpose()
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        const OPERATION: &str = "store.list_runs";
        let rows = self.ask(OPERATION, || query::runs(filter)).await?;
        rows.iter().map(|row| self.reader(OPERATION).run(row)).collect()
    }

    async fn function(&self, project: &str, name: &str, version: &Version) -> Result<Option<FunctionRecord>> {
        const OPERATION: &str = "store.get_function";
        let (version, tag) = match version {
            Version::Tag(tag) => (version.clone(), tag.as_str()),
            Version::Hash(prefix) => match self.whole_hash(project, name, prefix).await? {
                Some(hash) => (Version::Hash(hash), ""),
                None => return Ok(None),
            },
        };
        let rows = self.ask(OPERATION, || query::function(project, name, &version)).await?;
        rows.first().map(|row| self.reader(OPERATION).function(row, tag)).transpose()
    }

    async fn functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        const OPERATION: &str = "store.list_functions";
        let rows = self.ask(OPERATION, || query::functions(project, all_versions)).await?;
        rows.iter().map(|row| self.reader(OPERATION).function(row, "")).collect()
    }

    async fn document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        const OPERATION: &str = "store.get_document";
        let rows = self.ask(OPERATION, || query::document(kind, project, name)).await?;
        rows.first().map(|row| self.reader(OPERATION).document(row)).transpose()
    }

    async fn documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        const OPERATION: &str = "store.list_documents";
        let rows = self.ask(OPERATION, || query::documents(filter)).await?;
        rows.iter().map(|row| self.reader(OPERATION).document(row)).collect()
    }

    async fn close(&self) {
        self.readers.close().await;
    }
}
