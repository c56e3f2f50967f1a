//! Running functions and plans on this machine, and seeing what becomes of them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runtime_core::{
    Function, Plan, Registry, Result, Run, Runtime, Target,
    logs::{LogLine, LogPosition, Stream},
    plan::{HostPlan, Limits, Process, Readiness, Role, Work},
    run::{Cause, Verdict, observe_main},
    serde_json::Value,
    target::{Event, Job, Observation, Part, Phase},
};
use runtime_local::HostTarget;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Nothing that a test waits for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine of a test's own: a home, and a folder for the functions' files.
pub(crate) struct Machine {
    pub(crate) target: HostTarget,
    folder: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("base")).unwrap();
        Self { target: HostTarget::new(folder.path().join("home")), folder }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The functions' folder.
    pub(crate) fn base(&self) -> PathBuf {
        self.folder.path().join("base")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn secret(&self, name: &str, key: &str, value: &str) {
        let folder = self.home().join("secrets").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(key), value).unwrap();
        fs::set_permissions(folder.join(key), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A run of a function, as an orchestrator prepares it.
    pub(crate) fn job(&self, function: &Function, change: impl FnOnce(&mut Run)) -> Result<Job> {
        let mut run = run();
        run.metadata.name = function.metadata.name.clone();
        change(&mut run);
        let registry = Registry::linked()?;
        let runtime: &Arc<dyn Runtime> = registry.get(&function.kind)?;
        runtime.validate(function, &run)?;
        let plan = runtime.plan(function, &run)?;
        Ok(self.job_of(run, plan))
    }

    fn job_of(&self, run: Run, plan: Plan) -> Job {
        Job {
            key: run.key(),
            attempt: 0,
            run: Arc::new(run),
            plan: Arc::new(plan),
            base_dir: self.base(),
            work_dir: self.base(),
            artifact_path: self.folder.path().join("artifacts").display().to_string(),
            secrets: Default::default(),
            secret_source: None,
            inputs: std::collections::BTreeMap::new(),
            log_position: LogPosition::default(),
            resumed: false,
            detached: false,
            source: None,
        }
    }

    /// Starts a job.
    pub(crate) async fn start(&self, job: Job) -> Live {
        self.target.check(&job).await.unwrap();
        Live {
            events: self.target.apply(job.clone()).await.unwrap(),
            job,
            seen: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Starts the processes of a plan.
    pub(crate) async fn processes(&self, processes: Vec<Process>, ports: &[&str]) -> Live {
        let ports = ports.iter().map(|&port| port.to_owned()).collect();
        let plan = HostPlan { processes, ports, grace: Duration::from_secs(30), ..HostPlan::default() };
        self.start(self.job_of(run(), Plan::Host(plan))).await
    }

    /// Runs a function to its end.
    pub(crate) async fn run(&self, function: &Function) -> Outcome {
        self.run_with(function, |_| {}).await
    }

    pub(crate) async fn run_with(&self, function: &Function, change: impl FnOnce(&mut Run)) -> Outcome {
        self.start(self.job(function, change).unwrap()).await.end().await
    }
}

fn run() -> Run {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut run = Run::default();
    run.metadata.uid = format!("{:016x}{:016x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    run.metadata.project = "default".to_owned();
    run
}

/// A process that runs a shell script.
pub(crate) fn shell(name: &str, role: Role, script: &str) -> Process {
    Process {
        name: name.to_owned(),
        role,
        work: Work::Program { command: "sh".into(), args: vec!["-c".into(), script.into()], code: None },
        env: Vec::new(),
        workdir: None,
        limits: Limits::default(),
        ready: Readiness::Started,
        after: Vec::new(),
        imports: Vec::new(),
        launcher: None,
    }
}

/// A run on its way.
pub(crate) struct Live {
    pub(crate) job: Job,
    events: mpsc::Receiver<Event>,
    seen: Vec<Observation>,
    lines: Vec<LogLine>,
}

impl Live {
    /// Waits until a line with this text is printed; the line.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let found = |line: &LogLine| line.text().contains(text);
        while !self.lines.iter().any(found) {
            assert!(
                self.next().await,
                "the run ended without {text:?}: {:?}, {:?}",
                self.lines,
                self.seen.last()
            );
        }
        self.lines.iter().find(|line| found(line)).map(|line| line.text().into_owned()).unwrap()
    }

    /// Waits until a process is in a phase.
    pub(crate) async fn phase(&mut self, name: &str, phase: impl Fn(&Phase) -> bool) {
        let found = |part: &Part| part.name == name && phase(&part.phase);
        while !self.seen.iter().flat_map(|seen| &seen.parts).any(found) {
            assert!(self.next().await, "the run ended and {name} was never so: {:?}", self.seen);
        }
    }

    pub(crate) async fn end(mut self) -> Outcome {
        while self.next().await {}
        let last = self.seen.last().cloned().unwrap();
        assert!(last.ended);
        Outcome { verdict: observe_main(&last), seen: self.seen, lines: self.lines }
    }

    async fn next(&mut self) -> bool {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        match event.expect("something happens to a run") {
            Some(Event::Log(line)) => self.lines.push(*line),
            Some(Event::Seen(seen)) => self.seen.push(*seen),
            Some(_) => {}
            None => return false,
        }
        true
    }
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) seen: Vec<Observation>,
    pub(crate) lines: Vec<LogLine>,
}

impl Outcome {
    /// It completed.
    #[track_caller]
    pub(crate) fn completed(self) -> Self {
        assert_eq!(self.verdict.cause, None, "{:?}", self.lines);
        assert_eq!(self.verdict.state, runtime_core::RunState::Completed, "{:?}", self.lines);
        self
    }

    /// Why it did not.
    #[track_caller]
    pub(crate) fn cause(&self) -> &Cause {
        self.verdict.cause.as_ref().unwrap_or_else(|| panic!("it must have failed: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn result(&self, name: &str) -> Value {
        let report = self.verdict.report.as_ref().unwrap_or_else(|| panic!("there is no report: {self:?}"));
        report.results.get(name).cloned().unwrap_or_else(|| panic!("no result {name:?}: {self:?}"))
    }

    /// What a process printed on its standard output, line by line.
    pub(crate) fn printed(&self, process: &str) -> Vec<String> {
        let own = |line: &&LogLine| line.stream == Stream::Stdout && line.source == process;
        self.lines.iter().filter(own).map(|line| line.text().into_owned()).collect()
    }
}

/// The files below a folder in which these bytes stand.
pub(crate) fn files_with(folder: &Path, bytes: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if fs::read(&path)
                .is_ok_and(|content| content.windows(bytes.len()).any(|window| window == bytes.as_bytes()))
            {
                found.push(path);
            }
        }
    }
    found
}
