//! The store in one SQLite file: durable, quick with many writers, safe for several processes at once.

mod batch;
mod connect;
mod documents;
mod error;
mod functions;
mod query;
mod row;
mod statement;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use runtime_core::{
    Function, Result, Store,
    run::RunKey,
    store::{Document, DocumentFilter, FunctionRecord, RunFilter, RunRecord, Version, refusal},
};
use sqlx::SqlitePool;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::{
    documents::{DocumentRow, Which},
    row::RunRow,
    statement::{FunctionRow, Statements},
    writer::{Request, Write, Writer},
};

/// How many changes may wait for the writer; who comes after them waits to be let in.
const WAITING: usize = 2 * writer::MAX_BATCH;

/// The store in one SQLite file.
///
/// What a method has said is on the disk: it survives the end of the process and of the machine's power. Several
/// processes may have the same file open. Changes that come at the same time share one commit.
///
/// It belongs to the tokio runtime in which it was opened. Dropping it is safe at any time; [`close`](Self::close)
/// also waits until the last change is written and the file is tidy.
pub struct SqliteStore {
    path: Arc<Path>,
    readers: SqlitePool,
    requests: mpsc::Sender<Request>,
    changes: Arc<watch::Sender<u64>>,
    subscribed: Arc<Notify>,
}

impl SqliteStore {
    /// Opens the store in this file; creates the file and its folder where there are none.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is not a store, is damaged, or was written by a newer version of
    /// this program. A file that is not a store is left as it is.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path: Arc<Path> = path.into().into();
        let connection = connect::writer(&path).await?;
        let (requests, receiver) = mpsc::channel(WAITING);
        let store = Self {
            readers: connect::readers(&path),
            requests,
            changes: Arc::new(watch::Sender::new(0)),
            subscribed: Arc::default(),
            path,
        };
        let writer = Writer {
            path: Arc::clone(&store.path),
            connection,
            requests: receiver,
            changes: Arc::clone(&store.changes),
            subscribed: Arc::clone(&store.subscribed),
            statements: Statements::new(),
        };
        tokio::spawn(writer.run());
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the changes that were asked for, and closes the file. Whatever comes after is refused.
    ///
    /// # Errors
    /// When the file cannot be closed; what was stored is safe even then.
    pub async fn close(&self) -> Result<()> {
        self.readers.close().await;
        self.ask(Write::Close).await.map(drop)
    }

    /// Gives a change to the writer and waits until it is on the disk; says how much it changed.
    async fn ask(&self, write: Write) -> Result<u64> {
        let (answer, answered) = oneshot::channel();
        let closed = || error::closed(&self.path);
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
        let stored = self.read_run("store.update_run", &key).await?;
        Err(refusal::run_refused(&key, record.revision, stored.as_ref()))
    }

    async fn read_run(&self, operation: &'static str, key: &RunKey) -> Result<Option<RunRecord>> {
        let row = sqlx::query(row::RUN_BY_KEY)
            .bind(key.uid.as_str())
            .bind(key.iteration)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| error::from_sqlx(&self.path, operation, error))?;
        row.map(|row| row::run_record(&self.path, operation, &row)).transpose()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn put_function(&self, function: &Function, tag: Option<&str>) -> Result<String> {
        let row = FunctionRow::new(function, tag)?;
        let hash = row.hash.clone();
        self.ask(Write::PutFunction(row)).await?;
        Ok(hash)
    }

    async fn get_function(
        &self,
        project: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<FunctionRecord>> {
        functions::get(&self.readers, &self.path, project, name, version).await
    }

    async fn list_functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        functions::list(&self.readers, &self.path, project, all_versions).await
    }

    async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        let write = Write::DeleteFunction { project: project.to_owned(), name: name.to_owned() };
        Ok(usize::try_from(self.ask(write).await?).unwrap_or(usize::MAX))
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
        let rows = documents.iter().map(DocumentRow::new).collect::<Result<Vec<_>>>()?;
        self.update(record, |run| Write::UpdateRunWith(run, rows)).await
    }

    async fn get_run(&self, key: &RunKey) -> Result<Option<RunRecord>> {
        self.read_run("store.get_run", key).await
    }

    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        const OPERATION: &str = "store.list_runs";
        let mut query = query::runs(filter);
        let mut rows = query.build().fetch(&self.readers);
        let mut records = Vec::with_capacity(filter.limit.min(1024));
        while let Some(row) =
            rows.try_next().await.map_err(|error| error::from_sqlx(&self.path, OPERATION, error))?
        {
            records.push(row::run_record(&self.path, OPERATION, &row)?);
        }
        Ok(records)
    }

    async fn delete_run(&self, key: &RunKey) -> Result<bool> {
        if self.ask(Write::DeleteRun(key.clone())).await? > 0 {
            return Ok(true);
        }
        match self.read_run("store.delete_run", key).await? {
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
        let stored = documents::get(&self.readers, &self.path, kind, project, name).await?;
        Err(refusal::document_refused(document, stored.map(|stored| stored.revision)))
    }

    async fn get_document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        documents::get(&self.readers, &self.path, kind, project, name).await
    }

    async fn list_documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        documents::list(&self.readers, &self.path, filter).await
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
        let stored = documents::get(&self.readers, &self.path, kind, project, name).await?;
        match (stored, revision) {
            (Some(stored), Some(revision)) => {
                let asked = Document { revision, ..stored.clone() };
                Err(refusal::document_refused(&asked, Some(stored.revision))
                    .operation("store.delete_document"))
            }
            _ => Ok(false),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        let receiver = self.changes.subscribe();
        self.subscribed.notify_one();
        receiver
    }
}
