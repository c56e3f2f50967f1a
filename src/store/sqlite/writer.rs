//! The one that writes: a task that takes whatever waits, commits it in one transaction, and then answers each.
//!
//! A durable commit costs one `fsync`, whether it carries one change or two hundred. While one commit is on its way
//! to the disk, the next batch gathers: the more callers, the larger the batches, without any waiting on purpose.

use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime_core::{Error, Result, run::RunKey};
use sqlx::{Connection, SqliteConnection, query_scalar};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::warn;

use super::{
    batch::{Counts, commit, first_count},
    connect::{PATIENCE, pause},
    documents::{DocumentRow, Which},
    error::{from_sqlx, is_about_data, is_busy, is_orphan},
    row::RunRow,
    statement::{FunctionRow, Statements},
};

/// The most changes of one transaction.
pub(super) const MAX_BATCH: usize = 256;

/// How often the writer steps back for callers that are about to ask.
const YIELDS: usize = 2;

/// How often to look whether another process changed the store, while somebody wants to know.
const LOOK: Duration = Duration::from_millis(100);

/// A change of the store. The answer counts what it changed: 0 says that a condition did not hold.
pub(super) enum Write {
    CreateRun(RunRow),
    UpdateRun(RunRow),
    UpdateRunWith(RunRow, Vec<DocumentRow>),
    DeleteRun(RunKey),
    PutFunction(FunctionRow),
    DeleteFunction {
        project: String,
        name: String,
    },
    PutDocument(DocumentRow),
    DeleteDocument(Which),
    /// The last one: nothing is written after it.
    Close,
}

impl Write {
    /// The run that it is about. One transaction has no two changes of one run, so their order cannot matter.
    fn run(&self) -> Option<&RunKey> {
        match self {
            Self::CreateRun(row) | Self::UpdateRun(row) | Self::UpdateRunWith(row, _) => Some(&row.key),
            Self::DeleteRun(key) => Some(key),
            _ => None,
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::CreateRun(_) => "store.create_run",
            Self::UpdateRun(_) | Self::UpdateRunWith(..) => "store.update_run",
            Self::DeleteRun(_) => "store.delete_run",
            Self::PutFunction(_) => "store.put_function",
            Self::DeleteFunction { .. } => "store.delete_function",
            Self::PutDocument(_) => "store.put_document",
            Self::DeleteDocument(_) => "store.delete_document",
            Self::Close => "store.close",
        }
    }

    /// The document whose run is not there, where that is what is wrong.
    fn orphan(&self) -> Option<Error> {
        match self {
            Self::PutDocument(row) => Some(row.orphaned()),
            Self::UpdateRunWith(run, rows) => {
                rows.iter().find(|row| row.is_of_another_than(&run.key)).map(DocumentRow::orphaned)
            }
            _ => None,
        }
    }
}

/// A change, and who waits for it.
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) answer: oneshot::Sender<Result<u64>>,
}

/// The writer's end of the store.
pub(super) struct Writer {
    pub(super) path: Arc<Path>,
    pub(super) connection: SqliteConnection,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) changes: Arc<watch::Sender<u64>>,
    /// Somebody wants to be told of changes.
    pub(super) subscribed: Arc<Notify>,
    pub(super) statements: Statements,
}

/// While somebody wants to be told: when to look, and what was seen last.
struct Watching {
    every: Interval,
    version: Option<i64>,
}

impl Writer {
    /// Writes until it is told to close, or nobody can ask any more.
    pub(super) async fn run(mut self) {
        let mut watching: Option<Watching> = None;
        let mut held = None;
        let mut last = 1;
        loop {
            let first = tokio::select! {
                biased;
                Some(request) = async { held.take() } => request,
                request = self.requests.recv() => match request {
                    Some(request) => request,
                    None => break,
                },
                () = self.subscribed.notified(), if watching.is_none() => {
                    watching = Some(self.start_watching().await);
                    continue;
                }
                () = due(&mut watching) => {
                    watching = self.look(watching).await;
                    continue;
                }
            };
            if matches!(first.write, Write::Close) {
                let closed = self.connection.close().await;
                let _ = first
                    .answer
                    .send(closed.map(|()| 1).map_err(|error| from_sqlx(&self.path, "store.close", error)));
                return;
            }
            let batch;
            (batch, held) = gather(&mut self.requests, first, last).await;
            last = batch.len();
            self.write(batch).await;
        }
        if let Err(error) = self.connection.close().await {
            warn!(%error, path = %self.path.display(), "the store was not closed cleanly; nothing is lost");
        }
    }

    /// Writes a batch and answers everybody in it.
    async fn write(&mut self, batch: Vec<Request>) {
        let done = match self.patiently(&batch).await {
            // One of them cannot be stored: the others must not suffer, so each goes alone.
            Err(error) if batch.len() > 1 && is_about_data(&error) => {
                let mut done = Vec::with_capacity(batch.len());
                for request in &batch {
                    let alone = self.patiently(std::slice::from_ref(request)).await;
                    done.push(
                        alone.map_or_else(|error| Err(self.failed(request, Arc::new(error))), first_count),
                    );
                }
                done
            }
            Err(error) => {
                let error = Arc::new(error);
                batch.iter().map(|request| Err(self.failed(request, Arc::clone(&error)))).collect()
            }
            Ok(counts) => counts,
        };
        // First the bell, then the answers: who has an answer has also been told.
        if done.iter().any(|count| matches!(count, Ok(1..))) {
            self.changes.send_modify(|count| *count += 1);
        }
        for (request, result) in batch.into_iter().zip(done) {
            // Who does not wait any more does not need the answer.
            let _ = request.answer.send(result);
        }
    }

    fn failed(&self, request: &Request, error: Arc<sqlx::Error>) -> Error {
        if is_orphan(&error)
            && let Some(orphan) = request.write.orphan()
        {
            return orphan;
        }
        from_sqlx(&self.path, request.write.operation(), error)
    }

    /// Commits a batch, again while another process is in the way.
    async fn patiently(&mut self, batch: &[Request]) -> sqlx::Result<Counts> {
        let started = Instant::now();
        loop {
            match commit(&mut self.connection, &self.statements, batch).await {
                Err(error) if is_busy(&error) && started.elapsed() < PATIENCE => pause().await,
                result => return result,
            }
        }
    }

    async fn start_watching(&mut self) -> Watching {
        let mut every = interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let version = self.version().await;
        // What happened before the first look is not known: let them look themselves.
        self.changes.send_modify(|count| *count += 1);
        Watching { every, version }
    }

    async fn look(&mut self, watching: Option<Watching>) -> Option<Watching> {
        let mut watching = watching.filter(|_| self.changes.receiver_count() > 0)?;
        let version = self.version().await;
        if version != watching.version {
            watching.version = version;
            self.changes.send_modify(|count| *count += 1);
        }
        Some(watching)
    }

    /// A number that changes with the commits of others, and not with those of this connection.
    async fn version(&mut self) -> Option<i64> {
        query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await.ok()
    }
}

/// When it is time to look at what others did; never, while nobody wants to know.
async fn due(watching: &mut Option<Watching>) {
    match watching {
        Some(watching) => drop(watching.every.tick().await),
        None => std::future::pending().await,
    }
}

/// Takes whatever waits: the batch, and the request with which the next one begins.
async fn gather(
    requests: &mut mpsc::Receiver<Request>,
    first: Request,
    last: usize,
) -> (Vec<Request>, Option<Request>) {
    let mut batch = Vec::with_capacity(last);
    let mut runs: HashSet<RunKey> = first.write.run().cloned().into_iter().collect();
    batch.push(first);
    let mut yields = YIELDS;
    while batch.len() < MAX_BATCH {
        match requests.try_recv() {
            Ok(next) => {
                let together = match next.write.run() {
                    Some(key) => runs.insert(key.clone()),
                    None => !matches!(next.write, Write::Close),
                };
                if !together {
                    return (batch, Some(next));
                }
                batch.push(next);
            }
            // Those who were answered a moment ago are about to ask again: let them run first.
            Err(_) if batch.len() < last && yields > 0 => {
                yields -= 1;
                tokio::task::yield_now().await;
            }
            Err(_) => break,
        }
    }
    (batch, None)
}
