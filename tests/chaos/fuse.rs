//! A store and a target like the real ones, which kill their process at one chosen step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use runtimes::{
    Function, Result, Run, RunState,
    core::{
        Store, Target,
        run::RunKey,
        store::{Document, DocumentFilter, FunctionRecord, RunFilter, RunRecord, Version},
        target::{Event, Job},
    },
    local::HostTarget,
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::{mpsc, watch};

/// Kills this process, as `kill -9` does, at the step of this name.
pub(crate) struct Fuse(String, AtomicUsize);

impl Fuse {
    pub(crate) fn new(step: &str) -> Self {
        Self(step.to_owned(), AtomicUsize::new(0))
    }

    /// Comes to a step; the n-th of all is also called `step N`.
    pub(crate) fn burn(&self, step: &str) {
        let count = self.1.fetch_add(1, Ordering::Relaxed) + 1;
        if self.0 == step || self.0 == format!("step {count}") {
            kill_process(getpid(), Signal::KILL).unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

pub(crate) struct FusedStore(Arc<dyn Store>, Arc<Fuse>);

impl FusedStore {
    pub(crate) fn new(store: Arc<dyn Store>, fuse: Arc<Fuse>) -> Self {
        Self(store, fuse)
    }
}

/// What a change is called: terminal states are one.
fn named(state: RunState) -> &'static str {
    if state.is_terminal() { "end" } else { state.as_str() }
}

#[async_trait]
impl Store for FusedStore {
    async fn put_function(&self, function: &Function, tag: Option<&str>) -> Result<String> {
        self.0.put_function(function, tag).await
    }

    async fn get_function(
        &self,
        project: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<FunctionRecord>> {
        self.0.get_function(project, name, version).await
    }

    async fn list_functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        self.0.list_functions(project, all_versions).await
    }

    async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        self.0.delete_function(project, name).await
    }

    async fn delete_version(&self, project: &str, name: &str, version: &Version) -> Result<bool> {
        self.0.delete_version(project, name, version).await
    }

    async fn create_run(&self, record: &RunRecord) -> Result<()> {
        self.1.burn("before created");
        self.0.create_run(record).await?;
        self.1.burn("after created");
        Ok(())
    }

    async fn update_run(&self, record: &RunRecord) -> Result<u64> {
        self.update_run_with(record, &[]).await
    }

    async fn update_run_with(&self, record: &RunRecord, documents: &[Document]) -> Result<u64> {
        let name = named(record.run.state());
        self.1.burn(&format!("before {name}"));
        let revision = self.0.update_run_with(record, documents).await?;
        self.1.burn(&format!("after {name}"));
        Ok(revision)
    }

    async fn get_run(&self, key: &RunKey) -> Result<Option<RunRecord>> {
        self.0.get_run(key).await
    }

    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.0.list_runs(filter).await
    }

    async fn delete_run(&self, key: &RunKey) -> Result<bool> {
        self.0.delete_run(key).await
    }

    async fn put_document(&self, document: &Document) -> Result<u64> {
        self.0.put_document(document).await
    }

    async fn get_document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        self.0.get_document(kind, project, name).await
    }

    async fn list_documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        self.0.list_documents(filter).await
    }

    async fn delete_document(
        &self,
        kind: &str,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<bool> {
        self.0.delete_document(kind, project, name, revision).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

pub(crate) struct FusedTarget(HostTarget, Arc<Fuse>);

impl FusedTarget {
    pub(crate) fn new(target: HostTarget, fuse: Arc<Fuse>) -> Self {
        Self(target, fuse)
    }
}

#[async_trait]
impl Target for FusedTarget {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn check(&self, job: &Job) -> Result<Vec<String>> {
        self.0.check(job).await
    }

    async fn apply(&self, job: Job) -> Result<mpsc::Receiver<Event>> {
        self.1.burn("before apply");
        let mut events = self.0.apply(job).await?;
        self.1.burn("after apply");
        let (sender, receiver) = mpsc::channel(1);
        let fuse = Arc::clone(&self.1);
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(event) = events.recv().await {
                count += 1;
                fuse.burn(&format!("event {count}"));
                if matches!(&event, Event::Seen(seen) if seen.ended) {
                    fuse.burn("last event");
                }
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    async fn abort(&self, key: &RunKey, grace: Duration) -> Result<()> {
        self.1.burn("before abort");
        self.0.abort(key, grace).await?;
        self.1.burn("after abort");
        Ok(())
    }

    async fn release(&self, run: &Run) -> Result<()> {
        self.1.burn("before release");
        self.0.release(run).await?;
        self.1.burn("after release");
        Ok(())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
