//! SQLite as the writer sees it: patient with other processes, which it finds out about by looking.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime_core::Error;
use sqlx::{Connection, SqliteConnection, query_scalar};
use tokio::sync::watch;

use super::{
    batch::commit,
    connect::{PATIENCE, pause},
    error::{from_sqlx, is_about_data, is_busy, is_orphan},
    statement::Statements,
};
use crate::store::writer::{Counts, Engine, Request};

/// How often to look whether another process changed the store, while somebody wants to know.
const LOOK: Duration = Duration::from_millis(100);

/// The connection that writes.
pub(super) struct SqliteEngine {
    path: Arc<Path>,
    connection: SqliteConnection,
    statements: Statements,
    /// What was seen at the last look.
    version: Option<i64>,
}

impl SqliteEngine {
    pub(super) fn new(path: Arc<Path>, connection: SqliteConnection) -> Self {
        Self { path, connection, statements: Statements::new(), version: None }
    }

    /// A number that changes with the commits of others, and not with those of this connection.
    async fn version(&mut self) -> Option<i64> {
        query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await.ok()
    }
}

impl Engine for SqliteEngine {
    const OWN_THREAD: bool = true;

    /// Commits a batch, again while another process is in the way.
    async fn commit(&mut self, batch: &[Request]) -> sqlx::Result<Counts> {
        let started = Instant::now();
        loop {
            match commit(&mut self.connection, &self.statements, batch).await {
                Err(error) if is_busy(&error) && started.elapsed() < PATIENCE => pause().await,
                result => return result,
            }
        }
    }

    fn is_about_data(error: &sqlx::Error) -> bool {
        is_about_data(error)
    }

    fn is_orphan(error: &sqlx::Error) -> bool {
        is_orphan(error)
    }

    fn error(&self, operation: &'static str, error: Arc<sqlx::Error>) -> Error {
        from_sqlx(&self.path, operation, error)
    }

    async fn watch(&mut self, _: &Arc<watch::Sender<u64>>) -> Option<Duration> {
        self.version = self.version().await;
        Some(LOOK)
    }

    async fn look(&mut self) -> bool {
        let seen = self.version().await;
        std::mem::replace(&mut self.version, seen) != seen
    }

    async fn close(self) -> sqlx::Result<()> {
        self.connection.close().await
    }
}
