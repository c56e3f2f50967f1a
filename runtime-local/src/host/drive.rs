//! One run on this machine, from its plan to its end: packages, processes in order, deadline, abort, what is left.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use runtime_core::{
    Error, ErrorKind, Plan, Result, RunState,
    logs::LogLine,
    plan::{HostPlan, Isolation, Process, PythonEnvironment, Role, Work},
    run::{Packages, Report},
    target::{Event, Exit, Job, Observation, Part, Phase, StartError},
};
use tokio::sync::mpsc;

use super::{
    Shared, call,
    environment::{Environment, Hold, Progress},
    given,
    group::Group,
    process::{
        state_file,
        strays::{self, Strays},
    },
    resolve::{Resolver, is_installed},
    warm,
};

/// A run this short has seen no process id twice.
const SHORT: Duration = Duration::from_secs(10);

/// What a run may be told while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    /// Stop; kill after this time.
    Abort(Duration),
}

/// A run that is being driven.
pub(crate) struct Drive {
    pub(crate) shared: Arc<Shared>,
    pub(crate) job: Job,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) control: mpsc::Receiver<Control>,
    /// What the state file of a warm run said in the end.
    pub(crate) last: Option<state_file::Last>,
}

/// Why a run is being stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stop {
    pub(crate) requested: bool,
    pub(crate) deadline: Option<Duration>,
}

impl Drive {
    /// Drives the run to its end and says how it ended.
    pub(crate) async fn run(mut self) {
        let Plan::Host(plan) = &*Arc::clone(&self.job.plan) else {
            let error = Error::new(ErrorKind::Unsupported, "this plan is not for this machine");
            return self.finish(start_failed(&error)).await;
        };
        let is_call = plan.main().is_some_and(|main| matches!(main.work, Work::Call { .. }));
        // Dropped with the run, where the orchestrator ends before it.
        let mut strays = Strays::of((!is_call).then(|| self.job.key.clone()), self.job.detached);
        let begin = std::time::Instant::now();
        let seen = match self.work(plan).await {
            Ok(seen) => seen,
            Err(error) => {
                self.log(&error).await;
                start_failed(&error)
            }
        };
        if let Some(key) = strays.take() {
            match self.may_have_strays(plan, &seen, begin) {
                Look::Nowhere => self.shared.folders.is_clean(&key),
                // A look at a few processes is quicker than another thread.
                Look::After(pid) => strays::kill(&key, Some(pid)),
                Look::Everywhere => {
                    let _ = tokio::task::spawn_blocking(move || strays::kill(&key, None)).await;
                }
            }
        }
        self.finish(seen).await;
    }

    /// Where processes that left the run's group are to be looked for. A warm handler says whether it started any.
    fn may_have_strays(&self, plan: &HostPlan, seen: &Observation, begin: std::time::Instant) -> Look {
        let (Some(main), false) = (plan.main(), self.job.resumed) else { return Look::Everywhere };
        let written = match &self.last {
            Some(last) => last.written,
            None => state_file::read(&state_file::path(&self.attempt_folder(), &main.name)),
        };
        let well = seen.parts.iter().all(|part| matches!(part.phase, Phase::Ended(Exit::Code(_))));
        match written.pid.and_then(|pid| u32::try_from(pid).ok()) {
            _ if is_warm(main) && well && !written.spawned => Look::Nowhere,
            // In so short a time ids are not used up.
            Some(pid) if !is_warm(main) && plan.processes.len() == 1 && begin.elapsed() < SHORT => {
                Look::After(pid)
            }
            _ => Look::Everywhere,
        }
    }

    async fn finish(self, mut seen: Observation) {
        seen.ended = true;
        self.shared.forget(&self.job.key);
        let _ = self.events.send(Event::Seen(Box::new(seen))).await;
    }

    async fn work(&mut self, plan: &HostPlan) -> Result<Observation> {
        let main = plan.main().ok_or_else(|| Error::internal("a plan without a main process"))?;
        if let Work::Call { handler } = &main.work {
            return call::run(self, plan, handler).await;
        }
        let stopped = || main_part(plan, Phase::Ended(Exit::Stopped));
        let Some(held) = self.environment(plan).await? else {
            return Ok(self.observe(stopped()));
        };
        let environment = held.as_ref().map(|(environment, _)| environment);
        let attempt = self.attempt_folder();
        self.shared.folders.make(&attempt)?;
        let ports = self.ports(plan, &attempt)?;
        let has_packages = held.as_ref().is_some_and(|(_, hold)| hold.is_some());
        let shared = Arc::clone(&self.shared);
        let job = self.job.clone();
        let project = &job.run.metadata.project;
        let given = given::lay_out(&*shared.secrets, project, &job.secrets, &attempt)?;
        let resolver = Resolver {
            layout: &shared.layout,
            job: &job,
            attempt: &attempt,
            python: environment.map(|environment| environment.python.as_path()),
            environment: environment.filter(|_| has_packages).map(|environment| environment.dir.as_path()),
            ports: &ports,
            secrets: &*shared.secrets,
            given: given.as_deref(),
        };
        let (parts, stop) = if is_warm(main) && plan.processes.len() == 1 {
            warm::run(self, plan, main, &resolver).await?
        } else {
            Group::new(self, plan, &resolver).run().await?
        };
        let mut seen = self.observe(parts);
        seen.deadline = stop.deadline;
        seen.report = self.report(&resolver.report_file(main)).await;
        Ok(seen)
    }

    /// The Python environment of the plan: built here where it is not there yet. The outer `None`: aborted meanwhile.
    async fn environment(&mut self, plan: &HostPlan) -> Result<Option<Option<Held>>> {
        let Some(wanted) = &plan.python else { return Ok(Some(None)) };
        if self.is_stopping() && !self.attempt_folder().exists() {
            return Ok(None);
        }
        let shared = Arc::clone(&self.shared);
        let wanted = &with_programs(wanted);
        if wanted.requirements.is_empty() {
            let python = shared.interpreter(wanted.interpreter.as_deref())?;
            return Ok(Some(Some((Environment { python: python.path, dir: python.prefix }, None))));
        }
        let environments = shared.environments.relative_to(&self.job.base_dir);
        let exactly = wanted.exactly.as_ref();
        let wanted = &environments.exactly(wanted)?;
        if let Some(ready) = environments.get(wanted)
            && let Some(hold) = environments.hold(&ready)?
        {
            self.packages(environments.packages(wanted, &ready)?, exactly).await;
            return Ok(Some(Some((ready, Some(hold)))));
        }
        self.seen(main_part(plan, Phase::Waiting("its packages".to_owned()))).await;
        let (sender, mut progress) = mpsc::unbounded_channel();
        let build = environments.build(wanted, move |step| {
            let _ = sender.send(step);
        });
        tokio::pin!(build);
        loop {
            tokio::select! {
                biased;
                Some(step) = progress.recv() => self.progress(step).await,
                built = &mut build => {
                    while let Ok(step) = progress.try_recv() {
                        self.progress(step).await;
                    }
                    let built = built?;
                    let hold = environments.hold(&built)?;
                    self.packages(environments.packages(wanted, &built)?, exactly).await;
                    return Ok(Some(Some((built, hold))));
                }
                Some(Control::Abort(_)) = self.control.recv() => return Ok(None),
            }
        }
    }

    /// Tells which packages the run has, and whether the Python below them is the one that was wanted.
    async fn packages(&self, packages: Packages, exactly: Option<&Packages>) {
        if let Some(exactly) = exactly.filter(|exactly| exactly.python != packages.python) {
            let note = format!("the packages are on Python {}, not on {}", packages.python, exactly.python);
            let _ = self.events.send(Event::Note(note)).await;
        }
        let _ = self.events.send(Event::Packages(Box::new(packages))).await;
    }

    async fn progress(&self, step: Progress) {
        let event = match step {
            Progress::Step { what } => Event::Progress(what),
            Progress::Line(line) => Event::Log(Box::new(LogLine::system(line))),
        };
        let _ = self.events.send(event).await;
    }

    /// The plan's named ports, chosen once an attempt.
    fn ports(&self, plan: &HostPlan, attempt: &std::path::Path) -> Result<BTreeMap<String, u16>> {
        if plan.ports.is_empty() {
            return Ok(BTreeMap::new());
        }
        super::ports::choose(&plan.ports, &attempt.join("ports.json"))
    }

    /// What the code reported: where it is warm, into its state file, otherwise into a file of its own.
    async fn report(&mut self, path: &std::path::Path) -> Option<Report> {
        let said = self.last.as_mut().and_then(|last| last.report.take());
        let content = said.or_else(|| std::fs::read(path).ok())?;
        match runtime_core::serde_json::from_slice::<Report>(&content) {
            Ok(report) => Some(report),
            Err(error) => {
                let note = format!("what the code reported cannot be read: {error}");
                let _ = self.events.send(Event::Note(note)).await;
                None
            }
        }
    }

    async fn log(&self, error: &Error) {
        let _ = self.events.send(Event::Log(Box::new(LogLine::system(format!("error: {error}"))))).await;
    }

    pub(crate) async fn seen(&self, parts: Vec<Part>) {
        let _ = self.events.send(Event::Seen(Box::new(self.observe(parts)))).await;
    }

    fn observe(&self, parts: Vec<Part>) -> Observation {
        Observation { parts, ..Observation::default() }
    }

    /// How much of the time limit is left; `None` without one.
    pub(crate) fn remaining(&self, plan: &HostPlan) -> Option<Duration> {
        let limit = plan.deadline?;
        let elapsed = match self.job.run.status.start_time {
            Some(start) if self.job.resumed => {
                Timestamp::now().duration_since(start).try_into().unwrap_or(Duration::ZERO)
            }
            _ => Duration::ZERO,
        };
        Some(limit.saturating_sub(elapsed))
    }

    /// Whether it was to be stopped before it was taken up: nothing more is started.
    pub(crate) fn is_stopping(&self) -> bool {
        self.job.run.state() == RunState::Aborting
    }

    pub(crate) fn attempt_folder(&self) -> PathBuf {
        self.shared.folders.attempt(&self.job.key, self.job.attempt)
    }
}

/// An environment, kept from being pruned while it is used.
type Held = (Environment, Option<Hold>);

/// What is to be installed, with the packages of programs that the machine does not have.
fn with_programs(wanted: &PythonEnvironment) -> PythonEnvironment {
    let mut all = PythonEnvironment { programs: Vec::new(), ..wanted.clone() };
    let missing = wanted.programs.iter().filter(|needed| !is_installed(needed));
    all.requirements.extend(missing.map(|needed| needed.requirement.clone()));
    all
}

/// Where to look for processes that left their run's group.
enum Look {
    Nowhere,
    /// Among processes of later ids than this one.
    After(u32),
    Everywhere,
}

fn is_warm(process: &Process) -> bool {
    matches!(&process.work, Work::Python { isolation, .. } if *isolation != Isolation::Process)
}

/// The main process in this phase.
pub(crate) fn main_part(plan: &HostPlan, phase: Phase) -> Vec<Part> {
    let name = plan.main().map(|main| main.name.clone()).unwrap_or_default();
    vec![Part { name, role: Role::Main, phase }]
}

fn start_failed(error: &Error) -> Observation {
    let mut message = error.message().to_owned();
    if let Some(location) = error.location() {
        message = format!("{location}: {message}");
    }
    for (key, value) in error.contexts() {
        message += &format!("\n  {key}: {value}");
    }
    let environment = error.kind() == ErrorKind::Environment;
    let start_error = StartError { environment, message, help: error.help_text().map(str::to_owned) };
    Observation { start_error: Some(start_error), ..Observation::default() }
}
