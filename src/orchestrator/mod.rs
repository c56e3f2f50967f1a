//! SKELETON: signatures only; the bodies are being written elsewhere.
#![allow(missing_docs, unused_variables, clippy::unused_async)]
mod request;
use std::path::Path;
use futures_util::stream::BoxStream;
use runtime_core::{Error, Result, Run, Registry, logs::LogLine, run::RunKey, store::{RunFilter, RunRecord, FunctionRecord}};
pub use request::Request;
#[derive(Clone)]
pub struct Orchestrator {}
/// What happens to a run, as it happens. The last one is a Run in a terminal state, after all log lines.
#[derive(Clone, Debug)]
pub enum Update { Run(Box<Run>), Log(LogLine), Progress(String) }
fn no<T>() -> Result<T> { Err(Error::internal("skeleton")) }
/// A submitted run.
pub struct Handle {}
impl Handle {
    pub fn key(&self) -> RunKey { RunKey::new("") }
    /// The next thing that happens; None after the terminal Run.
    pub async fn next(&mut self) -> Option<Update> { None }
    /// Waits for the end.
    pub async fn wait(self) -> Result<Run> { no() }
}
pub struct Builder {}
impl Builder {
    /// Whether opening recovers orphaned runs here (default true). The CLI's short commands use false.
    pub fn recover(self, recover: bool) -> Self { self }
    pub async fn open(self) -> Result<Orchestrator> { no() }
}
impl Orchestrator {
    pub async fn open(home: impl AsRef<Path>) -> Result<Self> { no() }
    pub fn builder(home: impl AsRef<Path>) -> Builder { Builder {} }
    /// Validates, stores the function, records the run, starts and follows it here. Bad input: an error, nothing recorded.
    pub async fn submit(&self, request: impl Into<Request>) -> Result<Handle> { no() }
    /// submit + wait. Ok(run) also where the run failed: look at run.status.
    pub async fn run(&self, request: impl Into<Request>) -> Result<Run> { no() }
    /// As submit; the run goes on when this process ends.
    pub async fn run_detached(&self, request: impl Into<Request>) -> Result<RunKey> { no() }
    /// Validates and records only; whoever recovers next (`follow`) starts it.
    pub async fn record(&self, request: impl Into<Request>) -> Result<RunKey> { no() }
    /// Claims every run whose orchestrator is gone, ends or re-attaches each; resolves when that is settled; returns
    /// the runs that are followed here from now on.
    pub async fn recover(&self) -> Result<Vec<RunKey>> { no() }
    /// Active runs that no living orchestrator follows.
    pub async fn orphans(&self) -> Result<Vec<RunKey>> { no() }
    /// Resolves when nothing is followed here any more.
    pub async fn idle(&self) {}
    /// Follows any run of the store, whoever drives it: log from the start, then live, then the terminal Run.
    pub async fn watch(&self, key: &RunKey) -> Result<Handle> { no() }
    pub async fn logs(&self, key: &RunKey, follow: bool) -> Result<BoxStream<'static, Result<LogLine>>> { no() }
    /// Asks it to stop and waits until it has. Error Conflict where it has ended already.
    pub async fn abort(&self, key: &RunKey) -> Result<Run> { no() }
    /// The run whose uid begins so (or whose name is this: the newest). NotFound / ambiguous: errors that help.
    pub async fn find(&self, uid_or_name: &str) -> Result<RunRecord> { no() }
    pub async fn list(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> { no() }
    /// Forgets an ended run: its record and log; its artifacts too only if asked.
    pub async fn delete(&self, key: &RunKey, artifacts: bool) -> Result<()> { no() }
    pub async fn functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> { no() }
    /// A stored function: `[project/]name[:tag|@hash]`.
    pub async fn function(&self, uri: &str) -> Result<FunctionRecord> { no() }
    pub async fn delete_function(&self, project: &str, name: &str) -> Result<usize> { no() }
    pub fn registry(&self) -> &Registry { unreachable!() }
    pub fn home(&self) -> &Path { unreachable!() }
    /// Aborts the runs that were submitted here and are not detached, then closes the store.
    pub async fn close(self) -> Result<()> { no() }
}
