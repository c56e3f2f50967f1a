//! What a target is: the place where plans become real.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    Plan, Result, Run,
    cluster::Cluster,
    logs::{LogLine, LogPosition},
    plan::Role,
    run::{Cause, Packages, Report, RunKey},
    secret::{RunSecrets, SecretSource},
};

/// One run that a target is asked to make real.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which run. Everything that is created is named after it and the attempt.
    pub key: RunKey,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// The run, as it was recorded.
    pub run: Arc<Run>,
    /// What must be started.
    pub plan: Arc<Plan>,
    /// The folder against which relative paths are read.
    pub base_dir: PathBuf,
    /// The folder in which processes run that name none.
    pub work_dir: PathBuf,
    /// Where artifacts go: a folder of this machine, also where they are moved elsewhere afterwards.
    pub artifact_path: String,
    /// What its code may read by name.
    pub secrets: Arc<RunSecrets>,
    /// Where the values of its project's secrets are, for a target that has no source of its own.
    pub secret_source: Option<Arc<dyn SecretSource>>,
    /// Inputs that were fetched from elsewhere: their names, and where they are now. The others are where the run says.
    pub inputs: BTreeMap<String, PathBuf>,
    /// How far the log is stored already: nothing before is sent again.
    pub log_position: LogPosition,
    /// Whether an earlier orchestrator may have started it already.
    pub resumed: bool,
    /// Whether what is started may outlive the orchestrator; otherwise it ends when the orchestrator does.
    pub detached: bool,
    /// Code that is still to be fetched; [`Self::base_dir`] is where it will be once it is.
    pub source: Option<Source>,
}

/// Code from elsewhere, fetched before a run starts: `build.source` of its function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// A folder, an archive or a repository, as the function names it.
    pub address: String,
    /// The folder in it against which paths are read.
    pub workdir: String,
    /// The folders into which it goes on a cluster: here, paths below them mean the source.
    pub roots: Vec<String>,
}

/// The place where plans become real. One instance serves all runs of an orchestrator.
#[async_trait]
pub trait Target: Send + Sync {
    /// Its name, kept with each run, so that a later orchestrator asks the same target again.
    fn name(&self) -> &'static str;

    /// Whether what it starts can be reached from the home and the machine alone on which it was started. Where it can
    /// not be, a run is lost with its machine.
    fn is_bound(&self) -> bool {
        true
    }

    /// What a rendering must know, where plans for this target are objects of a cluster: [`Runtime::render`] makes them.
    /// `None` where they are processes, of [`Runtime::plan`].
    ///
    /// [`Runtime::render`]: crate::Runtime::render
    /// [`Runtime::plan`]: crate::Runtime::plan
    ///
    /// # Errors
    /// `Unavailable` or `NotFound`, where there is no way to the cluster.
    async fn cluster(&self) -> Result<Option<Arc<Cluster>>> {
        Ok(None)
    }

    /// Whether what was started for this run can be reached from here, asked before a run is taken up that an earlier
    /// orchestrator started. Where it cannot, the run is left to one that can.
    ///
    /// # Errors
    /// Saying what is in the way.
    async fn reach(&self, run: &Run) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// Whether what it sees comes without what the code reports: that arrives by itself, at the endpoint for reports, and
    /// is joined with what is seen.
    fn reports_apart(&self) -> bool {
        false
    }

    /// Says what is wrong with the plan here and now (a program, an interpreter or a secret is missing), before
    /// anything is recorded or started. Returns what the user should know.
    ///
    /// # Errors
    /// `Invalid`, `NotFound` or `Unsupported`, saying what is missing and how to get it.
    async fn check(&self, job: &Job) -> Result<Vec<String>>;

    /// Makes the plan real. Idempotent: what was started for this run and attempt is not started again, by
    /// whichever process. Returns what is seen from now on, until the last observation, which has
    /// [`Observation::ended`] set and comes after all log lines; then the channel closes.
    ///
    /// # Errors
    /// When it cannot even begin; then nothing is left behind.
    async fn apply(&self, job: Job) -> Result<mpsc::Receiver<Event>>;

    /// Asks the run to stop, kills it after `grace`. Returns at once; the end is seen as an observation. Of a run that
    /// is not followed here, what is still left is killed. Unknown runs are no error.
    ///
    /// # Errors
    /// When the request could not be made.
    async fn abort(&self, key: &RunKey, grace: Duration) -> Result<()>;

    /// Frees what the target keeps for an ended run. Idempotent. Of the run, its key and where it was started count.
    ///
    /// # Errors
    /// When something could not be removed; calling again may help.
    async fn release(&self, run: &Run) -> Result<()>;

    /// The runs of which the target still keeps something; those that have ended can be released.
    ///
    /// # Errors
    /// When that cannot be read.
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    /// Says which types of objects runs may have there, beside those that every cluster has, so that none is forgotten when
    /// what a run made is taken away. Called once, before anything else: group and version, and kind.
    fn expect(&self, resources: &[(&'static str, &'static str)]) {
        let _ = resources;
    }

    /// Stops everything that was started by this instance and may not outlive it; called once, at the end.
    async fn close(&self) {}
}

/// What a target still keeps of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// Of which run.
    pub key: RunKey,
    /// The folders or objects, as a user would name them (`job/train-1`).
    pub objects: Vec<String>,
    /// When the oldest of them was made.
    pub since: Option<Timestamp>,
    /// Something of it has not ended, as far as that can be seen.
    pub active: bool,
}

impl Leftover {
    /// Nothing yet.
    pub fn of(key: RunKey) -> Self {
        Self { key, objects: Vec::new(), since: None, active: false }
    }
}

/// Something that a target saw.
#[derive(Clone, Debug)]
pub enum Event {
    /// The state of the run's parts changed.
    Seen(Box<Observation>),
    /// A line was printed.
    Log(Box<LogLine>),
    /// Long work goes on: what it is doing at the moment.
    Progress(String),
    /// Something that the user should know; kept on the run, once.
    Note(String),
    /// The packages that it has; kept on the run.
    Packages(Box<Packages>),
    /// Where others find it, now that its main part is ready; kept on the run until it ends.
    Addresses(BTreeMap<String, String>),
}

/// All that is seen of one attempt of a run at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The processes or objects, by name.
    pub parts: Vec<Part>,
    /// What the code itself reported last.
    pub report: Option<Report>,
    /// What its main process left as its last word, where that is no report.
    pub said: Option<String>,
    /// The target stopped it because its time was over; how long it had.
    pub deadline: Option<Duration>,
    /// It could not be started: why.
    pub start_error: Option<StartError>,
    /// What is wrong at the moment, while it waits or runs. It may pass.
    pub trouble: Option<Cause>,
    /// Nothing of it runs any more, and nothing follows.
    pub ended: bool,
}

/// Why something could not be started.
#[derive(Clone, Debug, PartialEq)]
pub struct StartError {
    /// Whether the packages were to blame.
    pub environment: bool,
    /// What happened.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// One process or object of a run, as it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name in the plan.
    pub name: String,
    /// What it is to the run.
    pub role: Role,
    /// How it is.
    pub phase: Phase,
}

/// How a process or object is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Not started: what it waits for.
    Waiting(String),
    /// It runs.
    Running,
    /// It runs, and others may rely on it.
    Ready,
    /// It ended.
    Ended(Exit),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal, that nobody here sent.
    Signal(i32),
    /// It needed more memory than it may have: the limit in bytes, where it was ours.
    OutOfMemory {
        /// The limit in bytes, where it was ours.
        limit: Option<u64>,
    },
    /// It was stopped on request.
    Stopped,
    /// A Rust handler panicked, with this message.
    Panic(String),
    /// A Rust handler failed, with this message.
    Failed(String),
    /// It is gone, and nobody saw how.
    Lost(String),
    /// For this reason, as a cluster says.
    For(Box<Cause>),
}
