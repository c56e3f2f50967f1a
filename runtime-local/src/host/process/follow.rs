//! Following one process from its start, or from where an earlier orchestrator left it, to its end.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use runtime_core::{
    Error, Result,
    logs::{LogLine, LogPosition, Stream},
    target::{Event, Exit},
};
use rustix::process::Signal;
use tokio::{process::Child, sync::mpsc, time::Instant};

use super::{
    limits::Hold,
    state_file::{self, Claim},
    supervisor::{self, Invocation, KillOnDrop},
    tail::Tail,
};

/// How often output is looked for: often while there is some, rarely while there is none.
const LOOK: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(100));

/// The group leader of a process that may not be known yet (0), shared with who may stop it.
pub(crate) type Leader = Arc<AtomicI32>;

/// Where a process keeps its state and its output.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder of the run's attempt.
    pub(crate) attempt: PathBuf,
    /// The process's name.
    pub(crate) process: String,
}

impl Place {
    pub(crate) fn state(&self) -> PathBuf {
        state_file::path(&self.attempt, &self.process)
    }
}

/// A process that runs, or ran.
pub(crate) struct Followed {
    place: Place,
    leader: Leader,
    guard: KillOnDrop,
    hold: Hold,
    child: Option<Child>,
}

impl Followed {
    /// Starts the process, or takes up what an earlier orchestrator started. `prepare` is asked only where it must be
    /// started; `None` where it was never started and `prepare` says that it need not be.
    pub(crate) async fn start(
        place: Place,
        detached: bool,
        prepare: impl FnOnce() -> Result<Option<(Invocation, Hold)>>,
    ) -> Result<Option<Self>> {
        let path = place.state();
        let (child, hold, leader) = match state_file::settle(&path).await? {
            Claim::Ours(state) => {
                let Some((invocation, hold)) = prepare()? else { return Ok(None) };
                let child = supervisor::spawn(&invocation, state, &place.attempt, &place.process)?;
                let leader = child.id().and_then(|id| i32::try_from(id).ok());
                (Some(child), hold, leader)
            }
            Claim::Alive => (None, Hold::default(), state_file::read(&path).pid),
            Claim::Gone(_) => (None, Hold::default(), None),
        };
        let guard = KillOnDrop::new(if detached { None } else { leader });
        Ok(Some(Self { place, leader: Arc::new(AtomicI32::new(leader.unwrap_or(0))), guard, hold, child }))
    }

    /// Its process group's leader; 0 while that is not known.
    pub(crate) fn leader(&self) -> Leader {
        Arc::clone(&self.leader)
    }

    /// Waits for the end, sends every line on the way, and says how it ended. `stopped` says whether it was asked to.
    pub(crate) async fn end(
        mut self,
        position: &LogPosition,
        events: &mpsc::Sender<Event>,
        stopped: impl Fn() -> bool,
    ) -> Result<Exit> {
        let mut output = Output::new(&self.place.attempt, &self.place.process, position);
        let path = self.place.state();
        match self.child.take() {
            Some(mut child) => {
                let gone = async move { child.wait().await.map(drop) };
                output.until(gone, events).await?;
            }
            None => {
                output.until(state_file::wait_until_free(&path), events).await?;
            }
        }
        let written = state_file::read(&path);
        if written.exit.is_none() {
            // Its supervisor did not come to end what it had started.
            supervisor::signal_group(self.leader.load(Ordering::Acquire), Signal::KILL);
        }
        output.rest(events).await?;
        self.guard.disarm();
        Ok(match (written.exit, self.hold.out_of_memory()) {
            _ if stopped() => Exit::Stopped,
            (_, Some(limit)) => Exit::OutOfMemory { limit: Some(limit) },
            (Some(ended), None) => ended.exit(),
            (None, None) => {
                Exit::Lost("it was killed together with its supervisor, or the machine went down".to_owned())
            }
        })
    }
}

/// Asks a process group to end, and kills it after `grace`, unless `gone` resolves before. Where its leader is not
/// known yet (0), the state file will say it.
pub(crate) async fn stop(leader: i32, state: &Path, grace: Duration, gone: impl Future<Output = ()>) {
    tokio::pin!(gone);
    let leader = match leader {
        0 => tokio::select! {
            leader = state_file::wait_for_pid(state) => leader,
            () = &mut gone => return,
        },
        leader => leader,
    };
    if !grace.is_zero() {
        supervisor::signal_group(leader, Signal::TERM);
        if tokio::time::timeout(grace, gone).await.is_ok() {
            return;
        }
    }
    supervisor::signal_group(leader, Signal::KILL);
}

/// The two streams of a process.
pub(crate) struct Output {
    tails: [Tail; 2],
    lines: Vec<LogLine>,
}

impl Output {
    pub(crate) fn new(attempt: &Path, process: &str, position: &LogPosition) -> Self {
        let (stdout, stderr) = supervisor::output_paths(attempt, process);
        let tail = |path: &Path, stream| Tail::new(path, process, stream, position.of(process, stream));
        Self { tails: [tail(&stdout, Stream::Stdout), tail(&stderr, Stream::Stderr)], lines: Vec::new() }
    }

    /// Sends lines as they come, until the process is gone.
    pub(crate) async fn until(
        &mut self,
        gone: impl Future<Output = std::io::Result<()>>,
        events: &mpsc::Sender<Event>,
    ) -> Result<()> {
        tokio::pin!(gone);
        let mut pause = LOOK.0;
        loop {
            tokio::select! {
                biased;
                done = &mut gone => {
                    return done.map_err(|error| Error::internal("cannot wait for a process").source(error));
                }
                () = tokio::time::sleep_until(Instant::now() + pause) => {}
            }
            pause = if self.look(events).await? { LOOK.0 } else { (pause * 2).min(LOOK.1) };
        }
    }

    /// Sends what is left after the end.
    pub(crate) async fn rest(&mut self, events: &mpsc::Sender<Event>) -> Result<()> {
        while self.look(events).await? {}
        for tail in &mut self.tails {
            tail.finish(&mut self.lines);
        }
        self.send(events).await;
        Ok(())
    }

    async fn look(&mut self, events: &mpsc::Sender<Event>) -> Result<bool> {
        let mut any = false;
        for tail in &mut self.tails {
            any |= tail
                .read(&mut self.lines)
                .map_err(|error| Error::internal("cannot read what a process printed").source(error))?;
        }
        self.send(events).await;
        Ok(any)
    }

    async fn send(&mut self, events: &mpsc::Sender<Event>) {
        for line in self.lines.drain(..) {
            // Nobody listens any more: the files stay, so nothing is lost.
            if events.send(Event::Log(Box::new(line))).await.is_err() {
                break;
            }
        }
    }
}
