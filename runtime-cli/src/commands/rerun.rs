//! `rerun`: precisely what a run ran, again.

use runtimes::{Request, Result};

use super::run::{detached, single};
use crate::{
    home::Home,
    output::{Format, OutputArgs, Terminal, data, stdio},
    signals::Signals,
};

const EXAMPLES: &str = "\
Examples:
  runtimes rerun 3f2a              the run whose uid begins so, again
  runtimes rerun train-fit         the newest run of that name
  runtimes rerun 3f2a --check      only say what could not be as it was

The function is taken in the exact version that the run had, with its handler, parameters, inputs, packages and
folders. What cannot be as it was, or cannot be known to be, is said before it starts and noted on the new run:
inputs that changed or are gone, packages that were not recorded, secrets, other commits in its folders.";

/// Run again precisely what a run ran
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginning of a uid, or a name
    #[arg(value_name = "UID|NAME")]
    run: String,
    /// Start it and return; it goes on by itself
    #[arg(long)]
    detach: bool,
    /// Start nothing: say what could not be as it was. Exit code 1 where there is anything
    #[arg(long, conflicts_with = "detach")]
    check: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let signals = Signals::listen()?;
    let format = args.output.output;
    let orchestrator = home.open_settled().await?;
    let key = orchestrator.find(&args.run).await?.run.key();
    let reproduction = orchestrator.reproduce(&key).await?;
    let differences = &reproduction.differences;
    let lines: String = differences.iter().map(|difference| format!("{difference}\n")).collect();
    if args.check {
        let shown = if format == Format::Table { lines } else { data(differences, format)? };
        stdio::stdout(shown.as_bytes())?;
        return Ok(u8::from(!differences.is_empty()));
    }
    for line in lines.lines() {
        stdio::stderr(format!("-- not as it was: {line}\n").as_bytes());
    }
    let request = Request::from(reproduction);
    match args.detach {
        true => detached(&orchestrator, request, home, format).await,
        false => single::execute(orchestrator, request, home, format, signals, terminal).await,
    }
}
