//! PostgreSQL as the writer sees it: a connection that is made again when it breaks, and no change made twice for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use runtime_core::Error;
use sqlx::{Connection, Executor, PgConnection};
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use super::{
    batch, connect,
    error::{from_sqlx, is_about_data, is_gone, is_orphan, is_passing},
    listen::listen,
    server::Server,
    writers,
};
use crate::store::writer::{Counts, Engine, Request};

/// How long a server that is away is asked again before those who wait are told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one transaction may take.
const ONE: Duration = Duration::from_secs(20);

/// How long to wait before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// The connection that writes.
pub(super) struct PostgresEngine {
    server: Arc<Server>,
    connection: Option<PgConnection>,
    /// What was sent to be committed and is not answered yet.
    pending: Option<Pending>,
    /// By this name others know whose change they are told of, and it asks after its own.
    name: String,
    /// How many transactions it has begun to commit.
    batch: i64,
    listener: Option<AbortHandle>,
}

/// A transaction of which it is not known whether it was committed.
struct Pending {
    batch: i64,
    counts: Counts,
}

impl PostgresEngine {
    pub(super) fn new(server: Arc<Server>, connection: PgConnection) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self { server, connection: Some(connection), pending: None, name, batch: 0, listener: None }
    }

    async fn connection(&mut self) -> sqlx::Result<&mut PgConnection> {
        Ok(match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect::connect(&self.server).await?),
        })
    }

    /// One transaction. Where it fails after the commit was sent, what became of it is left in `pending`.
    async fn attempt(&mut self, batch: &[Request]) -> sqlx::Result<Counts> {
        self.batch += 1;
        let (name, number, channel) = (self.name.clone(), self.batch, self.server.channel());
        let connection = self.connection().await?;
        connection.execute("BEGIN").await?;
        let written = async {
            let counts = batch::write(connection, batch).await?;
            if counts.iter().any(|count| matches!(count, Ok(1..))) {
                writers::sign(connection, &name, number, channel).await?;
            }
            Ok(counts)
        };
        let counts = match written.await {
            Ok(counts) => counts,
            Err(error) => {
                self.roll_back(&error).await;
                return Err(error);
            }
        };
        self.pending = Some(Pending { batch: number, counts });
        let committed = self.connection().await?.execute("COMMIT").await;
        match committed {
            Ok(_) => Ok(self.pending.take().map(|pending| pending.counts).unwrap_or_default()),
            Err(error) => {
                if !is_gone(&error) {
                    // The server said no: nothing was committed.
                    self.pending = None;
                    self.roll_back(&error).await;
                }
                Err(error)
            }
        }
    }

    async fn roll_back(&mut self, why: &sqlx::Error) {
        let connection = self.connection.take().filter(|_| !is_gone(why));
        if let Some(mut connection) = connection
            && connection.execute("ROLLBACK").await.is_ok()
        {
            self.connection = Some(connection);
        }
    }

    /// Asks, on a new connection, what became of the transaction whose commit was not answered; `None` where it was not
    /// committed, or none was sent.
    async fn outcome(&mut self, started: Instant) -> sqlx::Result<Option<Counts>> {
        let Some(pending) = self.pending.take() else { return Ok(None) };
        loop {
            let last = timeout(ONE, self.last()).await.unwrap_or_else(|_| Err(connect::timed_out()));
            match last {
                Ok(last) => return Ok((last == pending.batch).then_some(pending.counts)),
                Err(error) => {
                    self.connection = None;
                    if !is_passing(&error) || started.elapsed() > PATIENCE {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn last(&mut self) -> sqlx::Result<i64> {
        let name = self.name.clone();
        writers::last(self.connection().await?, &name).await
    }
}

impl Engine for PostgresEngine {
    type Fault = sqlx::Error;

    // Its connections belong to the runtime in which they were made.
    const BLOCKS: bool = false;

    /// Commits a batch; again, on another connection where need be, while the server is away for a moment. What was
    /// committed without an answer is not made again.
    async fn commit(&mut self, batch: &[Request]) -> sqlx::Result<Counts> {
        let started = Instant::now();
        loop {
            let fault = match timeout(ONE, self.attempt(batch)).await {
                Ok(Ok(counts)) => return Ok(counts),
                Ok(Err(fault)) => fault,
                Err(_) => connect::timed_out(),
            };
            if !is_passing(&fault) {
                return Err(fault);
            }
            if is_gone(&fault) {
                self.connection = None;
            }
            if let Some(counts) = self.outcome(started).await? {
                return Ok(counts);
            }
            if started.elapsed() > PATIENCE {
                return Err(fault);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn is_about_data(error: &sqlx::Error) -> bool {
        is_about_data(error)
    }

    fn is_orphan(error: &sqlx::Error) -> bool {
        is_orphan(error)
    }

    fn error(&self, operation: &'static str, error: Arc<sqlx::Error>) -> Error {
        from_sqlx(&self.server, operation, error)
    }

    async fn watch(&mut self, bell: &Arc<watch::Sender<u64>>) -> Option<Duration> {
        if self.listener.is_none() {
            let task = listen(Arc::clone(&self.server), self.name.clone(), Arc::downgrade(bell));
            self.listener = Some(tokio::spawn(task).abort_handle());
        }
        None
    }

    async fn look(&mut self) -> bool {
        false
    }

    async fn close(mut self) -> sqlx::Result<()> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let closed = async {
            writers::leave(&mut connection, &self.name).await?;
            connection.close().await
        };
        // That a server is gone is no reason not to leave.
        closed.await.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
    }
}
