//! Python handlers on warm interpreters: the imports are done once, each run is forked off (or takes its turn).

mod frame;
mod taken;
mod template;

use std::{fs::File, os::fd::AsFd, sync::Arc, time::Duration};

use runtime_core::{
    Error, ErrorKind, Result,
    plan::{HostPlan, Isolation, Process, Work},
    run::{CodeError, Report},
    serde_json,
    target::{Exit, Part, Phase},
};
use rustix::process::Signal;
use tokio::{sync::oneshot, time::Instant};

pub(crate) use template::Templates;

use super::{
    drive::{Control, Drive, Stop, main_part},
    layout::write_atomically,
    process::{
        follow::{Output, Place, stop},
        state_file::{self, Claim, Ended},
        supervisor::{self, KillOnDrop, signal_group},
    },
    resolve::Resolver,
};
use taken::Over;
use template::{NotLoaded, Template};

/// A run is given to another template, where one died before the run began; so many times.
const TRIES: u32 = 5;

/// Runs the handler on a template of its code and environment.
pub(crate) async fn run(
    drive: &mut Drive,
    plan: &HostPlan,
    process: &Process,
    resolver: &Resolver<'_>,
) -> Result<(Vec<Part>, Stop)> {
    let place = Place { attempt: drive.attempt_folder(), process: process.name.clone() };
    let output = Output::new(&place.attempt, &place.process, &drive.job.log_position);
    let far = Duration::from_secs(365 * 24 * 3600);
    let deadline = Instant::now() + drive.remaining(plan).unwrap_or(far);
    let reuse = matches!(&process.work, Work::Python { isolation: Isolation::Reuse, .. });
    let mut warm = Warm { drive, plan, process, resolver, place, output, deadline, reuse };
    let ended = warm.run().await;
    // Whatever happened, what was printed is told: by the code, or while it was imported.
    warm.output.rest(&warm.drive.events).await?;
    let (exit, stop) = ended?;
    Ok((main_part(plan, Phase::Ended(exit)), stop))
}

struct Warm<'a> {
    drive: &'a mut Drive,
    plan: &'a HostPlan,
    process: &'a Process,
    resolver: &'a Resolver<'a>,
    place: Place,
    output: Output,
    deadline: Instant,
    reuse: bool,
}

/// A run that a template has taken.
struct Started {
    template: Arc<Template>,
    begun: oneshot::Receiver<()>,
    over: oneshot::Receiver<Over>,
}

enum Begun {
    Started(Started),
    /// It was stopped before it began.
    Stopped(Stop),
    /// The code could not be imported.
    Raised(CodeError),
    /// The template died before the run began.
    Died(Error),
}

impl Warm<'_> {
    async fn run(&mut self) -> Result<(Exit, Stop)> {
        let mut tries = 1;
        loop {
            let started = match state_file::claim(&self.place.state())? {
                Claim::Gone(written) => {
                    self.drive.last = Some(state_file::last(&self.place.state()));
                    return Ok((how(written.exit, false), Stop::default()));
                }
                Claim::Ours(_) if self.drive.is_stopping() => return Ok((Exit::Stopped, Stop::default())),
                Claim::Alive => None,
                Claim::Ours(state) => match self.begin(state).await? {
                    Begun::Started(started) => Some(started),
                    Begun::Stopped(stop) => return Ok((Exit::Stopped, stop)),
                    Begun::Raised(error) => return Ok((self.raised(error)?, Stop::default())),
                    Begun::Died(_) if tries < TRIES => {
                        tries += 1;
                        continue;
                    }
                    Begun::Died(error) => return Err(error),
                },
            };
            let Followed { ended, stop, begun } = self.follow(started).await?;
            let stopped = stop != Stop::default();
            let is_started = self.drive.last.as_ref().is_some_and(|last| last.written.pid.is_some());
            if is_started || stopped || tries == TRIES {
                return Ok((how(ended, stopped), stop));
            }
            // One that only waited behind others has not been tried.
            tries += u32::from(begun);
        }
    }

    /// Gives the run to a template, once there is one that is free. Imports may take long, or for ever: an abort and
    /// the deadline are heard meanwhile.
    async fn begin(&mut self, state: File) -> Result<Begun> {
        let (stdout, stderr) = supervisor::open_outputs(&self.place.attempt, &self.place.process)?;
        let shared = Arc::clone(&self.drive.shared);
        let (resolver, process, reuse) = (self.resolver, self.process, self.reuse);
        let load = resolver.load(process)?;
        // All that can be done before it is this run's turn.
        let id = self.drive.job.key.to_string();
        let start = self.frame(&id)?;
        let mut free = None;
        let got = async {
            let template = shared.templates.get(resolver, process, &load, reuse, (&stdout, &stderr)).await;
            free = Some(match template {
                // A worker makes one run at a time; a template forks as many as come.
                Ok(template) if reuse => Ok((Arc::clone(&template), template.room().await)),
                Ok(template) => Ok((template, None)),
                Err(error) => Err(error),
            });
            Ok(())
        };
        tokio::select! {
            biased;
            Some(Control::Abort(_)) = self.drive.control.recv() => {
                return Ok(Begun::Stopped(Stop { requested: true, deadline: None }));
            }
            () = tokio::time::sleep_until(self.deadline), if self.plan.deadline.is_some() => {
                return Ok(Begun::Stopped(Stop { requested: false, deadline: self.plan.deadline }));
            }
            // What is printed while it is imported is told as it is printed.
            done = self.output.until(got, &self.drive.events) => done?,
        }
        let (template, room) = match free {
            Some(Ok(free)) => free,
            Some(Err(NotLoaded::Raised(error))) => return Ok(Begun::Raised(error)),
            Some(Err(NotLoaded::Broken(error))) => return Err(error),
            None => return Err(Error::internal("a template is there or is not")),
        };
        let died =
            || Error::new(ErrorKind::Unavailable, "the warm Python process ended before the run began");
        if template.is_dead() {
            return Ok(Begun::Died(died()));
        }
        match template.start(&id, &start, &[state.as_fd(), stdout.as_fd(), stderr.as_fd()], room).await {
            Ok(taken::Started { begun, over }) => Ok(Begun::Started(Started { template, begun, over })),
            Err(error) => Ok(Begun::Died(died().source(error))),
        }
    }

    /// The run, as a template takes it.
    fn frame(&self, id: &str) -> Result<Vec<u8>> {
        let (resolver, process) = (self.resolver, self.process);
        let told = &self.drive.job.run.spec;
        // Reported in the state file: to make another file would cost more than a small run.
        frame::start(
            self.reuse,
            id,
            &resolver.workdir(process),
            !(told.parameters.is_empty() && told.inputs.is_empty()),
            &resolver.spec(process, None, None),
            resolver.run_env(process),
        )
        .map_err(|error| Error::internal("a run cannot be written").source(error))
    }

    /// Reports what the code raised while it was imported as what it raises when it runs.
    fn raised(&self, error: CodeError) -> Result<Exit> {
        let report = Report { state: "error".to_owned(), error: Some(error), ..Report::default() };
        let text = serde_json::to_vec(&report)
            .map_err(|error| Error::internal("a report cannot be written").source(error))?;
        write_atomically(&self.resolver.report_file(self.process), &text)?;
        Ok(Exit::Code(1))
    }

    /// Follows the run to its end.
    async fn follow(&mut self, started: Option<Started>) -> Result<Followed> {
        let state = self.place.state();
        let (template, mut begun, over) = match started {
            Some(Started { template, begun, over }) => (Some(template), Some(begun), Some(over)),
            None => (None, None, None),
        };
        let mut guard = Guard { state: state.clone(), armed: !self.drive.job.detached };
        let mut followed = Followed { ended: None, stop: Stop::default(), begun: begun.is_none() };
        if followed.begun {
            self.drive.seen(main_part(self.plan, Phase::Ready)).await;
        }
        let events = self.drive.events.clone();
        let mut ended = None;
        let gone = async {
            if let Some(over) = over
                && let Ok(over) = over.await
            {
                ended = Some(over);
                return Ok(());
            }
            // The template died, or was another orchestrator's: the lock tells when the handler's process is gone.
            state_file::wait_until_over(&state).await
        };
        {
            let until = self.output.until(gone, &events);
            tokio::pin!(until);
            loop {
                let grace = tokio::select! {
                    biased;
                    done = &mut until => {
                        done?;
                        break;
                    }
                    turn = turn(&mut begun), if begun.is_some() => {
                        begun = None;
                        if turn {
                            followed.begun = true;
                            self.drive.seen(main_part(self.plan, Phase::Ready)).await;
                        }
                        continue;
                    }
                    Some(Control::Abort(grace)) = self.drive.control.recv() => {
                        followed.stop.requested = true;
                        grace
                    }
                    () = tokio::time::sleep_until(self.deadline),
                        if self.plan.deadline.is_some() && followed.stop.deadline.is_none() =>
                    {
                        followed.stop.deadline = self.plan.deadline;
                        self.plan.grace
                    }
                };
                let worker = template.as_ref().filter(|_| self.reuse);
                match worker {
                    Some(worker) if !followed.begun => {
                        take_back(Arc::clone(worker), self.drive.job.key.to_string(), &state);
                    }
                    worker => stop_run(&state, worker.map(|worker| &**worker), grace),
                }
            }
        }
        guard.armed = false;
        let last = state_file::last(&state);
        if let (Some(leader), false) = (last.written.pid, self.reuse) {
            // What the handler forked and left behind.
            signal_group(leader, Signal::KILL);
        }
        followed.ended = match ended {
            Some(Over::Ended(ended)) => Some(ended),
            _ => last.written.exit,
        };
        self.drive.last = Some(last);
        Ok(followed)
    }
}

/// What was seen of a run to its end.
struct Followed {
    /// `None` where nobody saw how it ended.
    ended: Option<Ended>,
    stop: Stop,
    /// It was its turn.
    begun: bool,
}

/// Waits until it is the run's turn; `false` where its template died before.
async fn turn(begun: &mut Option<oneshot::Receiver<()>>) -> bool {
    match begun {
        Some(begun) => begun.await.is_ok(),
        None => false,
    }
}

/// Stops a run. A worker that is busy with it hears nothing else: it is replaced.
fn stop_run(state: &std::path::Path, worker: Option<&Template>, grace: Duration) {
    let (leader, grace) = match worker {
        Some(worker) => (worker.retire(), Duration::ZERO),
        None => (state_file::read(state).pid.unwrap_or(0), grace),
    };
    let state = state.to_owned();
    tokio::spawn(async move {
        let gone = async {
            let _ = state_file::wait_until_over(&state).await;
        };
        stop(leader, &state, grace, gone).await;
    });
}

/// Takes a run back from a worker that has not come to it; where it has meanwhile, stops it.
fn take_back(worker: Arc<Template>, id: String, state: &std::path::Path) {
    let state = state.to_owned();
    tokio::spawn(async move {
        if let Err(error) = worker.cancel(&id).await {
            tracing::debug!(%error, "a worker is gone whose run was to be taken back");
        }
        let gone = async {
            let _ = state_file::wait_until_over(&state).await;
        };
        stop(0, &state, Duration::ZERO, gone).await;
    });
}

/// Kills the handler's process when the run is dropped: what an orchestrator started ends with it.
struct Guard {
    state: std::path::PathBuf,
    armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed {
            drop(KillOnDrop::new(state_file::read(&self.state).pid));
        }
    }
}

fn how(ended: Option<Ended>, stopped: bool) -> Exit {
    match ended {
        _ if stopped => Exit::Stopped,
        // A template says signals as such; its codes are the handler's own.
        Some(Ended::Code(code)) => Exit::Code(code),
        Some(Ended::Signal(signal)) => Exit::Signal(signal),
        None => Exit::Lost(
            "its process was killed together with its template, or the machine went down".to_owned(),
        ),
    }
}
