//! Python handlers on warm interpreters: the imports are done once, each run is forked off (or takes its turn).

mod frame;
mod template;

use std::{os::fd::AsFd, sync::Arc, time::Duration};

use runtime_core::{
    Result,
    plan::{HostPlan, Isolation, Process, Work},
    serde_json::json,
    target::{Exit, Part, Phase},
};

pub(crate) use template::Templates;

use super::{
    drive::{Control, Drive, Stop, main_part},
    process::{
        follow::{Output, Place, stop},
        state_file::{self, Claim, Ended},
        supervisor::{self, KillOnDrop},
    },
    resolve::Resolver,
};
use template::Template;

/// Runs the handler on a template of its code and environment.
pub(crate) async fn run(
    drive: &mut Drive,
    plan: &HostPlan,
    process: &Process,
    resolver: &Resolver<'_>,
) -> Result<(Vec<Part>, Stop)> {
    let place = Place { attempt: drive.attempt_folder(), process: process.name.clone() };
    let (template, reuse) = match state_file::claim(&place.state())? {
        Claim::Gone(written) => {
            let mut output = Output::new(&place.attempt, &place.process, &drive.job.log_position);
            output.rest(&drive.events).await?;
            return Ok((main_part(plan, Phase::Ended(how(written.exit, false))), Stop::default()));
        }
        Claim::Alive => (None, false),
        Claim::Ours(_) if drive.is_stopping() => {
            return Ok((main_part(plan, Phase::Ended(Exit::Stopped)), Stop::default()));
        }
        Claim::Ours(state) => {
            let reuse = matches!(&process.work, Work::Python { isolation: Isolation::Reuse, .. });
            let (stdout, stderr) = supervisor::open_outputs(&place.attempt, &place.process)?;
            let template = drive.shared.templates.get(resolver, process, reuse, (&stdout, &stderr)).await?;
            let start = json!({ "start": {
                "id": drive.job.key.to_string(),
                "run": resolver.spec(process)?,
                "mode": if reuse { "reuse" } else { "fork" },
                "env": resolver.run_env(process),
                "workdir": resolver.workdir(process),
            }});
            // A worker takes one run at a time; a template forks as many as come.
            let turn = if reuse { Some(template.turn().await) } else { None };
            let fds = [state.as_fd(), stdout.as_fd(), stderr.as_fd()];
            let exited = template.start(&drive.job.key.to_string(), &start, &fds).await?;
            (Some((template, exited, turn)), reuse)
        }
    };
    drive.seen(main_part(plan, Phase::Ready)).await;
    follow(drive, plan, &place, template, reuse).await
}

type Started =
    (Arc<Template>, tokio::sync::oneshot::Receiver<Ended>, Option<tokio::sync::OwnedMutexGuard<()>>);

async fn follow(
    drive: &mut Drive,
    plan: &HostPlan,
    place: &Place,
    started: Option<Started>,
    reuse: bool,
) -> Result<(Vec<Part>, Stop)> {
    let state = place.state();
    let mut output = Output::new(&place.attempt, &place.process, &drive.job.log_position);
    let (template, exited, turn) = match started {
        Some((template, exited, turn)) => (Some(template), Some(exited), turn),
        None => (None, None, None),
    };
    let mut guard = Guard { state: state.clone(), armed: !drive.job.detached && !reuse };
    let mut ended = None;
    let mut why = Stop::default();
    let deadline = tokio::time::sleep(drive.remaining(plan).unwrap_or(Duration::from_secs(365 * 24 * 3600)));
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
            // The template died, or was another orchestrator's: the lock tells when the handler's process is gone.
            let state = state.clone();
            let wait = tokio::task::spawn_blocking(move || state_file::wait_until_free(&state));
            wait.await.map_err(std::io::Error::other)?
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
            let (leader, grace) = match (&template, reuse) {
                (Some(template), true) => (template.retire(), Duration::ZERO),
                _ => (state_file::read(&state).pid.unwrap_or(0), grace),
            };
            let free = state.clone();
            tokio::spawn(stop(leader, grace, async move {
                let _ = tokio::task::spawn_blocking(move || state_file::wait_until_free(&free)).await;
            }));
        }
    }
    drop(turn);
    guard.armed = false;
    output.rest(&drive.events).await?;
    let ended = ended.or_else(|| state_file::read(&state).exit);
    let stopped = why != Stop::default();
    Ok((main_part(plan, Phase::Ended(how(ended, stopped))), why))
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
