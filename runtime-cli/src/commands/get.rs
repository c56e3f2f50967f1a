//! `get`: one run, whole.

use runtimes::{Error, Orchestrator, Result, Run};

use crate::{
    home::Home,
    output::{Format, OutputArgs, Terminal, data, stdio},
};

const EXAMPLES: &str = "\
Examples:
  runtimes get 3f2a                  the run whose uid begins so
  runtimes get train-fit             the newest run of that name
  runtimes get 3f2a --iterations     what each of its iterations was given, and gave
  runtimes get 3f2a-7                its seventh iteration
  runtimes get 3f2a -o json          for programs";

/// Show a run: its parameters, results, artifacts and state
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginning of a uid, or a name
    #[arg(value_name = "UID|NAME")]
    run: String,
    /// Its iterations, in place of the run itself
    #[arg(long)]
    iterations: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    let record = orchestrator.find(&args.run).await?;
    if args.iterations {
        return iterations(&orchestrator, &record.run, args.output.output, terminal).await;
    }
    let shown = match args.output.output {
        Format::Table => super::with_view(terminal, |view| view.details(&record)),
        format => data(&record.run, format)?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

async fn iterations(
    orchestrator: &Orchestrator,
    run: &Run,
    format: Format,
    terminal: &Terminal,
) -> Result<u8> {
    let records = orchestrator.iterations(&run.metadata.uid).await?;
    if records.is_empty() && !run.spec.is_hyper() {
        return Err(Error::invalid("--iterations", format!("run {} has none", run.key()))
            .help("`runtimes run` makes them of hyper-parameters: -x lr=0.1,0.01"));
    }
    let shown = match format {
        Format::Table => super::with_view(terminal, |view| view.iterations(run, &records, None)),
        format => data(&records.iter().map(|record| &record.run).collect::<Vec<_>>(), format)?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}
