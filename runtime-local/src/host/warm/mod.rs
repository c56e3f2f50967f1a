//! Python handlers on warm interpreters: the imports are done once, each run is forked off (or takes its turn).

mod frame;
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
use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    time::Instant,
};

pub(crate) use template::Templates;

use super::{
    agent::Frame,
    drive::{Control, Drive, Stop, main_part},
    layout::write_atomically,
    process::{
        follow::{Output, Place, stop},
        state_file::{self, Claim, Ended},
        supervisor::{self, KillOnDrop, signal_group},
    },
    resolve::Resolver,
};
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
    exited: oneshot::Receiver<Ended>,
    /// The turn on a worker, which takes one run at a time.
    turn: Option<OwnedMutexGuard<()>>,
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
                Claim::Gone(written) => return Ok((how(written.exit, false), Stop::default())),
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
            self.drive.seen(main_part(self.plan, Phase::Ready)).await;
            let (ended, stop) = self.follow(started).await?;
            let stopped = stop != Stop::default();
            let began = state_file::read(&self.place.state()).pid.is_some();
            if began || stopped || tries == TRIES {
                return Ok((how(ended, stopped), stop));
            }
            tries += 1;
        }
    }

    /// Gives the run to a template, once there is one that is free. Imports may take long, or for ever: an abort and
    /// the deadline are heard meanwhile.
    async fn begin(&mut self, state: File) -> Result<Begun> {
        let (stdout, stderr) = supervisor::open_outputs(&self.place.attempt, &self.place.process)?;
        let shared = Arc::clone(&self.drive.shared);
        let (resolver, process, reuse) = (self.resolver, self.process, self.reuse);
        // All that can be done before it is this run's turn.
        let id = self.drive.job.key.to_string();
        let start = Frame::Start {
            id: &id,
            mode: if reuse { "reuse" } else { "fork" },
            // Reported in the state file: to make another file would cost more than a small run.
            run: Box::new(resolver.spec(process, resolver.load(process)?, None)),
            env: resolver.run_env(process),
            workdir: resolver.workdir(process),
        };
        let mut free = None;
        let got = async {
            free = Some(match shared.templates.get(resolver, process, reuse, (&stdout, &stderr)).await {
                // A worker takes one run at a time; a template forks as many as come.
                Ok(template) if reuse => Ok((Arc::clone(&template), Some(template.turn().await))),
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
        let (template, turn) = match free {
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
        match template.start(&id, &start, &[state.as_fd(), stdout.as_fd(), stderr.as_fd()]).await {
            Ok(exited) => Ok(Begun::Started(Started { template, exited, turn })),
            Err(error) => Ok(Begun::Died(died().source(error))),
        }
    }

    /// Reports what the code raised while it was imported as what it raises when it runs.
    fn raised(&self, error: CodeError) -> Result<Exit> {
        let report = Report { state: "error".to_owned(), error: Some(error), ..Report::default() };
        let text = serde_json::to_vec(&report)
            .map_err(|error| Error::internal("a report cannot be written").source(error))?;
        write_atomically(&self.resolver.report_file(self.process), &text)?;
        Ok(Exit::Code(1))
    }

    /// Follows the run to its end; `None` where nobody saw how it ended.
    async fn follow(&mut self, started: Option<Started>) -> Result<(Option<Ended>, Stop)> {
        let state = self.place.state();
        let (template, exited, turn) = match started {
            Some(Started { template, exited, turn }) => (Some(template), Some(exited), turn),
            None => (None, None, None),
        };
        let mut guard = Guard { state: state.clone(), armed: !self.drive.job.detached };
        let mut ended = None;
        let mut why = Stop::default();
        let events = self.drive.events.clone();
        let gone = async {
            if let Some(exited) = exited
                && let Ok(exit) = exited.await
            {
                ended = Some(exit);
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
                    Some(Control::Abort(grace)) = self.drive.control.recv() => {
                        why.requested = true;
                        grace
                    }
                    () = tokio::time::sleep_until(self.deadline),
                        if self.plan.deadline.is_some() && why.deadline.is_none() =>
                    {
                        why.deadline = self.plan.deadline;
                        self.plan.grace
                    }
                };
                stop_run(&state, template.as_deref().filter(|_| self.reuse), grace);
            }
        }
        guard.armed = false;
        drop(turn);
        let written = state_file::read(&state);
        if let (Some(leader), false) = (written.pid, self.reuse) {
            // What the handler forked and left behind.
            signal_group(leader, Signal::KILL);
        }
        Ok((ended.or(written.exit), why))
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
