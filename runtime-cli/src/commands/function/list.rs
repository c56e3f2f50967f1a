//! `functions`, `function list`: the functions that are stored.

use jiff::Timestamp;
use runtimes::{Result, core::store::FunctionRecord};

use crate::{
    home::Home,
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes functions              what is stored, by tag
  runtimes functions --all        every version
  runtimes function show train    one of them; `runtimes function --help` has more";

/// List the stored functions
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// All versions, not only those with a tag
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let mut records = Vec::new();
    if home.exists() {
        records = home.open().await?.functions(args.project.as_deref(), args.all).await?;
    }
    let shown = match args.output.output {
        Format::Table if records.is_empty() => {
            stdio::stderr(b"no functions\n");
            return Ok(0);
        }
        Format::Table => render(&records, Timestamp::now(), terminal),
        format => data(&records.iter().map(|record| &record.function).collect::<Vec<_>>(), format)?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

fn render(records: &[FunctionRecord], now: Timestamp, terminal: &Terminal) -> String {
    let row = |record: &FunctionRecord| {
        let metadata = &record.function.metadata;
        vec![
            text(metadata.project.clone()),
            text(metadata.name.clone()),
            text(record.function.kind.clone()),
            text(record.tags.join(", ")),
            text(metadata.hash.get(..7).unwrap_or(&metadata.hash)),
            text(human::age(record.updated, now)),
        ]
    };
    let header = ["PROJECT", "NAME", "KIND", "TAGS", "HASH", "AGE"];
    table::render(&header, records.iter().map(row).collect(), Long::Cut, terminal)
}
