//! Rust handlers: functions registered in this program, called in it.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use runtime_core::{
    Result,
    plan::HostPlan,
    run::Report,
    serde_json::{Map, Value},
    target::{Event, Exit, Observation, Phase},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    drive::{Control, Drive, main_part},
    given, threads,
};
use crate::handler::{Call, Context, Handlers, Lookup};

/// Calls the handler; a panic, an abort and the deadline end the run and nothing else.
pub(crate) async fn run(drive: &mut Drive, plan: &HostPlan, name: &str) -> Result<Observation> {
    if drive.job.resumed {
        // Whether it was called is known to nobody, and it must not be called twice.
        let lost = Exit::Lost("the program in which it was to run is gone".to_owned());
        return Ok(Observation { parts: main_part(plan, Phase::Ended(lost)), ..Observation::default() });
    }
    let handler = Handlers::linked().get(name)?;
    let (lines, mut logs) = mpsc::unbounded_channel();
    let context = Context::new(&drive.job, lines, lookup(drive));
    drive.seen(main_part(plan, Phase::Ready)).await;
    let _cancel = CancelOnDrop(context.clone());
    // Dropped with the run: an async handler ends then.
    let mut tasks = JoinSet::new();
    let mut outcome = start(handler.call, context.clone(), drive.job.run.spec.parameters.clone(), &mut tasks);
    let limit = drive.remaining(plan);
    let deadline = tokio::time::sleep(limit.unwrap_or(Duration::from_secs(365 * 24 * 3600)));
    tokio::pin!(deadline);
    let mut seen = Observation::default();
    let exit = loop {
        tokio::select! {
            biased;
            Some(line) = logs.recv() => drop(drive.events.send(Event::Log(Box::new(line))).await),
            done = &mut outcome => break match done.unwrap_or_else(|_| Err(Exit::Lost("its thread is gone".to_owned()))) {
                Ok(value) => {
                    context.returned(value);
                    Exit::Code(0)
                }
                Err(exit) => exit,
            },
            Some(Control::Abort(grace)) = drive.control.recv() => {
                // It may see the request and end by itself; after that it is let go.
                context.cancel();
                let _ = tokio::time::timeout(grace, &mut outcome).await;
                break Exit::Stopped;
            }
            () = &mut deadline, if limit.is_some() => {
                context.cancel();
                seen.deadline = plan.deadline;
                break Exit::Stopped;
            }
        }
    };
    while let Ok(line) = logs.try_recv() {
        let _ = drive.events.send(Event::Log(Box::new(line))).await;
    }
    seen.report = Some(report(&context, &exit));
    seen.parts = main_part(plan, Phase::Ended(exit));
    Ok(seen)
}

/// How the handler reads secrets.
fn lookup(drive: &Drive) -> Lookup {
    let (shared, run, secrets) =
        (Arc::clone(&drive.shared), Arc::clone(&drive.job.run), Arc::clone(&drive.job.secrets));
    Box::new(move |key| given::find(&*shared.secrets, &run.metadata.project, &secrets, key))
}

/// Tells a blocking handler that its run is over, also where the orchestrator goes before it.
struct CancelOnDrop(Context);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn start(
    call: Call,
    context: Context,
    parameters: Map<String, Value>,
    tasks: &mut JoinSet<()>,
) -> oneshot::Receiver<Result<Value, Exit>> {
    use futures_util::FutureExt;
    let (sender, receiver) = oneshot::channel();
    match call {
        Call::Async(function) => {
            tasks.spawn(async move {
                let future = AssertUnwindSafe(async move { function(context, parameters).await });
                let _ = sender.send(how(future.catch_unwind().await));
            });
        }
        Call::Blocking(function) => {
            let thread = threads::spawn(Box::new(move || {
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| function(&context, parameters)));
                let _ = sender.send(how(outcome));
            }));
            if let Err(error) = thread {
                tracing::error!(%error, "no thread for a handler");
            }
        }
    }
    receiver
}

fn how(outcome: std::thread::Result<Result<Value, String>>) -> Result<Value, Exit> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(Exit::Failed(message)),
        Err(panic) => Err(Exit::Panic(panic_message(&*panic))),
    }
}

fn report(context: &Context, exit: &Exit) -> Report {
    let mut report = context.report();
    report.state = if *exit == Exit::Code(0) { "completed" } else { "error" }.to_owned();
    report
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "without a message".to_owned(),
    }
}
