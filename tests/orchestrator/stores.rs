//! A store that fails for a while, and one that looks on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use runtimes::{
    Error, ErrorKind, Function, Orchestrator, Result, RunState,
    core::{
        Store,
        run::RunKey,
        store::{Document, DocumentFilter, FunctionRecord, MemoryStore, RunFilter, RunRecord, Version},
    },
};
use tokio::sync::{Notify, watch};

use crate::{chaos::Scene, shell, until_line, within};

/// A store in memory that can be made to fail, and that notes every state which is written.
#[derive(Default)]
struct Faulty {
    store: MemoryStore,
    broken: AtomicBool,
    refused: AtomicUsize,
    was_refused: Notify,
    written: Mutex<Vec<(RunState, u64)>>,
}

impl Faulty {
    fn check(&self) -> Result<()> {
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::AcqRel);
        self.was_refused.notify_one();
        Err(Error::new(ErrorKind::Unavailable, "the store is away"))
    }
}

#[async_trait]
impl Store for Faulty {
    async fn put_function(&self, function: &Function, tag: Option<&str>) -> Result<String> {
        self.check()?;
        self.store.put_function(function, tag).await
    }
    async fn get_function(
        &self,
        project: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<FunctionRecord>> {
        self.store.get_function(project, name, version).await
    }
    async fn list_functions(&self, project: Option<&str>, all: bool) -> Result<Vec<FunctionRecord>> {
        self.store.list_functions(project, all).await
    }
    async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        self.store.delete_function(project, name).await
    }
    async fn delete_version(&self, project: &str, name: &str, version: &Version) -> Result<bool> {
        self.store.delete_version(project, name, version).await
    }
    async fn create_run(&self, record: &RunRecord) -> Result<()> {
        self.check()?;
        self.store.create_run(record).await?;
        self.written.lock().unwrap().push((record.run.state(), 1));
        Ok(())
    }
    async fn update_run(&self, record: &RunRecord) -> Result<u64> {
        self.update_run_with(record, &[]).await
    }
    async fn update_run_with(&self, record: &RunRecord, documents: &[Document]) -> Result<u64> {
        self.check()?;
        let revision = self.store.update_run_with(record, documents).await?;
        self.written.lock().unwrap().push((record.run.state(), revision));
        Ok(revision)
    }
    async fn get_run(&self, key: &RunKey) -> Result<Option<RunRecord>> {
        self.check()?;
        self.store.get_run(key).await
    }
    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.check()?;
        self.store.list_runs(filter).await
    }
    async fn delete_run(&self, key: &RunKey) -> Result<bool> {
        self.store.delete_run(key).await
    }
    async fn put_document(&self, document: &Document) -> Result<u64> {
        self.check()?;
        self.store.put_document(document).await
    }
    async fn get_document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        self.store.get_document(kind, project, name).await
    }
    async fn list_documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        self.store.list_documents(filter).await
    }
    async fn delete_document(
        &self,
        kind: &str,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<bool> {
        self.store.delete_document(kind, project, name, revision).await
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }
}

async fn open(scene: &Scene, store: &Arc<Faulty>) -> Orchestrator {
    Orchestrator::builder(scene.home()).store(Arc::<Faulty>::clone(store)).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_written_in_order_and_once() {
    let scene = Scene::new();
    let store = Arc::new(Faulty::default());
    let orchestrator = open(&scene, &store).await;
    // What is over in a moment may be written without having been seen to run: this one waits to be seen.
    let fifo = scene.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = "echo one; echo two >&2; read x <go; exit 3";
    let mut handle = orchestrator.submit(shell(scene.path(), script)).await.unwrap();
    until_line(&mut handle, "one").await;
    std::fs::write(&fifo, "on\n").unwrap();
    handle.wait().await.unwrap();
    assert_eq!(
        std::mem::take(&mut *store.written.lock().unwrap()),
        [(RunState::Created, 1), (RunState::Running, 2), (RunState::Error, 3)]
    );
    let mut handle = orchestrator.submit(shell(scene.path(), "echo ready; sleep 1000")).await.unwrap();
    until_line(&mut handle, "ready").await;
    orchestrator.abort(&handle.key()).await.unwrap();
    let states: Vec<_> = store.written.lock().unwrap().iter().map(|(state, _)| *state).collect();
    assert_eq!(states, [RunState::Created, RunState::Running, RunState::Aborting, RunState::Aborted]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_for_a_while_loses_nothing() {
    let scene = Scene::new();
    let store = Arc::new(Faulty::default());
    let orchestrator = open(&scene, &store).await;
    let fifo = scene.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut handle =
        orchestrator.submit(shell(scene.path(), "echo ready; read x <go; echo $x; exit 5")).await.unwrap();
    until_line(&mut handle, "ready").await;
    store.broken.store(true, Ordering::Release);
    assert_eq!(
        orchestrator.submit(shell(scene.path(), "true")).await.err().unwrap().kind(),
        ErrorKind::Unavailable
    );
    let before = store.refused.load(Ordering::Acquire);
    std::fs::write(fifo, "done\n").unwrap();
    while store.refused.load(Ordering::Acquire) < before + 3 {
        within(store.was_refused.notified()).await;
    }
    store.broken.store(false, Ordering::Release);
    let run = within(handle.wait()).await.unwrap();
    assert_eq!((run.state(), run.status.exit_code), (RunState::Error, Some(5)));
    assert_eq!(orchestrator.list(&RunFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_that_an_end_cannot_be_recorded() {
    let scene = Scene::new();
    let store = Arc::new(Faulty::default());
    let orchestrator = open(&scene, &store).await;
    let mut handle = orchestrator.submit(shell(scene.path(), "echo ready")).await.unwrap();
    let key = handle.key();
    until_line(&mut handle, "ready").await;
    store.broken.store(true, Ordering::Release);
    match within(handle.wait()).await {
        // It had been recorded before the store went away.
        Ok(run) => assert_eq!(run.state(), RunState::Completed),
        Err(error) => assert!(error.to_string().contains("the store is away"), "{error}"),
    }
    store.broken.store(false, Ordering::Release);
    within(orchestrator.idle()).await;
    assert_eq!(orchestrator.find(&key.uid).await.unwrap().run.state(), RunState::Completed);
}
