//! What every target that runs processes must do. The programs are shell scripts; whatever they wait for, and whatever
//! waits for them, is an event: a line, a file, the end of a pipe that all of their processes hold.
#![allow(clippy::panic, reason = "a conformance suite reports by panicking")]

mod cleaning;
mod ending;
mod follow;
mod once;
mod printing;
mod stopping;
mod witness;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    Error, Plan, Run, RunState, Target,
    logs::{LogPosition, Stream},
    run::RunKey,
    target::Job,
};
use follow::Follow;
use witness::Witness;

/// A program that the suite wants to be run.
#[derive(Clone, Debug)]
pub struct Program {
    /// A script for a POSIX shell (`sh -c`).
    pub script: String,
    /// How long the run may take.
    pub deadline: Option<Duration>,
    /// How long it may take to end after it was asked to, before it is killed.
    pub grace: Duration,
}

/// What is not the same for all targets, and no fault of theirs.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// Standard error is told from standard output. Without it, all that is printed is of standard output: the lines of
    /// each in their order.
    pub stderr: bool,
    /// A run that is not detached ends with its orchestrator, also where that goes without a word. Without it, each run
    /// goes on, as a detached one does.
    pub bound: bool,
    /// Lines arrive byte by byte, however long they are. Without it, what is between the process and the target (as the
    /// engines of some nodes do) may take a carriage return from the end of a line, and write marks into long ones.
    pub exact: bool,
}

impl Default for Nature {
    fn default() -> Self {
        Self { stderr: true, bound: true, exact: true }
    }
}

impl Nature {
    /// A target like a cluster: one log of each process, and runs that go on without their orchestrator.
    pub fn cluster() -> Self {
        Self { stderr: false, bound: false, exact: true }
    }
}

/// A target under test, and what the suite must know of it.
pub trait Fixture: Sync {
    /// Opens the target as another orchestrator would: each time a new instance, over the same state.
    fn open(&self) -> Arc<dyn Target>;

    /// What the target can do; all, unless told otherwise.
    fn nature(&self) -> Nature {
        Nature::default()
    }

    /// A plan for an attempt of a run whose one process, `main`, runs this program; its standard output and error are kept
    /// as they are.
    fn plan(&self, program: &Program, key: &RunKey, attempt: u32) -> Plan;

    /// An existing folder that programs and the suite see by the same path; the working directory of the programs.
    fn folder(&self) -> &Path;

    /// All that the target keeps of a run at the moment, by name.
    fn remains(&self, key: &RunKey) -> Vec<String>;

    /// Plans that cannot be started, each with a word that the error of `check` must say: what is missing.
    fn impossible(&self) -> Vec<(Plan, &'static str)>;
}

/// Runs every check. Needs a runtime with time, and several threads.
///
/// # Panics
/// With the behaviour that the target does not have.
pub async fn target_conformance(fixture: &dyn Fixture) {
    let suite = Suite { fixture };
    cleaning::checked_and_untouched(&suite).await;
    ending::codes_and_signals(&suite).await;
    ending::observed_on_the_way(&suite).await;
    printing::both_streams_in_order(&suite).await;
    printing::whatever_bytes(&suite).await;
    printing::much_of_it(&suite).await;
    printing::as_it_is_printed(&suite).await;
    once::applied_while_it_runs(&suite).await;
    once::applied_after_the_end(&suite).await;
    once::attempts_are_apart(&suite).await;
    once::taken_up_by_another(&suite).await;
    once::ended_while_nobody_looked(&suite).await;
    stopping::asked_before_it_is_killed(&suite).await;
    stopping::killed_after_the_grace(&suite).await;
    stopping::over_its_time(&suite).await;
    stopping::over_its_time_while_nobody_looked(&suite).await;
    stopping::asked_to_stop_while_nobody_looked(&suite).await;
    stopping::nothing_outlives_an_end(&suite).await;
    stopping::nothing_outlives_an_abort(&suite).await;
    match fixture.nature().bound {
        true => stopping::nothing_outlives_its_orchestrator(&suite).await,
        false => stopping::a_run_outlives_its_orchestrator(&suite).await,
    }
    cleaning::released(&suite).await;
    cleaning::unknown_runs(&suite).await;
}

/// Nothing that the suite waits for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A grace that is not over before a test is.
const LONG: Duration = Duration::from_secs(600);

struct Suite<'a> {
    fixture: &'a dyn Fixture,
}

impl Suite<'_> {
    /// A new run of this script.
    fn job(&self, script: &str) -> Job {
        self.job_of(&Program { script: script.to_owned(), deadline: None, grace: LONG })
    }

    fn job_of(&self, program: &Program) -> Job {
        let mut run = Run::default();
        run.metadata.uid = uid();
        run.metadata.name = "conformance".to_owned();
        run.metadata.project = "default".to_owned();
        let folder = self.fixture.folder().to_owned();
        let key = run.key();
        Job {
            plan: Arc::new(self.fixture.plan(program, &key, 0)),
            key,
            attempt: 0,
            run: Arc::new(run),
            artifact_path: folder.join("artifacts").display().to_string(),
            base_dir: folder.clone(),
            work_dir: folder,
            secrets: Default::default(),
            secret_source: None,
            inputs: std::collections::BTreeMap::new(),
            log_position: LogPosition::default(),
            resumed: false,
            detached: false,
            source: None,
        }
    }

    /// Another attempt, or iteration, of a run: of this script.
    fn other(&self, job: &Job, iteration: u32, attempt: u32, script: &str) -> Job {
        let program = Program { script: script.to_owned(), deadline: None, grace: LONG };
        let key = RunKey { iteration, ..job.key.clone() };
        let plan = Arc::new(self.fixture.plan(&program, &key, attempt));
        Job { key, attempt, plan, ..job.clone() }
    }

    /// Where the target keeps what is printed on this stream.
    fn stream(&self, stream: Stream) -> Stream {
        if self.fixture.nature().stderr { stream } else { Stream::Stdout }
    }

    /// A path in the folder that nobody has used.
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.fixture.folder().join(format!("{name}-{}", uid()))
    }

    async fn apply(&self, target: &dyn Target, job: Job) -> Follow {
        Follow::new(ok("apply", target.apply(job).await))
    }

    /// Runs it from beginning to end.
    async fn run(&self, script: &str) -> follow::Ended {
        let target = self.fixture.open();
        self.apply(&*target, self.job(script)).await.end().await
    }
}

/// The job as the next orchestrator finds it.
fn resumed(job: &Job, position: &LogPosition, state: RunState, started: jiff::Timestamp) -> Job {
    let mut run = (*job.run).clone();
    run.status.state = state;
    run.status.start_time = Some(started);
    Job { run: Arc::new(run), log_position: position.clone(), resumed: true, ..job.clone() }
}

/// 32 hexadecimal digits that no other run of this program has, nor one of another at this time.
fn uid() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = jiff::Timestamp::now().as_nanosecond().unsigned_abs() & 0xffff_ffff_ffff_ffff;
    format!("{now:016x}{:08x}{:08x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn ok<T>(what: &str, result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} must succeed, and failed: {error:?}"),
    }
}

/// Waits for something that must happen.
async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: it did not happen within {PATIENCE:?}"),
    }
}
