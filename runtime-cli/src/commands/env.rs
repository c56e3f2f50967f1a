//! `env`: the Python environments that were built here, and what was fetched.

use std::time::Duration;

use jiff::Timestamp;
use runtimes::{
    Result,
    core::serde_json::json,
    hub::Hub,
    local::host::environment::{EnvironmentInfo, Environments},
    source::Sources,
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
  runtimes env prune --older-than 14d    what no run used for two weeks
  runtimes env prune --all               all that is not in use; runs make and fetch it again

Sources, files and functions that were fetched are removed as well, but for what runtimes.lock pins.";

/// List and remove Python environments, and remove what was fetched
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
    /// Remove environments, and code from elsewhere, that are not used
    Prune {
        /// What was not used for this long
        #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse::duration)]
        older_than: Duration,
        /// All that is not in use at this moment
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
            let age = if all { Duration::ZERO } else { older_than };
            let (sources, fetched) = Sources::new(home.path()).prune(age)?;
            let (pulled, kept) = Hub::open(home.path())?.prune(age)?;
            let line = |count: usize, what: &str, bytes: u64| {
                format!("removed {}, {}\n", human::count(count, what), human::size(bytes))
            };
            let mut said = line(freed.environments, "environment", freed.bytes);
            if sources + pulled > 0 {
                said += &line(sources + pulled, "source", fetched + kept);
            }
            stdio::stdout(said.as_bytes())?;
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
