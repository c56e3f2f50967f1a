//! One run, watched to its end.

use std::time::Duration;

use futures_util::FutureExt;
use runtimes::{
    Error, ErrorKind, Handle, Orchestrator, Request, Result, Run, RunState, Update,
    core::{run::RunKey, store::RunRecord},
};
use tokio::sync::mpsc;

use super::live::Live;
use crate::{
    home::Home,
    output::{Format, Terminal, data, stdio},
    signals::{Signals, Stop},
};

/// How long it waits for somebody who is to be told of the run; then a process in the background does.
const PATIENCE: Duration = Duration::from_secs(3);

/// So many updates are shown at once at most.
const BATCH: usize = 512;

pub(crate) async fn execute(
    orchestrator: Orchestrator,
    request: Request,
    home: &Home,
    format: Format,
    signals: Signals,
    terminal: &Terminal,
) -> Result<u8> {
    let handle = orchestrator.submit(request).await?;
    finish(orchestrator, handle, home, format, signals, terminal).await
}

/// Follows a run that was started to its end, and says what came out of it.
pub(crate) async fn finish(
    orchestrator: Orchestrator,
    handle: Handle,
    home: &Home,
    format: Format,
    signals: Signals,
    terminal: &Terminal,
) -> Result<u8> {
    let Seen { run, stopped, failure } = see(&orchestrator, handle, format, signals, terminal).await?;
    let iterations = match format {
        Format::Table if run.spec.is_hyper() => orchestrator.iterations(&run.metadata.uid).await?,
        _ => Vec::new(),
    };
    show(&run, &iterations, format, terminal)?;
    leave(&orchestrator, home, &run).await;
    orchestrator.close().await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(exit_code(&run, stopped)),
    }
}

/// A run that was shown to its end.
pub(crate) struct Seen {
    pub(crate) run: Run,
    /// It was to be stopped.
    pub(crate) stopped: Option<Stop>,
    /// What went wrong with stdout.
    failure: Option<Error>,
}

/// Shows a run to its end; a signal stops it.
pub(crate) async fn see(
    orchestrator: &Orchestrator,
    mut handle: Handle,
    format: Format,
    signals: Signals,
    terminal: &Terminal,
) -> Result<Seen> {
    let stops = stop_on_signal(orchestrator.clone(), handle.key(), signals);
    let mut live = Live::new(format, terminal);
    let (run, stopped) = follow(&mut handle, &mut live, stops).await;
    let failure = live.finish();
    // Where its end was not seen, the handle knows why.
    let run = match run {
        Some(run) if run.state().is_terminal() => run,
        _ => handle.wait().await?,
    };
    Ok(Seen { run, stopped, failure })
}

/// What happens on a signal, told to whoever shows the run.
enum Stopping {
    /// It was asked to stop.
    Asked(Stop),
    /// It could not be asked.
    Failed(Error),
}

/// Stops the run at the first signal and kills it at the second. A task of its own: what is shown may be held up
/// by whoever reads it.
fn stop_on_signal(orchestrator: Orchestrator, key: RunKey, mut signals: Signals) -> mpsc::Receiver<Stopping> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let stop = signals.next().await;
        let _ = sender.send(Stopping::Asked(stop)).await;
        let abort = async {
            match orchestrator.abort(&key).await {
                // It has ended already: its end is on its way.
                Err(error) if error.kind() != ErrorKind::Conflict => {
                    let _ = sender.send(Stopping::Failed(error)).await;
                }
                _ => {}
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = abort => {}
            _ = signals.next() => {}
        }
        // The end of the run is seen by whoever shows it.
        if let Err(error) = orchestrator.abort_within(&key, Some(Duration::ZERO)).await
            && error.kind() != ErrorKind::Conflict
        {
            let _ = sender.send(Stopping::Failed(error)).await;
        }
    });
    receiver
}

async fn follow(
    handle: &mut Handle,
    live: &mut Live,
    mut stops: mpsc::Receiver<Stopping>,
) -> (Option<Run>, Option<Stop>) {
    let mut last = None;
    let mut stopped = None;
    loop {
        let update = tokio::select! {
            biased;
            Some(stopping) = stops.recv() => {
                match stopping {
                    Stopping::Asked(stop) => {
                        live.say("stopping… press Ctrl-C again to kill it");
                        stopped = Some(stop);
                    }
                    Stopping::Failed(error) => live.say(&format!("cannot stop it: {error}")),
                }
                continue;
            }
            update = handle.next() => update,
        };
        let Some(update) = update else { break };
        if let Some(run) = live.show(ready(update, handle)) {
            last = Some(run);
        }
    }
    (last, stopped)
}

/// This update, and all that are there already: they are written together.
fn ready(first: Update, handle: &mut Handle) -> Vec<Update> {
    let mut updates = vec![first];
    while updates.len() < BATCH
        && let Some(Some(update)) = handle.next().now_or_never()
    {
        updates.push(update);
    }
    updates
}

fn show(run: &Run, iterations: &[RunRecord], format: Format, terminal: &Terminal) -> Result<()> {
    if format != Format::Table {
        stdio::stdout(data(run, format)?.as_bytes())?;
        return Ok(());
    }
    let (result, failure) =
        crate::commands::with_view(terminal, |view| (view.result(run, iterations), view.failure(run)));
    stdio::stdout(format!("\n{result}").as_bytes())?;
    if let Some(failure) = failure {
        stdio::stderr(failure.as_bytes());
    }
    Ok(())
}

/// Runs that lost their process are found at every command, so also after this one; so is what is still to be told of
/// this run.
async fn leave(orchestrator: &Orchestrator, home: &Home, run: &Run) {
    let mut left = orchestrator.orphans().await.is_ok_and(|orphans| !orphans.is_empty());
    if !run.spec.notifications.is_empty() {
        orchestrator.flush(PATIENCE).await;
        let record = orchestrator.find(&run.metadata.uid).await;
        for (name, status) in record.into_iter().flat_map(|record| record.run.status.notifications.clone()) {
            let (again, reason) = (status.status == "pending", status.reason.unwrap_or_default());
            left |= again;
            if status.status != "sent" {
                let what = if again { "; it is tried again" } else { "" };
                stdio::stderr(
                    format!("warning: the notification {name} was not sent: {reason}{what}\n").as_bytes(),
                );
            }
        }
    }
    if left {
        home.take_over().await;
    }
}

/// The exit code of `run`.
fn exit_code(run: &Run, stopped: Option<Stop>) -> u8 {
    match (run.state(), stopped) {
        (RunState::Completed | RunState::Skipped, _) => 0,
        (_, Some(stop)) => stop.exit_code(),
        (RunState::Aborted, None) => Stop::Terminate.exit_code(),
        _ => run
            .status
            .exit_code
            .and_then(|code| u8::try_from(code).ok())
            .filter(|code| *code > 0)
            .unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let run = |state, code| {
            let mut run = Run::default();
            run.status.state = state;
            run.status.exit_code = code;
            run
        };
        use RunState::*;
        for (run, stopped, expected) in [
            (run(Completed, Some(0)), None, 0),
            (run(Completed, Some(0)), Some(Stop::Interrupt), 0),
            (run(Error, Some(3)), None, 3),
            (run(Error, Some(0)), None, 1),
            (run(Error, Some(-1)), None, 1),
            (run(Error, Some(256)), None, 1),
            (run(Error, None), None, 1),
            (run(Aborted, Some(143)), Some(Stop::Interrupt), 130),
            (run(Aborted, Some(137)), None, 143),
            (run(Error, Some(1)), Some(Stop::Terminate), 143),
        ] {
            assert_eq!(exit_code(&run, stopped), expected, "{:?} {stopped:?}", run.status);
        }
    }
}
