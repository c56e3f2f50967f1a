//! The store in one SQLite file: durable, quick with many writers, safe for several processes at once.

mod batch;
mod connect;
mod documents;
mod engine;
mod error;
mod functions;
mod query;
mod read;
mod statement;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use runtime_core::{
    Error, Result,
    run::RunKey,
    store::{Document, DocumentFilter, FunctionRecord, RunFilter, RunRecord, Version},
};
use sqlx::{Row, SqlitePool};

use self::{engine::SqliteEngine, query::Along};
use super::database::{Database, DatabaseStore};

/// The store in one SQLite file.
///
/// What a method has said is on the disk: it survives the end of the process and of the machine's power. Several
/// processes may have the same file open. Changes that come at the same time share one commit.
pub type SqliteStore = DatabaseStore<Sqlite>;

/// A SQLite file that is asked.
pub struct Sqlite {
    path: Arc<Path>,
    readers: SqlitePool,
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
        let readers = connect::readers(&path);
        let engine = SqliteEngine::new(Arc::clone(&path), connection);
        Self::start(Sqlite { path, readers }, engine)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.database.path
    }
}

impl Sqlite {
    /// The index along which the fewest runs need be looked at.
    async fn best(&self, filter: &RunFilter) -> sqlx::Result<Along> {
        let candidates = Along::candidates(filter);
        if let [only] = candidates[..] {
            return Ok(only);
        }
        let counts = Along::count(&candidates, filter).build().fetch_one(&self.readers).await?;
        let mut best = (i64::MAX, Along::State);
        for (n, along) in candidates.into_iter().enumerate() {
            let count: i64 = counts.try_get(n)?;
            best = if count < best.0 { (count, along) } else { best };
        }
        Ok(best.1)
    }
}

#[async_trait]
impl Database for Sqlite {
    fn closed(&self) -> Error {
        error::closed(&self.path)
    }

    async fn run(&self, operation: &'static str, key: &RunKey) -> Result<Option<RunRecord>> {
        let row = sqlx::query(read::RUN_BY_KEY)
            .bind(key.uid.as_str())
            .bind(key.iteration)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| error::from_sqlx(&self.path, operation, error))?;
        row.map(|row| read::run_record(&self.path, operation, &row)).transpose()
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        const OPERATION: &str = "store.list_runs";
        let along =
            self.best(filter).await.map_err(|error| error::from_sqlx(&self.path, OPERATION, error))?;
        let mut query = query::runs(filter, along);
        let mut rows = query.build().fetch(&self.readers);
        let mut records = Vec::with_capacity(filter.limit.min(1024));
        while let Some(row) =
            rows.try_next().await.map_err(|error| error::from_sqlx(&self.path, OPERATION, error))?
        {
            records.push(read::run_record(&self.path, OPERATION, &row)?);
        }
        Ok(records)
    }

    async fn function(&self, project: &str, name: &str, version: &Version) -> Result<Option<FunctionRecord>> {
        functions::get(&self.readers, &self.path, project, name, version).await
    }

    async fn functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        functions::list(&self.readers, &self.path, project, all_versions).await
    }

    async fn document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        documents::get(&self.readers, &self.path, kind, project, name).await
    }

    async fn documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        documents::list(&self.readers, &self.path, filter).await
    }

    async fn close(&self) {
        self.readers.close().await;
    }
}
