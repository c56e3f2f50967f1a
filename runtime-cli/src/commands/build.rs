//! `build`: what a function needs before it can run: on a cluster its image, on this machine its environment.

use std::time::Duration;

use runtimes::{
    Build, Orchestrator, Request, Result,
    core::{run::RunState, store::FunctionRecord},
};

use super::run::{request, single};
use crate::{
    home::{Home, PlaceArgs},
    output::{Format, OutputArgs, Terminal, data, human, stdio},
    parse,
    signals::Signals,
};

/// What builds images.
pub(crate) const BUILDERS: [&str; 2] = ["buildkit", "kaniko"];

const EXAMPLES: &str = "\
Examples:
  runtimes build function.yaml                           here: the environment with its packages
  runtimes build function.yaml --on kubernetes           its image, by a pod of the cluster
  runtimes build train.py --kind job --requirement pandas --base-image python:3.12 \\
      --image registry.example.com/train:1 --secret registry-login --on kubernetes
  runtimes render function.yaml --build                  that pod, and the Dockerfile; sends nothing

The image is made of `build` in the function: base_image (or `image`), source, commands, requirements, extra. Code that the
function carries, and a source on this machine, are no part of it. Where `build.image` names none, it is REGISTRY/func-PROJECT-NAME:DIGITS, the digits being
those of its content: what was built once is not built again. REGISTRY is `build.registry`, or of cluster.yaml in the home:

  config: {httpdb.builder.docker_registry: registry.example.com/ml, httpdb.builder.docker_registry_secret: NAME}

The function is stored with its image, by its digest, as a new version. The build is a run: `runtimes logs`, `why`, `abort`.";

/// Build what a function needs: on a cluster its image, on this machine its environment
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: a file, a stored one, or an address
    #[arg(value_name = "FUNCTION")]
    target: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// What builds the image [httpdb.builder.builder of cluster.yaml, or buildkit]
    #[arg(long, value_name = "BUILDER", value_parser = BUILDERS)]
    builder: Option<String>,
    /// Build it also where an image of the same content was built: what it is built on, or its source, has changed
    #[arg(long)]
    rebuild: bool,
    /// What the image is called, in place of `build.image`
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The image to build on, in place of `build.base_image`
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// A further Python package
    #[arg(long = "requirement", value_name = "PACKAGE")]
    requirements: Vec<String>,
    /// A further command, run while the image is built
    #[arg(long = "command", short = 'c', value_name = "COMMAND")]
    commands: Vec<String>,
    /// The secret of the cluster with the registry's account, in place of `build.secret`
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// The longest time it may take (90s, 10m, 2h) [a day]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    timeout: Option<Duration>,
    /// Build it as this kind (`runtimes kinds` lists them)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// The project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// The tag under which the function is stored
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(mut args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let signals = Signals::listen()?;
    let home = &home.at(&args.place).built_by(args.builder.take());
    let (format, again) = (args.output.output, args.rebuild);
    let request = changed(request::load(&args.target, home).await?, args);
    let orchestrator = home.open().await?;
    match orchestrator.build(request, again).await? {
        Build::Nothing => say("there is nothing to build: it runs as it is", None, format)?,
        Build::Ready(record) => say("it was built already", Some(&record), format)?,
        Build::Running(handle) => {
            return single::finish(orchestrator, *handle, home, format, signals, terminal).await;
        }
        _ => {}
    }
    orchestrator.close().await?;
    Ok(0)
}

/// What the command line says over what the function says.
fn changed(mut request: Request, args: Args) -> Request {
    let function = &mut request.function;
    if let Some(kind) = args.kind {
        function.kind = kind;
    }
    let build = &mut function.spec.build;
    for (field, given) in [
        (&mut build.image, args.image),
        (&mut build.base_image, args.base_image),
        (&mut build.secret, args.secret),
    ] {
        if let Some(given) = given {
            *field = given;
        }
    }
    for requirement in args.requirements {
        if !build.requirements.contains(&requirement) {
            build.requirements.push(requirement);
        }
    }
    build.commands.extend(args.commands);
    request.target = args.place.on.unwrap_or_default();
    request.project = args.project.unwrap_or_default();
    request.tag = args.tag.unwrap_or_default();
    match args.timeout {
        Some(limit) => request.timeout(limit),
        None => request,
    }
}

/// Where nothing had to be done.
fn say(what: &str, record: Option<&FunctionRecord>, format: Format) -> Result<()> {
    let image = record.map(|record| &record.function.spec.image);
    let function = record.map(|record| record.function.uri());
    if format != Format::Table {
        let value = runtimes::core::serde_json::json!({"note": what, "image": image, "function": function});
        stdio::stdout(data(&value, format)?.as_bytes())?;
        return Ok(());
    }
    let mut text = format!("{what}\n");
    for (name, value) in [("image", image), ("function", function.as_ref())] {
        if let Some(value) = value {
            text += &format!("{name:<10}{value}\n");
        }
    }
    stdio::stdout(text.as_bytes())?;
    Ok(())
}

/// What comes of a request that may have its image built first.
pub(crate) enum First {
    /// It can be started.
    Go(Box<Request>),
    /// The build was stopped: the exit code.
    Stopped(u8),
}

/// Builds the image of a function that is to be run, where that is asked for. All that is said of it goes to stderr: what
/// is on stdout is the run's.
pub(crate) async fn first(
    orchestrator: &Orchestrator,
    request: Request,
    terminal: &Terminal,
) -> Result<First> {
    let record = match orchestrator.build_first(&request).await? {
        Build::Running(handle) => {
            let key = handle.key();
            stdio::stderr(format!("building its image: {}\n", human::uid(&key.uid)).as_bytes());
            let signals = Signals::listen()?;
            let seen = single::see(orchestrator, *handle, Format::Json, signals, terminal).await?;
            // Also what it left is gone then, if nothing follows.
            orchestrator.idle().await;
            if let (Some(stop), true) = (seen.stopped, seen.run.state() != RunState::Completed) {
                return Ok(First::Stopped(stop.exit_code()));
            }
            let record = orchestrator.built(&seen.run).await?;
            stdio::stderr(format!("built {}\n", record.function.spec.image).as_bytes());
            record
        }
        Build::Ready(record) => {
            stdio::stderr(format!("built already: {}\n", record.function.spec.image).as_bytes());
            *record
        }
        _ => return Ok(First::Go(Box::new(request))),
    };
    Ok(First::Go(Box::new(request.with_function(record.function))))
}
