//! The processes of one run: started in order, each when those before it are ready, and ended together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use runtime_core::{
    Result,
    logs::LogLine,
    plan::{HostPlan, Process, Readiness, Role},
    target::{Event, Exit, Part, Phase},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    drive::{Control, Drive, Stop},
    process::{
        follow::{Followed, Leader, Place, stop},
        limits::Hold,
    },
    ready,
    resolve::Resolver,
};

/// A worker that dies is started again, so many times in a row.
const WORKER_RESTARTS: u32 = 10;

/// One that lived for so long begins a new row.
const LONG: Duration = Duration::from_secs(60);

/// How long what has no more work may take to end.
const HELPERS_GRACE: Duration = Duration::from_secs(5);

/// Who ends before whom: the others are still there for those that use them.
const ORDER: [Role; 3] = [Role::Main, Role::Worker, Role::Service];

/// The processes of one run.
pub(crate) struct Group<'a> {
    drive: &'a mut Drive,
    plan: &'a HostPlan,
    resolver: &'a Resolver<'a>,
    slots: Vec<Slot<'a>>,
    stop: Stop,
    /// Everything is to end, after this time at the latest.
    ending: Option<Duration>,
    /// Dropped with the group: what it follows is killed then.
    tasks: JoinSet<()>,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
}

struct Slot<'a> {
    process: &'a Process,
    phase: Phase,
    /// How often it was started again, and how often soon after the last time.
    restarts: u32,
    soon: u32,
    started: Instant,
    stopped: Arc<AtomicBool>,
    running: Option<Running>,
}

/// What is needed to stop a process.
struct Running {
    place: Place,
    leader: Leader,
    /// Turns true when it has ended.
    gone: watch::Receiver<bool>,
    /// Whether it was asked to end.
    asked: bool,
}

impl Running {
    /// Asks it to end, and kills it after this time.
    fn stop(&self, grace: Duration) {
        let mut gone = self.gone.clone();
        let (leader, state) = (Arc::clone(&self.leader), self.place.state());
        tokio::spawn(async move {
            stop(leader.load(Ordering::Acquire), &state, grace, async move {
                let _ = gone.wait_for(|gone| *gone).await;
            })
            .await;
        });
    }
}

enum News {
    Ready(usize),
    Ended(usize, Result<Exit>),
}

impl<'a> Group<'a> {
    pub(crate) fn new(drive: &'a mut Drive, plan: &'a HostPlan, resolver: &'a Resolver<'a>) -> Self {
        let slots = plan
            .processes
            .iter()
            .map(|process| Slot {
                process,
                phase: Phase::Waiting(waiting_for(process)),
                restarts: 0,
                soon: 0,
                started: Instant::now(),
                stopped: Arc::default(),
                running: None,
            })
            .collect();
        Self {
            drive,
            plan,
            resolver,
            slots,
            stop: Stop::default(),
            ending: None,
            tasks: JoinSet::new(),
            news: mpsc::unbounded_channel(),
        }
    }

    /// Runs them all; returns how each ended, and why they were stopped if they were.
    pub(crate) async fn run(mut self) -> Result<(Vec<Part>, Stop)> {
        let far = Duration::from_secs(365 * 24 * 3600);
        let deadline = tokio::time::sleep(self.drive.remaining(self.plan).unwrap_or(far));
        tokio::pin!(deadline);
        if let Err(error) = self.start_ready().await {
            self.stop_all(Duration::ZERO);
            self.drain().await;
            return Err(error);
        }
        self.drive.seen(self.parts()).await;
        while self.alive() {
            tokio::select! {
                biased;
                Some(news) = self.news.1.recv() => self.take(news).await?,
                Some(Control::Abort(grace)) = self.drive.control.recv() => {
                    self.stop.requested = true;
                    self.stop_all(grace);
                }
                () = &mut deadline, if self.plan.deadline.is_some() && self.stop.deadline.is_none() => {
                    self.stop.deadline = self.plan.deadline;
                    self.stop_all(self.plan.grace);
                }
            }
        }
        Ok((self.parts(), self.stop))
    }

    /// Whether anything runs, or is still to run.
    fn alive(&self) -> bool {
        self.slots.iter().any(|slot| slot.running.is_some())
    }

    fn parts(&self) -> Vec<Part> {
        let part = |slot: &Slot<'_>| Part {
            name: slot.process.name.clone(),
            role: slot.process.role,
            phase: slot.phase.clone(),
        };
        self.slots.iter().map(part).collect()
    }

    /// Says where the run is found, where this is its main process and is ready.
    async fn tell_addresses(&self, index: usize) {
        let slot = &self.slots[index];
        let ready = slot.process.role == Role::Main && slot.phase == Phase::Ready;
        if ready && !self.plan.addresses.is_empty() {
            let filled = |text: &String| HostPlan::fill_ports(text, self.resolver.ports);
            let addresses = self.plan.addresses.iter().map(|(name, text)| (name.clone(), filled(text)));
            let _ = self.drive.events.send(Event::Addresses(addresses.collect())).await;
        }
    }

    /// Starts what waits for nothing any more.
    async fn start_ready(&mut self) -> Result<()> {
        for index in 0..self.slots.len() {
            let process = self.slots[index].process;
            let waits = matches!(self.slots[index].phase, Phase::Waiting(_));
            if waits && process.after.iter().all(|name| self.is_ready(name)) {
                self.start(index).await?;
            }
        }
        Ok(())
    }

    fn is_ready(&self, name: &str) -> bool {
        self.slots.iter().filter(|slot| slot.process.name == name).all(|slot| match &slot.phase {
            Phase::Ready => true,
            Phase::Ended(Exit::Code(0)) => slot.process.ready == Readiness::Completed,
            _ => false,
        })
    }

    async fn start(&mut self, index: usize) -> Result<()> {
        let slot = &mut self.slots[index];
        let process = slot.process;
        let name = match slot.restarts {
            0 => process.name.clone(),
            restarts => format!("{}.{restarts}", process.name),
        };
        let place = Place { attempt: self.drive.attempt_folder(), process: name };
        let resolver = self.resolver;
        let stopping = self.drive.is_stopping();
        let started = Followed::start(place.clone(), self.drive.job.detached, || {
            if stopping {
                return Ok(None);
            }
            let hold = Hold::prepare(&process.limits, &format!("{}-{}", self.drive.job.key, place.process));
            Ok(Some((resolver.invocation(process, &hold.script)?, hold)))
        })
        .await?;
        let Some(followed) = started else {
            self.slots[index].phase = Phase::Ended(Exit::Stopped);
            return Ok(());
        };
        let (gone_sender, gone) = watch::channel(false);
        let leader = followed.leader();
        self.follow(index, followed, gone_sender);
        let slot = &mut self.slots[index];
        slot.phase = if process.ready == Readiness::Started { Phase::Ready } else { Phase::Running };
        slot.started = Instant::now();
        ready::watch(process, &place, self.resolver.ports, gone.clone(), {
            let news = self.news.0.clone();
            move || drop(news.send(News::Ready(index)))
        });
        slot.running = Some(Running { place, leader, gone, asked: false });
        self.tell_addresses(index).await;
        Ok(())
    }

    fn follow(&mut self, index: usize, followed: Followed, gone: watch::Sender<bool>) {
        let events = self.drive.events.clone();
        let news = self.news.0.clone();
        let stopped = Arc::clone(&self.slots[index].stopped);
        let position = self.drive.job.log_position.clone();
        self.tasks.spawn(async move {
            let exit = followed.end(&position, &events, || stopped.load(Ordering::Acquire)).await;
            gone.send_replace(true);
            let _ = news.send(News::Ended(index, exit));
        });
    }

    async fn take(&mut self, news: News) -> Result<()> {
        match news {
            News::Ready(index) if self.slots[index].phase == Phase::Running => {
                self.slots[index].phase = Phase::Ready;
                self.tell_addresses(index).await;
                if let Err(error) = self.start_ready().await {
                    self.stop_all(Duration::ZERO);
                    self.drain().await;
                    return Err(error);
                }
            }
            News::Ready(_) => {}
            News::Ended(index, exit) => {
                self.slots[index].running = None;
                self.slots[index].phase = Phase::Ended(exit?);
                self.after_end(index).await?;
                self.stop_next();
            }
        }
        if self.alive() {
            self.drive.seen(self.parts()).await;
        }
        Ok(())
    }

    async fn after_end(&mut self, index: usize) -> Result<()> {
        let slot = &self.slots[index];
        let process = slot.process;
        let well = slot.phase == Phase::Ended(Exit::Code(0));
        if self.stop != Stop::default() {
            return Ok(());
        }
        match process.role {
            Role::Main => self.stop_all(self.plan.grace),
            _ if well && process.ready == Readiness::Completed => self.start_ready().await?,
            _ if slot.stopped.load(Ordering::Acquire) => {}
            Role::Service => {
                if well {
                    // It was needed to the end: that it ended well is no excuse, and would look like one.
                    let early = Exit::Lost("exit code 0".to_owned());
                    self.slots[index].phase = Phase::Ended(early);
                }
                self.stop_all(self.plan.grace);
            }
            Role::Worker if slot.soon < WORKER_RESTARTS || slot.started.elapsed() > LONG => {
                let line = format!("{} ended ({:?}) and is started again", process.name, slot.phase);
                let _ = self.drive.events.send(Event::Log(Box::new(LogLine::system(line)))).await;
                let slot = &mut self.slots[index];
                slot.soon = if slot.started.elapsed() > LONG { 1 } else { slot.soon + 1 };
                slot.restarts += 1;
                self.start(index).await?;
            }
            Role::Worker => self.stop_all(self.plan.grace),
        }
        Ok(())
    }

    /// Starts nothing more, and stops what runs: the main process, then its workers, then what these need.
    fn stop_all(&mut self, grace: Duration) {
        for slot in &mut self.slots {
            slot.stopped.store(true, Ordering::Release);
            if slot.running.is_none() && matches!(slot.phase, Phase::Waiting(_)) {
                slot.phase = Phase::Ended(Exit::Stopped);
            }
        }
        let sooner = self.ending.is_none_or(|known| grace < known);
        if sooner {
            self.ending = Some(grace);
            self.slots.iter_mut().filter_map(|slot| slot.running.as_mut()).for_each(|one| one.asked = false);
        }
        self.stop_next();
    }

    /// Asks those to end whose turn it is. Where there is no time for turns, that is all.
    fn stop_next(&mut self) {
        let Some(grace) = self.ending else { return };
        for role in ORDER {
            let mut any = false;
            for slot in self.slots.iter_mut().filter(|slot| slot.process.role == role) {
                let Some(running) = &mut slot.running else { continue };
                any = true;
                if !std::mem::replace(&mut running.asked, true) {
                    running.stop(if role == Role::Main { grace } else { grace.min(HELPERS_GRACE) });
                }
            }
            if any && !grace.is_zero() {
                return;
            }
        }
    }

    /// Waits until what was stopped is gone.
    async fn drain(&mut self) {
        while self.alive() {
            if let Some(News::Ended(index, _)) = self.news.1.recv().await {
                self.slots[index].running = None;
                self.stop_next();
            }
        }
    }
}

fn waiting_for(process: &Process) -> String {
    match process.after.as_slice() {
        [] => "its turn".to_owned(),
        after => after.join(", "),
    }
}
