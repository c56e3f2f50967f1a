//! `delete`: forget runs.

use std::time::Duration;

use runtimes::{
    Error, ErrorKind, Orchestrator, Result,
    core::{
        run::RunKey,
        store::{RunFilter, RunRecord},
    },
};

use super::runs::FilterArgs;
use crate::{
    home::Home,
    output::{human, stdio},
    parse,
};

const EXAMPLES: &str = "\
Examples:
  runtimes delete 3f2a                                 one run: its record and its log
  runtimes delete --older-than 7d --state error        failed runs of before last week
  runtimes delete --older-than 30d --artifacts         old runs, and all that they wrote";

/// Forget runs that have ended: their records and logs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginnings of uids, or names
    #[arg(value_name = "UID|NAME", required_unless_present = "older_than", conflicts_with = "older_than")]
    runs: Vec<String>,
    /// All runs that ended longer ago than this (12h, 7d)
    #[arg(long, value_name = "AGE", value_parser = parse::duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Delete their artifacts too, also those that were sent elsewhere
    #[arg(long)]
    artifacts: bool,
}

pub(crate) async fn execute(args: Args, home: &Home) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    let keys = match args.older_than {
        Some(age) => old(&orchestrator, age, args.filter).await?,
        None => named(&orchestrator, &args.runs).await?,
    };
    for key in &keys {
        orchestrator.delete(key, args.artifacts).await?;
    }
    stdio::stdout(format!("deleted {}\n", human::count(keys.len(), "run")).as_bytes())?;
    Ok(0)
}

/// All are looked up before the first is deleted: a misspelt one changes nothing.
async fn named(orchestrator: &Orchestrator, runs: &[String]) -> Result<Vec<RunKey>> {
    let mut keys = Vec::new();
    for run in runs {
        let run = orchestrator.find(run).await?.run;
        if !run.state().is_terminal() {
            let uid = human::uid(&run.metadata.uid);
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{uid} {} is {}", run.metadata.name, run.state()),
            )
            .help(format!("stop it first: runtimes abort {uid}")));
        }
        if !keys.contains(&run.key()) {
            keys.push(run.key());
        }
    }
    Ok(keys)
}

async fn old(orchestrator: &Orchestrator, age: Duration, filter: FilterArgs) -> Result<Vec<RunKey>> {
    let before = parse::ago(age)?;
    let is_old = |record: &RunRecord| {
        let status = &record.run.status;
        status.state.is_terminal() && status.end_time.or(status.last_update).is_some_and(|end| end < before)
    };
    // Iterations go with their run.
    let filter = RunFilter { iteration: Some(0), ..filter.filter()? };
    let records = orchestrator.list(&filter).await?;
    Ok(records.iter().filter(|record| is_old(record)).map(|record| record.run.key()).collect())
}
