//! A template: a Python process that has done the imports of one piece of code.

use std::{
    collections::HashMap,
    fs::File,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use runtime_core::{
    Error, ErrorKind, Result,
    plan::Process,
    run::CodeError,
    serde_json::{self, Value},
};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{OnceCell, OwnedMutexGuard, oneshot},
};

use super::frame;
use crate::host::{
    agent::{Frame, Load, Place},
    process::{
        state_file::Ended,
        supervisor::{KillOnDrop, signal_group},
    },
    resolve::Resolver,
};

/// More templates than this are not kept: the one that was used longest ago goes.
const KEPT: usize = 8;

/// The templates of a target, by code and environment.
#[derive(Default)]
pub(crate) struct Templates(Mutex<HashMap<String, Slot>>);

struct Slot {
    used: u64,
    template: Arc<OnceCell<Arc<Template>>>,
}

impl Templates {
    /// The template for this code and environment: the one that is there, or a new one whose imports are done here.
    /// What the code prints while it is imported goes to `output`.
    ///
    /// # Errors
    /// What the code raised while it was loaded, or why it could not be tried.
    pub(crate) async fn get(
        &self,
        resolver: &Resolver<'_>,
        process: &Process,
        reuse: bool,
        output: (&File, &File),
    ) -> Result<Arc<Template>, NotLoaded> {
        let invocation = resolver.template(process)?;
        let load = resolver.load(process)?;
        let text = serde_json::to_string(&load)
            .map_err(|error| Error::internal("code cannot be described").source(error))?;
        // It holds what secrets the environment has, as the process does; it is never shown.
        let key = format!("{reuse} {text} {} {:?} {:?}", version(&load), invocation.workdir, invocation.env);
        loop {
            let cell = self.cell(&key);
            let template = cell
                .get_or_try_init(|| async { Template::load(&invocation, &load, output).await.map(Arc::new) })
                .await?;
            if !template.is_dead() {
                return Ok(Arc::clone(template));
            }
            // It died meanwhile: the next one takes its place.
            let mut slots = self.lock();
            if slots.get(&key).is_some_and(|slot| Arc::ptr_eq(&slot.template, &cell)) {
                slots.remove(&key);
            }
        }
    }

    fn cell(&self, key: &str) -> Arc<OnceCell<Arc<Template>>> {
        let mut slots = self.lock();
        let now = slots.values().map(|slot| slot.used).max().unwrap_or(0) + 1;
        if let Some(slot) = slots.get_mut(key) {
            slot.used = now;
            return Arc::clone(&slot.template);
        }
        if slots.len() >= KEPT
            && let Some(oldest) = slots.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| key.clone())
        {
            slots.remove(&oldest);
        }
        let template = Arc::default();
        slots.insert(key.to_owned(), Slot { used: now, template: Arc::clone(&template) });
        template
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all templates go; they end when the runs that were forked from them have.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

/// Why there is no template.
pub(crate) enum NotLoaded {
    /// What the code raised while it was imported.
    Raised(CodeError),
    /// It could not be tried.
    Broken(Error),
}

impl From<Error> for NotLoaded {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// Those who wait for a run's end, by its id. `None` once the template is dead.
type Waiting = Arc<Mutex<Option<HashMap<String, oneshot::Sender<Ended>>>>>;

/// A Python process that has done the imports.
pub(crate) struct Template {
    socket: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Waiting,
    dead: Arc<AtomicBool>,
    turn: Arc<tokio::sync::Mutex<()>>,
    leader: i32,
}

impl Template {
    async fn load(
        invocation: &crate::host::process::supervisor::Invocation,
        load: &Load<'_>,
        output: (&File, &File),
    ) -> Result<Self, NotLoaded> {
        let broken =
            |error| Error::new(ErrorKind::Io, "the warm Python process could not be talked to").source(error);
        let (ours, theirs) = UnixStream::pair().map_err(broken)?;
        let theirs = theirs.into_std().map_err(broken)?;
        theirs.set_nonblocking(false).map_err(broken)?;
        let mut child = Command::new(&invocation.program)
            .args(&invocation.args)
            .envs(&invocation.env)
            .current_dir(&invocation.workdir)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(output.0.try_clone().map_err(broken)?))
            .stderr(Stdio::from(output.1.try_clone().map_err(broken)?))
            .process_group(0)
            .spawn()
            .map_err(|error| Error::io("start", &invocation.program, error))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
        let mut guard = KillOnDrop::new(Some(leader));
        let (mut reader, mut writer) = ours.into_split();
        frame::send(&mut writer, &Frame::Load(load), &[]).await.map_err(broken)?;
        match frame::receive(&mut reader).await.map_err(broken)? {
            Some(answer) if answer.get("ready").is_some() => {}
            Some(answer) => return Err(NotLoaded::Raised(raised(&answer))),
            None => {
                let status = child.wait().await.map_err(broken)?;
                let message = format!("the code could not be loaded: Python ended with {status}");
                return Err(Error::new(ErrorKind::Failed, message)
                    .help("the log has what it printed")
                    .into());
            }
        }
        guard.disarm();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let dead = Arc::new(AtomicBool::new(false));
        tokio::spawn(listen(reader, child, Arc::clone(&waiting), Arc::clone(&dead)));
        Ok(Self { socket: tokio::sync::Mutex::new(writer), waiting, dead, turn: Arc::default(), leader })
    }

    /// Waits for the worker to be free.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Starts a run, which gets these open files; what comes back says how it ended, or is dropped where the template
    /// died.
    pub(crate) async fn start(
        &self,
        id: &str,
        start: &Frame<'_>,
        files: &[BorrowedFd<'_>],
    ) -> Result<oneshot::Receiver<Ended>> {
        let (sender, receiver) = oneshot::channel();
        let gone =
            || Error::new(ErrorKind::Unavailable, "the warm Python process ended before the run began");
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => drop(waiting.insert(id.to_owned(), sender)),
            None => return Err(gone()),
        }
        let mut socket = self.socket.lock().await;
        frame::send(&mut socket, start, files).await.map_err(|error| {
            self.dead.store(true, Ordering::Release);
            gone().source(error)
        })?;
        Ok(receiver)
    }

    /// Whether it takes no more runs.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Takes no more runs; returns the process group to be killed.
    pub(crate) fn retire(&self) -> i32 {
        self.dead.store(true, Ordering::Release);
        self.leader
    }
}

/// Hands each end to who waits for it, until the template is gone.
async fn listen(mut reader: OwnedReadHalf, mut child: Child, waiting: Waiting, dead: Arc<AtomicBool>) {
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match frame::receive(&mut reader).await {
            Ok(Some(frame)) => {
                let Some(exited) = frame.get("exited") else { continue };
                let number =
                    |key: &str| exited.get(key).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
                let id = exited.get("id").and_then(Value::as_str).unwrap_or_default();
                let waiter = lock().as_mut().and_then(|waiting| waiting.remove(id));
                let ended = number("signal").map(Ended::Signal).or_else(|| number("code").map(Ended::Code));
                if let (Some(waiter), Some(ended)) = (waiter, ended) {
                    let _ = waiter.send(ended);
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "a warm Python process is not understood and is replaced");
                if let Some(leader) = child.id().and_then(|id| i32::try_from(id).ok()) {
                    signal_group(leader, rustix::process::Signal::KILL);
                }
                break;
            }
        }
    }
    dead.store(true, Ordering::Release);
    *lock() = None;
    let _ = child.wait().await;
}

/// What tells whether a file was changed since it was loaded.
fn version(load: &Load<'_>) -> String {
    let Place::File { path, .. } = &load.code else { return String::new() };
    let meta = std::fs::metadata(path).ok();
    meta.map(|meta| format!("{:?} {} {}", meta.modified().ok(), meta.len(), meta.ino())).unwrap_or_default()
}

fn raised(answer: &Value) -> CodeError {
    let failed = answer.get("failed").cloned().unwrap_or_default();
    runtime_core::serde_json::from_value(failed).unwrap_or_else(|_| CodeError {
        message: "the code could not be loaded".to_owned(),
        ..CodeError::default()
    })
}
