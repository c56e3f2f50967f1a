//! `deploy`: starts what of a function stays up between its runs, or to be called.

use runtimes::{
    Deployment, ErrorKind, Handle, Orchestrator, Request, Result, Run, RunState, core::store::RunRecord,
};

use super::{
    run::{live::Live, request},
    status,
};
use crate::{
    home::{Home, PlaceArgs},
    output::{Format, OutputArgs, Terminal, data, stdio},
    signals::{Signals, Stop},
};

const EXAMPLES: &str = "\
Examples:
  runtimes deploy function.yaml          a Dask cluster, which runs of the function use from now on
  runtimes deploy work.py --kind dask --on kubernetes --image daskdev/dask
  runtimes status                        what is up, and where
  runtimes close work                    ends it

A function has one deployment in a place. A changed function takes the place of the version that is up; an unchanged one is
left as it is.";

/// Start what of a function stays up between its runs: for the kind `dask`, its cluster
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: a file, a stored one, or an address
    #[arg(value_name = "FUNCTION")]
    target: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// Its image on a cluster, in place of the function's
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Deploy it as this kind (`runtimes kinds` lists them)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// A Python package that it needs
    #[arg(long = "requirement", value_name = "PACKAGE")]
    requirements: Vec<String>,
    /// The project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// The tag under which this version of the function is stored
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let signals = Signals::listen()?;
    let home = &home.at(&args.place);
    let format = args.output.output;
    let request = changed(request::load(&args.target, home).await?, args);
    let orchestrator = home.open().await?;
    let (handle, was_there) = match orchestrator.deploy(request).await? {
        Deployment::Starting(handle) => (*handle, false),
        Deployment::There(record) => (orchestrator.watch(&record.run.key()).await?, true),
        _ => return Ok(0),
    };
    let key = handle.key();
    let (run, stopped) = until_ready(&orchestrator, handle, signals, terminal).await?;
    let record = orchestrator.find(&key.uid).await?;
    let follow = !run.state().is_terminal();
    orchestrator.close().await?;
    if follow {
        // From here on another process looks after it.
        home.settle().await?;
    }
    show(&record, was_there, format, terminal)?;
    Ok(match (run.state(), stopped) {
        (RunState::Running, _) => 0,
        (_, Some(stop)) => stop.exit_code(),
        _ => 1,
    })
}

/// What the command line says over what the function says.
fn changed(mut request: Request, args: Args) -> Request {
    let function = &mut request.function;
    if let Some(kind) = args.kind {
        function.kind = kind;
    }
    if let Some(image) = args.image {
        function.spec.image = image;
    }
    for requirement in args.requirements {
        if !function.spec.build.requirements.contains(&requirement) {
            function.spec.build.requirements.push(requirement);
        }
    }
    request.target = args.place.on.unwrap_or_default();
    request.project = args.project.unwrap_or_default();
    request.tag = args.tag.unwrap_or_default();
    request
}

/// Shows the deployment until it is up, or has ended; a signal closes it.
async fn until_ready(
    orchestrator: &Orchestrator,
    mut handle: Handle,
    mut signals: Signals,
    terminal: &Terminal,
) -> Result<(Run, Option<Stop>)> {
    let key = handle.key();
    // What it prints is said of it, and is no answer.
    let mut live = Live::new(Format::Json, terminal);
    let mut stopped = None;
    let mut last = None;
    loop {
        let update = tokio::select! {
            biased;
            stop = signals.next() => {
                stopped = Some(stop);
                live.say("closing it…");
                match orchestrator.abort(&key).await {
                    Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                    _ => continue,
                }
            }
            update = handle.next() => update,
        };
        let Some(update) = update else { break };
        let Some(run) = live.show(vec![update]) else { continue };
        let up = run.state() == RunState::Running && !run.status.addresses.is_empty();
        last = Some(run);
        if up {
            break;
        }
    }
    live.finish();
    match last {
        Some(run) => Ok((run, stopped)),
        None => Ok((handle.wait().await?, stopped)),
    }
}

fn show(record: &RunRecord, was_there: bool, format: Format, terminal: &Terminal) -> Result<()> {
    if format != Format::Table {
        stdio::stdout(data(&record.run, format)?.as_bytes())?;
        return Ok(());
    }
    if was_there && !record.run.state().is_terminal() {
        stdio::stderr(b"it is up already\n");
    }
    status::table(std::slice::from_ref(record), terminal)
}
