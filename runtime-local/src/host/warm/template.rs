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

use runtime_core::{Error, ErrorKind, Result, plan::Process, run::CodeError, serde_json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
};

use super::{
    frame,
    taken::{Over, Started, Taken},
};
use crate::host::{
    agent::{Load, Place},
    process::{state_file::Ended, supervisor::KillOnDrop},
    resolve::Resolver,
};

/// So many runs a worker is given at once: it makes one after the other, and need not wait for the next one.
const AT_ONCE: usize = 4;

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
        load: &Load<'_>,
        reuse: bool,
        output: (&File, &File),
    ) -> Result<Arc<Template>, NotLoaded> {
        let invocation = resolver.template(process)?;
        let text = serde_json::to_string(load)
            .map_err(|error| Error::internal("code cannot be described").source(error))?;
        // It holds what secrets the environment has, as the process does; it is never shown.
        let key = format!("{reuse} {text} {} {:?} {:?}", version(load), invocation.workdir, invocation.env);
        loop {
            let cell = self.cell(&key);
            let template = cell
                .get_or_try_init(|| async { Template::load(&invocation, load, output).await.map(Arc::new) })
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

/// The runs that a template has taken; `None` once it is dead.
type Runs = Arc<Mutex<Option<Taken>>>;

/// A Python process that has done the imports.
pub(crate) struct Template {
    socket: tokio::sync::Mutex<OwnedWriteHalf>,
    runs: Runs,
    dead: Arc<AtomicBool>,
    room: Arc<Semaphore>,
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
        let (reader, mut writer) = ours.into_split();
        let mut reader = BufReader::new(reader);
        let request = frame::load(load).map_err(broken)?;
        frame::send(&mut writer, &request, &[]).await.map_err(broken)?;
        let mut answer = Vec::new();
        reader.read_until(b'\n', &mut answer).await.map_err(broken)?;
        if let Some(error) = answer.strip_prefix(b"failed ") {
            return Err(NotLoaded::Raised(raised(error)));
        }
        if answer != b"ready\n" {
            let status = child.wait().await.map_err(broken)?;
            let message = format!("the code could not be loaded: Python ended with {status}");
            return Err(Error::new(ErrorKind::Failed, message).help("the log has what it printed").into());
        }
        guard.disarm();
        let runs: Runs = Arc::new(Mutex::new(Some(Taken::default())));
        let dead = Arc::new(AtomicBool::new(false));
        tokio::spawn(listen(reader, child, Arc::clone(&runs), Arc::clone(&dead)));
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { socket: tokio::sync::Mutex::new(writer), runs, dead, room, leader })
    }

    /// Waits for room in front of a worker. `None`: it takes no more runs.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Gives it a run, which gets these open files. One with `room` is made by the worker itself, after those that were
    /// given to it before; others are forked at once.
    pub(crate) async fn start(
        &self,
        id: &str,
        start: &[u8],
        files: &[BorrowedFd<'_>],
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Started> {
        let gone =
            || Error::new(ErrorKind::Unavailable, "the warm Python process ended before the run began");
        // Held, so that the order in which they are noted is that in which they are sent.
        let mut socket = self.socket.lock().await;
        let started = match &mut *self.runs.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(taken) => taken.insert(id, room),
            None => return Err(gone()),
        };
        frame::send(&mut socket, start, files).await.map_err(|error| {
            self.dead.store(true, Ordering::Release);
            gone().source(error)
        })?;
        Ok(started)
    }

    /// Takes a run back that has not begun; what comes of it is seen as its end.
    pub(crate) async fn cancel(&self, id: &str) -> std::io::Result<()> {
        frame::send(&mut *self.socket.lock().await, &frame::cancel(id)?, &[]).await
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
async fn listen(mut reader: BufReader<OwnedReadHalf>, mut child: Child, runs: Runs, dead: Arc<AtomicBool>) {
    let lock = || runs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a warm Python process is not heard any more and is replaced");
                break;
            }
        }
        match said(&line) {
            Some((id, over)) => {
                if let Some(taken) = &mut *lock() {
                    taken.over(id, over);
                }
            }
            None => tracing::warn!(line = %line.escape_ascii(), "a warm Python process is not understood"),
        }
    }
    dead.store(true, Ordering::Release);
    // It may live on: a reused one that became another program has closed all that it was known by.
    drop(KillOnDrop::new(child.id().and_then(|id| i32::try_from(id).ok())));
    let _ = child.wait().await;
    *lock() = None;
}

/// `ID exit N`, `ID signal N` or `ID cancelled`.
fn said(line: &[u8]) -> Option<(&str, Over)> {
    let mut words = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split(' ');
    let id = words.next()?;
    let over = match (words.next()?, words.next().map(str::parse)) {
        ("exit", Some(Ok(code))) => Over::Ended(Ended::Code(code)),
        ("signal", Some(Ok(signal))) => Over::Ended(Ended::Signal(signal)),
        ("cancelled", None) => Over::Cancelled,
        _ => return None,
    };
    Some((id, over))
}

/// What tells whether a file was changed since it was loaded.
fn version(load: &Load<'_>) -> String {
    let Place::File { path, .. } = &load.code else { return String::new() };
    let meta = std::fs::metadata(path).ok();
    meta.map(|meta| format!("{:?} {} {}", meta.modified().ok(), meta.len(), meta.ino())).unwrap_or_default()
}

fn raised(answer: &[u8]) -> CodeError {
    serde_json::from_slice(answer).unwrap_or_else(|_| CodeError {
        message: "the code could not be loaded".to_owned(),
        ..CodeError::default()
    })
}
