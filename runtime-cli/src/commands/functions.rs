//! `functions`: the functions that are stored.

use jiff::{Timestamp, tz::TimeZone};
use runtimes::{Error, Result, core::store::FunctionRecord};

use crate::{
    home::Home,
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes functions                     what is stored
  runtimes functions get train:prod      the version with the tag `prod`, as YAML
  runtimes functions delete train        with all its versions; its runs stay";

/// List, show and delete stored functions
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List functions (this is what `functions` alone does)
    List(ListArgs),
    /// Print a function as it can be run again
    Get(GetArgs),
    /// Forget a function with all its versions
    Delete {
        /// The function
        #[arg(value_name = "[PROJECT/]NAME")]
        function: String,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// All versions, not only those with a tag
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// The function, and which version of it
    #[arg(value_name = "[PROJECT/]NAME[:TAG|@HASH]")]
    function: String,
    /// The form of the output
    #[arg(short, long, value_enum, default_value = "yaml", value_name = "FORMAT")]
    output: Format,
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            None => self.list.output.output,
            Some(Action::List(list)) => list.output.output,
            // YAML is what `get` prints, but an error is for people unless JSON was asked for.
            Some(Action::Get(get)) if get.output == Format::Json => Format::Json,
            _ => Format::Table,
        }
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let shown = match args.action {
        None => list(args.list, home, terminal).await?,
        Some(Action::List(args)) => list(args, home, terminal).await?,
        Some(Action::Get(args)) => get(&args, home).await?,
        Some(Action::Delete { function }) => delete(&function, home).await?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

async fn list(args: ListArgs, home: &Home, terminal: &Terminal) -> Result<String> {
    let mut records = Vec::new();
    if home.exists() {
        records = home.open().await?.functions(args.project.as_deref(), args.all).await?;
    }
    match args.output.output {
        Format::Table if records.is_empty() => {
            stdio::stderr(b"no functions\n");
            Ok(String::new())
        }
        Format::Table => Ok(render(&records, Timestamp::now(), terminal)),
        format => data(&records.iter().map(|record| &record.function).collect::<Vec<_>>(), format),
    }
}

async fn get(args: &GetArgs, home: &Home) -> Result<String> {
    let record = existing(home)?.open().await?.function(&args.function).await?;
    match args.output {
        Format::Json => data(&record.function, Format::Json),
        Format::Yaml => record.function.to_yaml(),
        Format::Table => {
            let time = |time| human::time(time, &TimeZone::system());
            let function = &record.function;
            let rows = [
                ("name", function.metadata.name.clone()),
                ("project", function.metadata.project.clone()),
                ("kind", function.kind.clone()),
                ("hash", function.metadata.hash.clone()),
                ("tags", record.tags.join(", ")),
                ("description", human::shorten(&function.spec.description, 200)),
                ("created", time(record.created)),
                ("updated", time(record.updated)),
            ];
            let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
            let rows = rows.map(|(name, value)| vec![text(name), text(value)]).collect();
            Ok(table::render(&[], rows, Long::Wrap, &Terminal::default()))
        }
    }
}

async fn delete(function: &str, home: &Home) -> Result<String> {
    if function.contains([':', '@']) {
        return Err(Error::invalid("functions delete", format!("{function:?} names one version"))
            .help("a function is deleted with all its versions: leave out what follows `:` or `@`"));
    }
    let (project, name) = function.split_once('/').unwrap_or(("default", function));
    let versions = existing(home)?.open().await?.delete_function(project, name).await?;
    if versions == 0 {
        return Err(Error::not_found(format!("there is no function `{name}` in the project `{project}`"))
            .help("`runtimes functions` lists what is stored"));
    }
    Ok(format!("deleted {project}/{name}: {}\n", human::count(versions, "version")))
}

/// A home that is there: looking does not make one.
fn existing(home: &Home) -> Result<&Home> {
    if home.exists() {
        return Ok(home);
    }
    Err(Error::not_found(format!("there is nothing yet in {}", home.path().display()))
        .help("a function is stored when it is run: runtimes run FILE"))
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
