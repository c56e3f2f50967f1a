//! `abort`: stop runs.

use runtimes::{Orchestrator, Result, Run};

use crate::{
    home::Home,
    output::{Format, Terminal, error, human, stdio},
};

const EXAMPLES: &str = "\
Examples:
  runtimes abort 3f2a                the run whose uid begins so
  runtimes abort 3f2a 81c0 train-fit";

/// Stop runs, and wait until they have stopped
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginnings of uids, or names
    #[arg(value_name = "UID|NAME", required = true)]
    runs: Vec<String>,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    let stopped = futures_util::future::join_all(args.runs.iter().map(|run| stop(&orchestrator, run))).await;
    let mut code = 0;
    for result in stopped {
        match result {
            Ok(run) => {
                let line = format!("{} {} is {}\n", human::run(&run), run.metadata.name, run.state());
                stdio::stdout(line.as_bytes())?;
            }
            Err(failure) => {
                error::print(&failure, Format::Table, terminal);
                code = code.max(error::exit_code(&failure));
            }
        }
    }
    Ok(code)
}

async fn stop(orchestrator: &Orchestrator, run: &str) -> Result<Run> {
    let record = orchestrator.find(run).await?;
    orchestrator.abort(&record.run.key()).await
}
