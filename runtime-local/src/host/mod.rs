//! The target "this machine": plans become processes, packages become virtual environments, output becomes a log.

mod agent;
mod call;
mod drive;
pub mod environment;
mod folders;
mod given;
mod group;
mod layout;
mod ports;
mod process;
mod ready;
mod resolve;
mod secrets;
mod threads;
mod warm;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use runtime_core::{
    Error, ErrorKind, Plan, Result, Run,
    plan::{Code, EnvValue, HostPlan, Work},
    run::RunKey,
    secret::SecretSource,
    target::{Event, Job, Leftover, Target},
};
use tokio::{sync::mpsc, task::AbortHandle};

use drive::{Control, Drive};
use environment::{Environments, Interpreter};
use folders::Folders;
use layout::Layout;
pub use secrets::{SecretFolder, read_private};
use warm::Templates;

/// For so long an interpreter that was found is taken to be there.
const MOMENT: Duration = Duration::from_secs(1);

/// How many events may wait for a reader before a process's output is read no further.
const WAITING_EVENTS: usize = 256;

/// This machine. Cheap to create; starts nothing by itself.
pub struct HostTarget {
    shared: Arc<Shared>,
}

/// What all runs on this machine share.
pub(crate) struct Shared {
    layout: Layout,
    folders: Folders,
    environments: Environments,
    secrets: Arc<dyn SecretSource>,
    templates: Templates,
    runs: Mutex<HashMap<RunKey, Driven>>,
    interpreters: Mutex<HashMap<Option<String>, (Instant, Interpreter)>>,
}

struct Driven {
    control: mpsc::Sender<Control>,
    task: Option<AbortHandle>,
}

impl HostTarget {
    /// This machine, with everything that it keeps below `home`.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        let secrets = SecretFolder::new(home.join("secrets"));
        Self::with_secrets(home, Arc::new(secrets))
    }

    /// The same, with secrets from elsewhere.
    pub fn with_secrets(home: impl Into<PathBuf>, secrets: Arc<dyn SecretSource>) -> Self {
        let home = home.into();
        let shared = Shared {
            environments: Environments::new(&home),
            folders: Folders::new(&home),
            layout: Layout::new(home),
            secrets,
            templates: Templates::default(),
            runs: Mutex::default(),
            interpreters: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, HashMap<RunKey, Driven>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interpreter of this name. One that was found a moment ago is not looked for again.
    fn interpreter(&self, requested: Option<&str>) -> Result<Interpreter> {
        let known = || self.interpreters.lock().unwrap_or_else(PoisonError::into_inner);
        let name = requested.map(str::to_owned);
        if let Some((found, interpreter)) = known().get(&name)
            && found.elapsed() < MOMENT
        {
            return Ok(interpreter.clone());
        }
        let interpreter = Interpreter::find(self.layout.home(), requested)?;
        known().insert(name, (Instant::now(), interpreter.clone()));
        Ok(interpreter)
    }

    fn forget(&self, key: &RunKey) {
        self.runs().remove(key);
    }
}

/// What an orchestrator started ends with it: dropping the drivers kills what is not detached.
impl Drop for HostTarget {
    fn drop(&mut self) {
        for (_, driven) in self.shared.runs().drain() {
            if let Some(task) = driven.task {
                task.abort();
            }
        }
    }
}

#[async_trait]
impl Target for HostTarget {
    fn name(&self) -> &'static str {
        "host"
    }

    async fn check(&self, job: &Job) -> Result<Vec<String>> {
        let Plan::Host(plan) = &*job.plan else {
            return Err(Error::new(ErrorKind::Unsupported, "this plan is not for this machine"));
        };
        let mut notes = plan.notes.clone();
        job.secrets.values(Some(&*self.shared.secrets), &job.run.metadata.project)?;
        if let Some(python) = &plan.python {
            self.shared.interpreter(python.interpreter.as_deref())?;
        }
        for process in &plan.processes {
            for var in &process.env {
                if let EnvValue::Secret { name, key, optional } = &var.value {
                    resolve::find_secret(&*self.shared.secrets, &var.name, name, key, *optional)?;
                }
            }
            // Of code that is still to be fetched, nothing can be known.
            if !matches!(process.work, Work::Call { .. }) && job.source.is_none() {
                check_folder(job, process.workdir.as_deref())?;
            }
            if job.source.is_none() {
                check_program(job, plan, process)?;
            }
            for note in process::limits::notes(&process.limits) {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        Ok(notes)
    }

    async fn apply(&self, job: Job) -> Result<mpsc::Receiver<Event>> {
        let (events, receiver) = mpsc::channel(WAITING_EVENTS);
        let (control, commands) = mpsc::channel(4);
        let key = job.key.clone();
        {
            let mut runs = self.shared.runs();
            if runs.contains_key(&key) {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("run {key} is being followed already"),
                ));
            }
            runs.insert(key.clone(), Driven { control, task: None });
        }
        let shared = Arc::clone(&self.shared);
        let drive = Drive { shared, job, events, control: commands, last: None };
        let task = tokio::spawn(drive.run()).abort_handle();
        // It may have ended, and been forgotten, by now.
        if let Some(driven) = self.shared.runs().get_mut(&key) {
            driven.task = Some(task);
        }
        Ok(receiver)
    }

    async fn abort(&self, key: &RunKey, grace: Duration) -> Result<()> {
        let control = self.shared.runs().get(key).map(|driven| driven.control.clone());
        if let Some(control) = control {
            // A run that has just ended hears nothing more.
            let _ = control.send(Control::Abort(grace)).await;
        } else if self.shared.folders.has(key) {
            process::strays::kill(key, None);
        }
        Ok(())
    }

    async fn release(&self, run: &Run) -> Result<()> {
        self.shared.folders.release(&run.key())
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(self.shared.folders.leftovers())
    }

    async fn close(&self) {
        self.shared.templates.clear();
        self.shared.folders.clear();
    }
}

fn check_folder(job: &Job, workdir: Option<&str>) -> Result<()> {
    let folder = workdir.map_or_else(|| job.work_dir.clone(), |workdir| job.base_dir.join(workdir));
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::not_found(format!("there is no folder {}", folder.display()))
        .at("spec.workdir")
        .help("relative paths are read against the function's folder"))
}

fn check_file(path: &std::path::Path) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::not_found(format!("there is no file {}", path.display()))
        .at("spec.command")
        .help("paths are read against the function's folder"))
}

fn check_program(job: &Job, plan: &HostPlan, process: &runtime_core::plan::Process) -> Result<()> {
    let command = match &process.work {
        Work::Python { code: Code::File(path), .. } => return check_file(&job.base_dir.join(path)),
        Work::Program { command, code: None, .. } => command,
        _ => return Ok(()),
    };
    if plan.python.is_some() {
        // What the environment's packages bring cannot be known before they are installed.
        return Ok(());
    }
    let own = std::env::var("PATH").unwrap_or_default();
    let path = process.env.iter().rev().find_map(|var| match &var.value {
        EnvValue::Value(value) if var.name == "PATH" => Some(value),
        _ => None,
    });
    let workdir =
        process.workdir.as_ref().map_or_else(|| job.work_dir.clone(), |workdir| job.base_dir.join(workdir));
    resolve::find_program(command, &[&workdir, &job.base_dir], path.unwrap_or(&own)).map(drop)
}
