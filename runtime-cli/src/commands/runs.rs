//! `runs`: the list of runs.

use std::time::Duration;

use runtimes::{
    Result, RunState,
    core::store::{RunFilter, RunRecord},
};

use crate::{
    home::Home,
    output::{Format, OutputArgs, Terminal, data, human, stdio},
    parse::{self, Pair},
};

const EXAMPLES: &str = "\
Examples:
  runtimes runs --state running --state pending    what goes on now
  runtimes runs --function train --since 1d        what `train` did since yesterday
  runtimes runs --all -o json                      everything, for programs";

/// So many of the runs that are not shown are counted; beyond that it says \"more than\".
const COUNTED: usize = 1000;

/// List runs, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// The iterations of runs with hyper-parameters, too
    #[arg(long)]
    iterations: bool,
    /// Not older than this (1h, 2d)
    #[arg(long, value_name = "AGE", value_parser = parse::duration)]
    since: Option<Duration>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which runs; the same options for all commands that take several.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// Of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// In this state; may be given several times
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<RunState>,
    /// With this label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::pair)]
    labels: Vec<Pair>,
}

impl FilterArgs {
    pub(crate) fn filter(self) -> Result<RunFilter> {
        Ok(RunFilter {
            project: self.project,
            name: self.name,
            function: self.function,
            states: self.states,
            labels: parse::unique("--label", self.labels)?,
            ..RunFilter::default()
        })
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let limit = if args.all { 0 } else { args.limit as usize };
    let filter = RunFilter {
        since: args.since.map(parse::ago).transpose()?,
        iteration: (!args.iterations).then_some(0),
        limit: if limit == 0 { 0 } else { limit + COUNTED + 1 },
        ..args.filter.filter()?
    };
    let mut records = Vec::new();
    if home.exists() {
        records = home.open_settled().await?.list(&filter).await?;
    }
    let more = if limit == 0 { 0 } else { records.len().saturating_sub(limit) };
    records.truncate(records.len() - more);
    show(&records, more, args.output.output, terminal)?;
    Ok(0)
}

fn show(records: &[RunRecord], more: usize, format: Format, terminal: &Terminal) -> Result<()> {
    let shown = match format {
        Format::Table if records.is_empty() => {
            stdio::stderr(b"no runs\n");
            return Ok(());
        }
        Format::Table => super::with_view(terminal, |view| view.list(records)),
        format => data(&records.iter().map(|record| &record.run).collect::<Vec<_>>(), format)?,
    };
    stdio::stdout(shown.as_bytes())?;
    if more > 0 {
        let more =
            if more > COUNTED { format!("more than {COUNTED} runs") } else { human::count(more, "run") };
        stdio::stderr(format!("{more} more: --limit N or --all shows them\n").as_bytes());
    }
    Ok(())
}
