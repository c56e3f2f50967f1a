//! `run`: one run of a function, many of them, or one that goes on by itself.

mod batch;
mod hyper;
pub(super) mod live;
pub(crate) mod request;
pub(crate) mod single;
mod watch;

use std::{path::PathBuf, time::Duration};

use runtimes::{Orchestrator, Request, Result};

use super::build;
use crate::{
    home::{Home, PlaceArgs},
    output::{Format, OutputArgs, Terminal, data, human, stdio},
    parse::{self, Pair},
    signals::Signals,
};

const EXAMPLES: &str = "\
Examples:
  runtimes run train.py                                  the whole program
  runtimes run train.py --handler fit -p epochs=3        fit(epochs=3) in it
  runtimes run train.py -- --epochs 3                    arguments for the program
  runtimes run function.yaml --input data=iris.csv --limits mem=2Gi,cpu=1
  runtimes run train:prod --detach                       a stored function, in the background
  runtimes run hub://describe --kind local               a function of a hub
  runtimes run square.py --handler square -p n=3 --count 1000 --parallel 32
  runtimes run train.py --notify slack=secret:SLACK --schedule '30 2 * * *'
  runtimes run train.py --handler fit -x lr=0.1,0.01 -x depth=2,4 --selector max.accuracy
  runtimes run train.py --kind job --image python:3.12 --on kubernetes --namespace ml

Exit code: that of the program; 0 completed, 1 failed, 2 not started (bad input), 130 stopped
with Ctrl-C, 143 stopped otherwise.";

/// The heading of what is said of the command itself.
const HOW: &str = "The command";

/// Run a function, on this machine or on a cluster
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A function.yaml, a .py, .ipynb or .sh file, a stored function ([PROJECT/]NAME[:TAG|@HASH]), or an address:
    /// hub://NAME[:TAG], git://HOST/OWNER/REPOSITORY.git#REF:PATH, https://…/function.yaml
    target: String,
    /// Arguments for the program
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,

    #[command(flatten)]
    call: CallArgs,
    #[command(flatten)]
    retry: hyper::RetryArgs,
    #[command(flatten)]
    hyper: hyper::HyperArgs,
    #[command(flatten)]
    function: FunctionArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    notify: watch::NotifyArgs,
    #[command(flatten)]
    schedule: watch::ScheduleArgs,

    #[command(flatten, next_help_heading = HOW)]
    place: PlaceArgs,
    /// Its image on a cluster, in place of the function's
    #[arg(long, help_heading = HOW, value_name = "IMAGE")]
    image: Option<String>,
    /// Build its image first, where it has one to build and none was built of the same content (see `runtimes build`)
    #[arg(long, help_heading = HOW)]
    auto_build: bool,
    /// What builds it [httpdb.builder.builder of cluster.yaml, or buildkit]
    #[arg(long, help_heading = HOW, value_name = "BUILDER", value_parser = build::BUILDERS, requires = "auto_build")]
    builder: Option<String>,
    /// Start it and return; it goes on by itself
    #[arg(long, help_heading = HOW, conflicts_with_all = ["watch", "count"])]
    detach: bool,
    /// Show its log until it ends (this is what `run` does unless it is told otherwise)
    #[arg(long, help_heading = HOW)]
    watch: bool,
    /// Run it so many times, and show a summary
    #[arg(long, help_heading = HOW, value_name = "N", conflicts_with = "hyper_params",
          value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// So many at a time: runs with --count, or iterations [1]
    #[arg(long, help_heading = HOW, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    parallel: Option<u32>,
    #[command(flatten, next_help_heading = HOW)]
    pub(crate) output: OutputArgs,
}

/// What the handler is given.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "The call")]
struct CallArgs {
    /// The function to call in the file
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// A parameter; JSON where it is JSON, otherwise text
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = parse::pair)]
    params: Vec<Pair>,
    /// A YAML or JSON file of parameters; --param goes over it. Rows (csv, or a list of mappings) are iterations, and
    /// so are lists where every value is one
    #[arg(long, value_name = "FILE")]
    param_file: Option<PathBuf>,
    /// Data to read: a path, a URL (s3, gs, az, https), or an artifact of another run (store://PROJECT/KEY)
    #[arg(long = "input", value_name = "KEY=PATH", value_parser = parse::pair)]
    inputs: Vec<Pair>,
    /// The name of the next return value: accuracy, or data:dataset for an artifact
    #[arg(long, value_name = "NAME")]
    returns: Vec<String>,
    /// Where artifacts are put: a folder or a URL; {{run.uid}} and {{project}} are filled in
    #[arg(long, value_name = "PATH")]
    artifact_path: Option<String>,
    /// The longest time it may take (90s, 10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    timeout: Option<Duration>,
    /// What the handler's logger shows
    #[arg(long, value_name = "LEVEL", value_parser = ["debug", "info", "warning", "error"])]
    log_level: Option<String>,
}

/// What is changed in the function.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "The function")]
struct FunctionArgs {
    /// Run it as this kind (`runtimes kinds` lists them)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// An environment variable
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = parse::pair)]
    env: Vec<Pair>,
    /// A file of environment variables; --env goes over it
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// The most it may use: mem=1Gi,cpu=2
    #[arg(long, value_name = "LIMITS", value_parser = parse::limits)]
    limits: Option<parse::Limits>,
    /// A Python package that it needs
    #[arg(long = "requirement", value_name = "PACKAGE")]
    requirements: Vec<String>,
    /// Its name: of several functions in one file, told apart by `# mlrun: start-code NAME`, this one
    #[arg(id = "function", long = "function", value_name = "NAME")]
    name: Option<String>,
    /// The tag under which this version of the function is stored
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// How the run is found again.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "The record")]
struct RecordArgs {
    /// The name of the run
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// A label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::pair)]
    labels: Vec<Pair>,
}

pub(crate) async fn execute(mut args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    // From here on a signal is a request to stop the run, which must not be missed while it starts.
    let signals = Signals::listen()?;
    let home = &home.at(&args.place).built_by(args.builder.take());
    let (detach, count, parallel) = (args.detach, args.count, args.parallel);
    let format = args.output.output;
    let schedule = args.schedule.take();
    if let Some(schedule) = &schedule {
        schedule.times()?;
    }
    let source = request::Source::of(std::mem::take(&mut args.target));
    let (orchestrator, request) = match source {
        // Bad files are refused before a store is made for them.
        request::Source::File(path) => {
            let request = request::build(request::from_file(&path, args.function.name.as_deref())?, args)?;
            (home.open().await?, request)
        }
        request::Source::Address(address) => {
            let request = request::build(request::from_address(&address, home).await?, args)?;
            (home.open().await?, request)
        }
        request::Source::Stored(uri) => {
            let orchestrator = request::open_for(home, &uri).await?;
            let function = request::stored(&orchestrator, &uri).await?;
            (orchestrator, request::build(function, args)?)
        }
    };
    let request = match build::first(&orchestrator, request, terminal).await? {
        build::First::Go(request) => *request,
        build::First::Stopped(code) => return Ok(code),
    };
    if let Some(schedule) = schedule {
        let record = orchestrator.schedule(schedule, request).await?;
        super::schedule::announce(&record, format)?;
        return Ok(0);
    }
    match count {
        _ if detach => detached(&orchestrator, request, home, format).await,
        Some(count) => {
            let batch = batch::Batch { count, parallel: parallel.unwrap_or(1) as usize, format };
            batch.execute(orchestrator, request, signals, terminal).await
        }
        None => single::execute(orchestrator, request, home, format, signals, terminal).await,
    }
}

/// Records the run and leaves it to a process that outlives this one.
pub(crate) async fn detached(
    orchestrator: &Orchestrator,
    mut request: Request,
    home: &Home,
    format: Format,
) -> Result<u8> {
    request.detached = true;
    let key = orchestrator.record(request).await?;
    home.settle().await?;
    if format == Format::Table {
        stdio::stdout(format!("{key}\n").as_bytes())?;
        let uid = human::uid(&key.uid);
        stdio::stderr(
            format!("follow it: runtimes logs -f {uid}\nstop it:   runtimes abort {uid}\n").as_bytes(),
        );
    } else {
        let record = orchestrator.find(&key.uid).await?;
        stdio::stdout(data(&record.run, format)?.as_bytes())?;
    }
    Ok(0)
}
