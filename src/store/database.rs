//! What the stores in databases share: changes go to one writer, questions to the database itself.

use std::sync::Arc;

use async_trait::async_trait;
use runtime_core::{
    Error, ErrorKind, Function, Result, Store,
    run::RunKey,
    store::{Document, DocumentFilter, FunctionRecord, RunFilter, RunRecord, Version, refusal},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    row::{DocumentRow, FunctionRow, RunRow, TagRow, Which},
    writer::{Engine, MAX_BATCH, Request, Write, Writer},
};

/// How many changes may wait for the writer; who comes after them waits to be let in.
const WAITING: usize = 2 * MAX_BATCH;

/// A database that is asked. Those of this crate are all there are.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// The error of whoever asks a store that is closed.
    #[doc(hidden)]
    fn closed(&self) -> Error;

    /// As [`Store::get_run`], for this operation.
    #[doc(hidden)]
    async fn run(&self, operation: &'static str, key: &RunKey) -> Result<Option<RunRecord>>;

    /// As [`Store::list_runs`].
    #[doc(hidden)]
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>>;

    /// As [`Store::get_function`].
    #[doc(hidden)]
    async fn function(&self, project: &str, name: &str, version: &Version) -> Result<Option<FunctionRecord>>;

    /// As [`Store::list_functions`].
    #[doc(hidden)]
    async fn functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>>;

    /// As [`Store::get_document`].
    #[doc(hidden)]
    async fn document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>>;

    /// As [`Store::list_documents`].
    #[doc(hidden)]
    async fn documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>>;

    /// Closes the connections.
    #[doc(hidden)]
    async fn close(&self);
}

/// A store in a database: [`SqliteStore`](super::SqliteStore) and its like.
///
/// It is opened within a tokio runtime, which has to outlive it. Dropping it is safe at any time;
/// [`close`](Self::close) also waits until the last change is written.
pub struct DatabaseStore<D: Database> {
    pub(super) database: D,
    requests: mpsc::Sender<Request>,
    changes: Arc<watch::Sender<u64>>,
    subscribed: Arc<Notify>,
}

impl<D: Database> DatabaseStore<D> {
    /// Starts the writer.
    pub(super) fn start<E: Engine>(database: D, engine: E) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(WAITING);
        let (changes, subscribed) = (Arc::new(watch::Sender::new(0)), Arc::<Notify>::default());
        let writer = Writer {
            engine,
            requests: receiver,
            changes: Arc::clone(&changes),
            subscribed: Arc::clone(&subscribed),
        };
        if E::BLOCKS {
            on_own_thread(writer.run())?;
        } else {
            tokio::spawn(writer.run());
        }
        Ok(Self { database, requests, changes, subscribed })
    }

    /// Waits for the changes that were asked for, and lets go of the database. Whatever comes after is refused.
    ///
    /// # Errors
    /// When that fails; what was stored is safe even then.
    pub async fn close(&self) -> Result<()> {
        self.database.close().await;
        self.ask(Write::Close).await.map(drop)
    }

    /// Gives a change to the writer and waits until it is durable; says how much it changed.
    async fn ask(&self, write: Write) -> Result<u64> {
        let (answer, answered) = oneshot::channel();
        let closed = || self.database.closed();
        self.requests.send(Request { write, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    async fn update(&self, record: &RunRecord, write: impl FnOnce(RunRow) -> Write + Send) -> Result<u64> {
        let key = record.run.key();
        let revision = record.revision.saturating_add(1);
        let row = RunRow::new(record, i64::try_from(revision).unwrap_or(i64::MAX))?;
        if self.ask(write(row)).await? > 0 {
            return Ok(revision);
        }
        let stored = self.database.run("store.update_run", &key).await?;
        Err(refusal::run_refused(&key, record.revision, stored.as_ref()))
    }
}

/// Among the tasks of a busy runtime, each step of the writer would wait for its turn, and all others for the writer.
fn on_own_thread(work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let failed = |error: std::io::Error| {
        let message = format!("the store's writer cannot be started: {error}");
        Error::new(ErrorKind::Exhausted, message).operation("store.open").source(error)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    let thread = std::thread::Builder::new().name("runtimes-store".to_owned());
    thread.spawn(move || runtime.block_on(work)).map(drop).map_err(failed)
}

#[async_trait]
impl<D: Database> Store for DatabaseStore<D> {
    async fn put_function(&self, function: &Function, tag: Option<&str>) -> Result<String> {
        let row = FunctionRow::new(function, tag)?;
        let hash = row.hash.clone();
        self.ask(Write::PutFunction(row)).await?;
        Ok(hash)
    }

    async fn tag_function(&self, project: &str, name: &str, hash: &str, tag: &str) -> Result<bool> {
        let [project, name, hash, tag] = [project, name, hash, tag].map(str::to_owned);
        Ok(self.ask(Write::TagFunction(TagRow { project, name, hash, tag })).await? > 0)
    }

    async fn get_function(
        &self,
        project: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<FunctionRecord>> {
        self.database.function(project, name, version).await
    }

    async fn list_functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        self.database.functions(project, all_versions).await
    }

    async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        let write = Write::DeleteFunction { project: project.to_owned(), name: name.to_owned() };
        Ok(usize::try_from(self.ask(write).await?).unwrap_or(usize::MAX))
    }

    async fn delete_version(&self, project: &str, name: &str, version: &Version) -> Result<bool> {
        let version = version.clone();
        let write = Write::DeleteVersion { project: project.to_owned(), name: name.to_owned(), version };
        Ok(self.ask(write).await? > 0)
    }

    async fn create_run(&self, record: &RunRecord) -> Result<()> {
        match self.ask(Write::CreateRun(RunRow::new(record, 1)?)).await? {
            0 => Err(refusal::run_exists(&record.run.key())),
            _ => Ok(()),
        }
    }

    async fn update_run(&self, record: &RunRecord) -> Result<u64> {
        self.update(record, Write::UpdateRun).await
    }

    async fn update_run_with(&self, record: &RunRecord, documents: &[Document]) -> Result<u64> {
        let mut rows: Vec<DocumentRow> = Vec::with_capacity(documents.len());
        for document in documents {
            let row = DocumentRow::new(document)?;
            // Of one that is given twice, the last counts.
            rows.retain(|earlier| !earlier.is_same_as(&row));
            rows.push(row);
        }
        self.update(record, |run| Write::UpdateRunWith(run, rows)).await
    }

    async fn get_run(&self, key: &RunKey) -> Result<Option<RunRecord>> {
        self.database.run("store.get_run", key).await
    }

    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.database.runs(filter).await
    }

    async fn delete_run(&self, key: &RunKey) -> Result<bool> {
        if self.ask(Write::DeleteRun(key.clone())).await? > 0 {
            return Ok(true);
        }
        match self.database.run("store.delete_run", key).await? {
            None => Ok(false),
            Some(stored) => Err(refusal::run_active(key, stored.run.state())),
        }
    }

    async fn put_document(&self, document: &Document) -> Result<u64> {
        if self.ask(Write::PutDocument(DocumentRow::new(document)?)).await? > 0 {
            return Ok(document.revision + 1);
        }
        if document.revision == 0 {
            return Err(refusal::document_exists(document));
        }
        let Document { kind, project, name, .. } = document;
        let stored = self.database.document(kind, project, name).await?;
        Err(refusal::document_refused(document, stored.map(|stored| stored.revision)))
    }

    async fn get_document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        self.database.document(kind, project, name).await
    }

    async fn list_documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        self.database.documents(filter).await
    }

    async fn delete_document(
        &self,
        kind: &str,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<bool> {
        if self.ask(Write::DeleteDocument(Which::new(kind, project, name, revision))).await? > 0 {
            return Ok(true);
        }
        match (self.database.document(kind, project, name).await?, revision) {
            (Some(stored), Some(revision)) => {
                let asked = Document { revision, ..stored.clone() };
                let refused = refusal::document_refused(&asked, Some(stored.revision));
                Err(refused.operation("store.delete_document"))
            }
            _ => Ok(false),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        let receiver = self.changes.subscribe();
        self.subscribed.notify_one();
        receiver
    }

    async fn close(&self) -> Result<()> {
        DatabaseStore::close(self).await
    }
}
