//! The one that writes, a task or a thread: it takes whatever waits, commits it in one transaction, and then answers
//! each.
//!
//! A durable commit costs one `fsync`, whether it carries one change or two hundred. While one commit is on its way
//! to the disk, the next batch gathers: the more callers, the larger the batches, without any waiting on purpose.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use runtime_core::{Error, Result, run::RunKey, store::Version};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::warn;

use super::row::{DocumentRow, FunctionRow, RunRow, TagRow, Which};

/// The most changes of one transaction.
pub(super) const MAX_BATCH: usize = 256;

/// What each change of a batch came to, in the batch's order.
pub(super) type Counts = Vec<Result<u64>>;

/// A database as its writer sees it.
pub(super) trait Engine: Send + 'static {
    /// What goes wrong with the database.
    type Fault: std::error::Error + Send + Sync + 'static;

    /// Whether it blocks its thread while it works: then the writer has one for itself, and is no task beside others.
    const BLOCKS: bool;

    /// Makes all these changes durable, or none, however long the database is busy or away, within reason. A change
    /// whose condition does not hold counts 0 and hinders nobody.
    fn commit(&mut self, batch: &[Request]) -> impl Future<Output = Result<Counts, Self::Fault>> + Send;

    /// Whether the fault is in what was written, and not in the database or the way to it.
    fn is_about_data(error: &Self::Fault) -> bool;

    /// Whether what was written belongs to something that is not there.
    fn is_orphan(error: &Self::Fault) -> bool;

    /// The error of an operation; one fault may be the error of many.
    fn error(&self, operation: &'static str, error: Arc<Self::Fault>) -> Error;

    /// Somebody wants to be told of what others change: says how often to look, or `None` where looking is not
    /// needed, because the database itself rings the bell.
    fn watch(&mut self, bell: &Arc<watch::Sender<u64>>) -> impl Future<Output = Option<Duration>> + Send;

    /// Whether others changed something since the last look.
    fn look(&mut self) -> impl Future<Output = bool> + Send;

    /// Lets go of the database.
    fn close(self) -> impl Future<Output = Result<(), Self::Fault>> + Send;
}

/// A change of the store. The answer counts what it changed: 0 says that a condition did not hold.
pub(super) enum Write {
    CreateRun(RunRow),
    UpdateRun(RunRow),
    UpdateRunWith(RunRow, Vec<DocumentRow>),
    DeleteRun(RunKey),
    PutFunction(FunctionRow),
    TagFunction(TagRow),
    DeleteFunction {
        project: String,
        name: String,
    },
    /// One version, by its hash, or one tag.
    DeleteVersion {
        project: String,
        name: String,
        version: Version,
    },
    PutDocument(DocumentRow),
    DeleteDocument(Which),
    /// The last one: nothing is written after it.
    Close,
}

impl Write {
    /// What it is about, as numbers that differ where that differs. One transaction has no two changes of the same run or
    /// document, so that their order cannot matter.
    fn subjects(&self) -> Vec<u64> {
        let run = |key: &RunKey| hash(&(&key.uid, key.iteration));
        let document = |which: &Which| hash(&(&which.kind, &which.project, &which.name));
        match self {
            Self::CreateRun(row) | Self::UpdateRun(row) => vec![run(&row.key)],
            Self::UpdateRunWith(row, rows) => {
                let mut subjects = vec![run(&row.key)];
                subjects.extend(rows.iter().map(|row| document(&row.which)));
                subjects
            }
            Self::DeleteRun(key) => vec![run(key)],
            Self::PutDocument(row) => vec![document(&row.which)],
            Self::DeleteDocument(which) => vec![document(which)],
            Self::PutFunction(_)
            | Self::DeleteFunction { .. }
            | Self::DeleteVersion { .. }
            | Self::TagFunction { .. }
            | Self::Close => Vec::new(),
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::CreateRun(_) => "store.create_run",
            Self::UpdateRun(_) | Self::UpdateRunWith(..) => "store.update_run",
            Self::DeleteRun(_) => "store.delete_run",
            Self::PutFunction(_) => "store.put_function",
            Self::TagFunction(_) => "store.tag_function",
            Self::DeleteFunction { .. } => "store.delete_function",
            Self::DeleteVersion { .. } => "store.delete_version",
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
pub(super) struct Writer<E> {
    pub(super) engine: E,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) changes: Arc<watch::Sender<u64>>,
    /// Somebody wants to be told of changes.
    pub(super) subscribed: Arc<Notify>,
}

/// Who wants to be told of what others change, and how they are.
enum Watching {
    Nobody,
    Looking(Interval),
    Told,
}

impl<E: Engine> Writer<E> {
    /// Writes until it is told to close, or nobody can ask any more.
    pub(super) async fn run(mut self) {
        let (mut watching, mut held, mut done) = (Watching::Nobody, None, None);
        loop {
            let first = match held.take().or_else(|| self.requests.try_recv().ok()) {
                Some(request) => request,
                None => {
                    tell(&self.changes, done.take());
                    tokio::select! {
                        biased;
                        request = self.requests.recv() => match request {
                            Some(request) => request,
                            None => break,
                        },
                        () = self.subscribed.notified(), if matches!(watching, Watching::Nobody) => {
                            watching = self.start_watching().await;
                            continue;
                        }
                        () = due(&mut watching) => {
                            watching = self.look(watching).await;
                            continue;
                        }
                    }
                }
            };
            if matches!(first.write, Write::Close) {
                tell(&self.changes, done.take());
                return self.close(first.answer).await;
            }
            let batch;
            (batch, held) = gather(&mut self.requests, first);
            // While the database works at this batch, those of the one before are told.
            let before = done.take();
            let (counts, ()) = tokio::join!(
                biased;
                write(&mut self.engine, &batch),
                async { tell(&self.changes, before) }
            );
            done = Some((batch, counts));
            if E::BLOCKS {
                // The next batch would not let them be told.
                tell(&self.changes, done.take());
            }
        }
        if let Err(error) = self.engine.close().await {
            warn!(%error, "the store was not closed cleanly; nothing is lost");
        }
    }

    async fn close(self, answer: oneshot::Sender<Result<u64>>) {
        // What is asked from now on is refused, and what has been asked and not answered too.
        drop(self.requests);
        let closed = self.engine.close().await;
        let failed =
            |error| Error::internal(format!("the store was not closed cleanly: {error}")).source(error);
        let _ = answer.send(closed.map(|()| 1).map_err(|error| failed(error).operation("store.close")));
    }

    async fn start_watching(&mut self) -> Watching {
        let watching = match self.engine.watch(&self.changes).await {
            Some(every) => {
                let mut every = interval(every);
                every.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Watching::Looking(every)
            }
            None => Watching::Told,
        };
        // What happened before the first look is not known: let them look themselves.
        self.changes.send_modify(|count| *count += 1);
        watching
    }

    async fn look(&mut self, watching: Watching) -> Watching {
        if self.changes.receiver_count() == 0 {
            return Watching::Nobody;
        }
        if self.engine.look().await {
            self.changes.send_modify(|count| *count += 1);
        }
        watching
    }
}

/// Writes a batch; gives what each of it came to.
async fn write<E: Engine>(engine: &mut E, batch: &[Request]) -> Counts {
    match engine.commit(batch).await {
        // One of them cannot be stored: the others must not suffer, so each goes alone.
        Err(error) if batch.len() > 1 && E::is_about_data(&error) => {
            let mut counts = Vec::with_capacity(batch.len());
            for request in batch {
                let alone = engine.commit(std::slice::from_ref(request)).await;
                counts.push(
                    alone.map_or_else(|error| Err(failed(engine, request, Arc::new(error))), first_count),
                );
            }
            counts
        }
        Err(error) => {
            let error = Arc::new(error);
            batch.iter().map(|request| Err(failed(engine, request, Arc::clone(&error)))).collect()
        }
        Ok(counts) => counts,
    }
}

fn failed<E: Engine>(engine: &E, request: &Request, error: Arc<E::Fault>) -> Error {
    if E::is_orphan(&error)
        && let Some(orphan) = request.write.orphan()
    {
        return orphan;
    }
    engine.error(request.write.operation(), error)
}

/// Answers everybody in a batch that is written. First the bell, then the answers: who has an answer has also been told.
fn tell(changes: &watch::Sender<u64>, done: Option<(Vec<Request>, Counts)>) {
    let Some((batch, counts)) = done else { return };
    if counts.iter().any(|count| matches!(count, Ok(1..))) {
        changes.send_modify(|count| *count += 1);
    }
    for (request, result) in batch.into_iter().zip(counts) {
        // Who does not wait any more does not need the answer.
        let _ = request.answer.send(result);
    }
}

/// When it is time to look at what others did; never, while nobody wants to know.
async fn due(watching: &mut Watching) {
    match watching {
        Watching::Looking(every) => drop(every.tick().await),
        _ => std::future::pending().await,
    }
}

/// The count of a batch of one.
fn first_count(counts: Counts) -> Result<u64> {
    counts.into_iter().next().unwrap_or(Ok(0))
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Takes whatever waits: the batch, and the request with which the next one begins.
fn gather(requests: &mut mpsc::Receiver<Request>, first: Request) -> (Vec<Request>, Option<Request>) {
    let mut batch = Vec::with_capacity(requests.len() + 1);
    let mut subjects: HashSet<u64> = first.write.subjects().into_iter().collect();
    batch.push(first);
    while batch.len() < MAX_BATCH {
        let Ok(next) = requests.try_recv() else { break };
        let next_subjects = next.write.subjects();
        let together = !matches!(next.write, Write::Close)
            && next_subjects.iter().all(|subject| !subjects.contains(subject));
        subjects.extend(next_subjects);
        if !together {
            return (batch, Some(next));
        }
        batch.push(next);
    }
    (batch, None)
}
