//! SQLite as the writer sees it: patient with other processes, which it finds out about by looking.
//!
//! SQLite works in the writer's own thread: a change is written where it arrives, and not handed on once more.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime_core::Error;
use rusqlite::Connection;
use tokio::sync::watch;

use super::{
    batch::commit,
    connect::{PATIENCE, pause},
    error::{Fault, from_sqlite, is_about_data, is_orphan},
};
use crate::store::writer::{Counts, Engine, Request};

/// How often to look whether another process changed the store, while somebody wants to know.
const LOOK: Duration = Duration::from_millis(100);

/// The connection that writes.
pub(super) struct SqliteEngine {
    path: Arc<Path>,
    connection: Connection,
    /// What was seen at the last look.
    version: Option<i64>,
}

impl SqliteEngine {
    pub(super) fn new(path: Arc<Path>, connection: Connection) -> Self {
        Self { path, connection, version: None }
    }

    /// A number that changes with the commits of others, and not with those of this connection.
    fn version(&self) -> Option<i64> {
        self.connection.pragma_query_value(None, "data_version", |row| row.get(0)).ok()
    }
}

impl Engine for SqliteEngine {
    type Fault = rusqlite::Error;

    const BLOCKS: bool = true;

    /// Commits a batch, again while another process is in the way.
    async fn commit(&mut self, batch: &[Request]) -> rusqlite::Result<Counts> {
        let started = Instant::now();
        loop {
            match commit(&self.connection, batch) {
                Err(error) if error.is_busy() && started.elapsed() < PATIENCE => pause().await,
                result => return result,
            }
        }
    }

    fn is_about_data(error: &rusqlite::Error) -> bool {
        is_about_data(error)
    }

    fn is_orphan(error: &rusqlite::Error) -> bool {
        is_orphan(error)
    }

    fn error(&self, operation: &'static str, error: Arc<rusqlite::Error>) -> Error {
        from_sqlite(&self.path, operation, error)
    }

    async fn watch(&mut self, _: &Arc<watch::Sender<u64>>) -> Option<Duration> {
        self.version = self.version();
        Some(LOOK)
    }

    async fn look(&mut self) -> bool {
        let seen = self.version();
        std::mem::replace(&mut self.version, seen) != seen
    }

    async fn close(self) -> rusqlite::Result<()> {
        self.connection.close().map_err(|(_, error)| error)
    }
}
