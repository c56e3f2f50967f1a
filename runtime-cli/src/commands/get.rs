//! `get`: one run, whole.

use runtimes::Result;

use crate::{
    home::Home,
    output::{Format, OutputArgs, Terminal, data, stdio},
};

const EXAMPLES: &str = "\
Examples:
  runtimes get 3f2a                  the run whose uid begins so
  runtimes get train-fit             the newest run of that name
  runtimes get 3f2a -o json          for programs";

/// Show a run: its parameters, results, artifacts and state
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginning of a uid, or a name
    #[arg(value_name = "UID|NAME")]
    run: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    let record = orchestrator.find(&args.run).await?;
    let shown = match args.output.output {
        Format::Table => super::with_view(terminal, |view| view.details(&record)),
        format => data(&record.run, format)?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}
