//! `env`: the Python environments that were built here.

use std::time::Duration;

use jiff::Timestamp;
use runtimes::{
    Result,
    core::serde_json::json,
    local::host::environment::{EnvironmentInfo, Environments},
};

use crate::{
    home::Home,
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
    parse,
};

const EXAMPLES: &str = "\
Examples:
  runtimes env list
  runtimes env prune --older-than 14d    those that no run used for two weeks
  runtimes env prune --all               all of them; a run builds its own again";

/// List and remove Python environments
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the environments
    List(OutputArgs),
    /// Remove environments that are not used
    Prune {
        /// Those that were not used for this long
        #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse::duration)]
        older_than: Duration,
        /// All that are not in use at this moment
        #[arg(long, conflicts_with = "older_than")]
        all: bool,
    },
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            Action::List(args) => args.output,
            Action::Prune { .. } => Format::Table,
        }
    }
}

pub(crate) fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let environments = Environments::new(home.path());
    match args.action {
        Action::List(args) => {
            let list = environments.list()?;
            let shown = match args.output {
                Format::Table if list.is_empty() => {
                    stdio::stderr(b"no environments\n");
                    String::new()
                }
                Format::Table => render(&list, Timestamp::now(), terminal),
                format => data(&list.iter().map(value).collect::<Vec<_>>(), format)?,
            };
            stdio::stdout(shown.as_bytes())?;
        }
        Action::Prune { older_than, all } => {
            let freed = environments.prune((!all).then_some(older_than))?;
            let count = human::count(freed.environments, "environment");
            stdio::stdout(format!("removed {count}, {}\n", human::size(freed.bytes)).as_bytes())?;
        }
    }
    Ok(0)
}

fn value(info: &EnvironmentInfo) -> runtimes::core::serde_json::Value {
    json!({
        "hash": info.hash,
        "requirements": info.requirements,
        "python": info.interpreter.path,
        "version": version(info),
        "tool": info.tool,
        "created": info.created,
        "last_used": info.last_used,
        "size": info.size,
    })
}

fn version(info: &EnvironmentInfo) -> String {
    let (major, minor, patch) = info.interpreter.version;
    format!("{major}.{minor}.{patch}")
}

fn render(list: &[EnvironmentInfo], now: Timestamp, terminal: &Terminal) -> String {
    let row = |info: &EnvironmentInfo| {
        vec![
            text(info.hash.get(..8).unwrap_or(&info.hash)),
            text(human::size(info.size)),
            text(human::age(info.created, now)),
            text(human::age(info.last_used, now)),
            text(version(info)),
            text(human::shorten(&info.requirements.join(" "), 120)),
        ]
    };
    let header = ["HASH", "SIZE", "AGE", "USED", "PYTHON", "REQUIREMENTS"];
    table::render(&header, list.iter().map(row).collect(), Long::Cut, terminal)
}
