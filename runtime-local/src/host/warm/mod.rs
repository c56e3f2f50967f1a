//! Python handlers on warm interpreters: the imports are done once, each run is forked off (or takes its turn).

mod frame;
mod template;

use std::{
    fs::File,
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime_core::{
    Error, ErrorKind, Result,
    plan::{HostPlan, Isolation, Process, Work},
    serde_json::json,
    target::{Exit, Part, Phase},
};

use rustix::process::Signal;
pub(crate) use template::Templates;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{
    drive::{Control, Drive, Stop, main_part},
    process::{
        follow::{Output, Place, stop},
        state_file::{self, Claim, Ended},
        supervisor,
    },
    resolve::Resolver,
};
use template::Template;

/// Longer than any run.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often a run is begun anew because its template died before the handler was called.
const BEGINNINGS: u32 = 3;

/// Runs the handler on a template of its code and environment.
pub(crate) async fn run(
    drive: &mut Drive,
    plan: &HostPlan,
    process: &Process,
    resolver: &Resolver<'_>,
) -> Result<(Vec<Part>, Stop)> {
    let place = Place { attempt: drive.attempt_folder(), process: process.name.clone() };
    for _ in 0..BEGINNINGS {
        let started = match state_file::settle(&place.state()).await? {
            Claim::Gone(written) => {
                let mut output = Output::new(&place.attempt, &place.process, &drive.job.log_position);
                output.rest(&drive.events).await?;
                return Ok((main_part(plan, Phase::Ended(how(written.exit, false))), Stop::default()));
            }
            Claim::Alive => None,
            Claim::Ours(_) if drive.is_stopping() => {
                return Ok((main_part(plan, Phase::Ended(Exit::Stopped)), Stop::default()));
            }
            Claim::Ours(state) => match begin(drive, plan, process, resolver, (&place, state)).await? {
                Begun::Started(started) => Some(started),
                Begun::Stopped(why) => return Ok((main_part(plan, Phase::Ended(Exit::Stopped)), why)),
                Begun::Died => continue,
            },
        };
        drive.seen(main_part(plan, Phase::Ready)).await;
        if let Some(end) = follow(drive, plan, &place, started).await? {
            return Ok(end);
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("the warm Python process ended {BEGINNINGS} times before the handler was called"),
    ))
}

/// What came of the attempt to begin.
enum Begun {
    Started(Started),
    Stopped(Stop),
    /// The template died; the handler was not called.
    Died,
}

/// A run that was given to a template.
struct Started {
    template: Arc<Template>,
    exited: oneshot::Receiver<Ended>,
    /// Held while the worker is busy with it.
    turn: Option<OwnedMutexGuard<()>>,
    guard: Guard,
}

/// Waits for a template, and for its turn where it takes one run at a time, and gives it the run.
async fn begin(
    drive: &mut Drive,
    plan: &HostPlan,
    process: &Process,
    resolver: &Resolver<'_>,
    (place, state): (&Place, File),
) -> Result<Begun> {
    let reuse = matches!(&process.work, Work::Python { isolation: Isolation::Reuse, .. });
    let (stdout, stderr) = supervisor::open_outputs(&place.attempt, &place.process)?;
    let start = json!({ "start": {
        "id": drive.job.key.to_string(),
        "run": resolver.spec(process)?,
        "mode": if reuse { "reuse" } else { "fork" },
        "env": resolver.run_env(process),
        "workdir": resolver.workdir(process),
    }});
    let limit = drive.remaining(plan);
    let ready = async {
        let template = drive.shared.templates.get(resolver, process, reuse, (&stdout, &stderr)).await?;
        // A worker takes one run at a time; a template forks as many as come.
        let turn = if reuse { Some(template.turn().await) } else { None };
        Ok::<_, Error>((template, turn))
    };
    // Imports may take for ever, and so may those who came before.
    let (template, turn) = tokio::select! {
        biased;
        Some(Control::Abort(_)) = drive.control.recv() => {
            return Ok(Begun::Stopped(Stop { requested: true, deadline: None }));
        }
        ready = ready => ready?,
        () = tokio::time::sleep(limit.unwrap_or(FAR)), if limit.is_some() => {
            return Ok(Begun::Stopped(Stop { requested: false, deadline: plan.deadline }));
        }
    };
    if template.is_dead() {
        return Ok(Begun::Died);
    }
    let guard = Guard { state: place.state(), armed: !drive.job.detached };
    let fds = [state.as_fd(), stdout.as_fd(), stderr.as_fd()];
    match template.start(&drive.job.key.to_string(), &start, &fds).await {
        Ok(exited) => Ok(Begun::Started(Started { template, exited, turn, guard })),
        Err(error) => {
            tracing::warn!(key = %drive.job.key, %error, "a warm Python process is replaced");
            template.retire();
            Ok(Begun::Died)
        }
    }
}

/// Follows a run that a template has, or had; `None` where the handler was never called.
async fn follow(
    drive: &mut Drive,
    plan: &HostPlan,
    place: &Place,
    started: Option<Started>,
) -> Result<Option<(Vec<Part>, Stop)>> {
    let state = place.state();
    let mut output = Output::new(&place.attempt, &place.process, &drive.job.log_position);
    let (template, exited, turn, mut guard) = match started {
        Some(Started { template, exited, turn, guard }) => (Some(template), Some(exited), turn, guard),
        None => (None, None, None, Guard { state: state.clone(), armed: false }),
    };
    let mut ended = None;
    let mut why = Stop::default();
    let deadline = tokio::time::sleep(drive.remaining(plan).unwrap_or(FAR));
    tokio::pin!(deadline);
    {
        let events = drive.events.clone();
        let gone = async {
            if let Some(exited) = exited
                && let Ok(exit) = exited.await
            {
                ended = Some(exit);
                return Ok(());
            }
            // The template died, or was another orchestrator's.
            state_file::wait_until_over(&state).await
        };
        let until = output.until(gone, &events);
        tokio::pin!(until);
        loop {
            let grace = tokio::select! {
                biased;
                done = &mut until => {
                    done?;
                    break;
                }
                Some(Control::Abort(grace)) = drive.control.recv() => {
                    why.requested = true;
                    grace
                }
                () = &mut deadline, if plan.deadline.is_some() && why.deadline.is_none() => {
                    why.deadline = plan.deadline;
                    plan.grace
                }
            };
            // A worker that is busy with the run hears nothing else: it is replaced.
            let (leader, grace) = match (&template, &turn) {
                (Some(template), Some(_)) => (template.retire(), Duration::ZERO),
                _ => (0, grace),
            };
            let state = state.clone();
            tokio::spawn(async move {
                let gone = async { drop(state_file::wait_until_over(&state).await) };
                stop(leader, &state, grace, gone).await;
            });
        }
    }
    guard.armed = false;
    let written = state_file::read(&state);
    if turn.is_none()
        && let Some(leader) = written.pid
    {
        // The children of the handler's process end with it.
        supervisor::signal_group(leader, Signal::KILL);
    }
    drop(turn);
    output.rest(&drive.events).await?;
    let ended = ended.or(written.exit);
    let stopped = why != Stop::default();
    if ended.is_none() && written.pid.is_none() && !stopped {
        return Ok(None);
    }
    Ok(Some((main_part(plan, Phase::Ended(how(ended, stopped))), why)))
}

/// Kills the handler's process when the run is dropped: what an orchestrator started ends with it.
struct Guard {
    state: PathBuf,
    armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // It was given away a moment ago: whoever has it says its process id at once, or is gone.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(200) {
            if let Some(leader) = state_file::read(&self.state).pid {
                return supervisor::signal_group(leader, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(1));
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
