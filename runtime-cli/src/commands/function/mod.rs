//! `function`: what a function is, how it differs from another, and the stored ones.

mod delete;
mod diff;
mod doc;
mod export;
mod handlers;
mod list;
mod show;

use runtimes::{Error, Function, Request, Result, core::store::FunctionRecord};

use super::run::request::{self, Source};
use crate::{
    home::Home,
    output::{Format, Terminal, stdio},
};

pub(crate) use list::Args as ListArgs;
pub(crate) use list::execute as list;
pub(crate) use show::handlers_table as handlers;

const EXAMPLES: &str = "\
Examples:
  runtimes function show train                 what is stored under that name
  runtimes function doc train.py               its handlers and what they take
  runtimes function diff train:prod train.py   what changed since the version that is tagged `prod`
  runtimes function tag train@3f2a prod        let the tag point at that version
  runtimes function export train --dir out     out/function.yaml, and its code beside it

A FUNCTION is a function.yaml, a folder with one, a .py, .ipynb or .sh file, or a stored function:
[db://][PROJECT/]NAME[:TAG|@HASH]; the beginning of a hash is enough.";

/// Look at functions, compare, export, tag and delete them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Show(show::Args),
    Doc(doc::Args),
    Diff(diff::Args),
    Export(export::Args),
    Hash(HashArgs),
    List(list::Args),
    Save(SaveArgs),
    Tag(TagArgs),
    Delete(delete::Args),
}

/// Print the hash of a function: the version that it is
///
/// It is MLRun's `metadata.hash`: SHA-1 over the function's document, without its tag, hash, times and
/// status. A file is taken as it stands; --stored takes it as it would be stored, with its project and
/// the code of the file that it names.
#[derive(Debug, clap::Args)]
struct HashArgs {
    /// Functions: files, or stored ones
    #[arg(value_name = "FUNCTION", required = true)]
    functions: Vec<String>,
    /// As it would be stored
    #[arg(long)]
    stored: bool,
}

/// Store a function without running it
///
/// The same content is the same version; changed content is a new one. `latest` points at it then.
#[derive(Debug, clap::Args)]
struct SaveArgs {
    /// A function.yaml, a folder with one, or a .py, .ipynb or .sh file
    #[arg(value_name = "FILE")]
    file: String,
    /// A tag that is to point at it too
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// The project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Its name: of several functions in one file, told apart by `# mlrun: start-code NAME`, this one
    #[arg(long = "function", value_name = "NAME")]
    name: Option<String>,
}

/// Let a tag point at a version of a stored function
#[derive(Debug, clap::Args)]
struct TagArgs {
    /// The function, and which version of it
    #[arg(value_name = "[PROJECT/]NAME[:TAG|@HASH]")]
    function: String,
    /// The tag
    tag: String,
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            Action::Show(args) => args.output.output,
            Action::Doc(args) => args.output.output,
            Action::Diff(args) => args.format(),
            Action::List(args) => args.format(),
            Action::Export(args) => args.format(),
            _ => Format::Table,
        }
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let shown = match args.action {
        Action::Show(args) => show::execute(&args, home, terminal).await?,
        Action::Doc(args) => doc::execute(&args, home, terminal).await?,
        Action::Diff(args) => return diff::execute(&args, home, terminal).await,
        Action::Export(args) => export::execute(&args, home).await?,
        Action::Hash(args) => hash(&args, home).await?,
        Action::List(args) => return list::execute(args, home, terminal).await,
        Action::Save(args) => save(&args, home).await?,
        Action::Tag(args) => tag(&args, home).await?,
        Action::Delete(args) => delete::execute(&args, home).await?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

/// A function that was named on the command line.
struct Named {
    /// As it is stored, or would be.
    function: Function,
    /// What the store has of it, where it came from there.
    record: Option<FunctionRecord>,
}

/// Finds the function that is meant.
async fn named(text: &str, home: &Home) -> Result<Named> {
    match Source::of(text.to_owned()) {
        Source::File(path) => {
            let function = request::from_file(&path, None)?.resolved()?;
            Ok(Named { function, record: None })
        }
        Source::Address(address) => {
            let function = request::from_address(&address, home).await?.resolved()?;
            Ok(Named { function, record: None })
        }
        Source::Stored(uri) => {
            let record = request::open_for(home, &uri).await?.function(&uri).await?;
            Ok(Named { function: record.function.clone(), record: Some(record) })
        }
    }
}

async fn hash(args: &HashArgs, home: &Home) -> Result<String> {
    let mut hashes = Vec::new();
    for text in &args.functions {
        let hash = match Source::of(text.clone()) {
            Source::File(path) if !args.stored => request::from_file(&path, None)?.function.hash(),
            Source::Address(address) => request::from_address(&address, home).await?.function.hash(),
            _ => named(text, home).await?.function.hash(),
        };
        hashes.push(hash);
    }
    // As `sha1sum` does, the name stands beside the hash where there are several.
    let line = |(hash, name): (&String, &String)| match hashes.len() {
        1 => format!("{hash}\n"),
        _ => format!("{hash}  {name}\n"),
    };
    Ok(hashes.iter().zip(&args.functions).map(line).collect())
}

async fn save(args: &SaveArgs, home: &Home) -> Result<String> {
    let Source::File(path) = Source::of(args.file.clone()) else {
        return Err(Error::not_found(format!("there is no file `{}`", args.file))
            .help("name a function.yaml, a folder with one, or a .py, .ipynb or .sh file"));
    };
    let file = request::from_file(&path, args.name.as_deref())?;
    let request = Request {
        tag: args.tag.clone().unwrap_or_default(),
        project: args.project.clone().unwrap_or_default(),
        ..file
    };
    // A function that is wrong makes no store.
    request.resolved()?;
    let record = home.open().await?.save(request).await?;
    Ok(said(&record))
}

async fn tag(args: &TagArgs, home: &Home) -> Result<String> {
    let orchestrator = existing(home)?.open().await?;
    Ok(said(&orchestrator.tag(&args.function, &args.tag).await?))
}

/// `default/train@3f2a9c1b... (latest, prod)`.
fn said(record: &FunctionRecord) -> String {
    let metadata = &record.function.metadata;
    format!("{}/{}@{} ({})\n", metadata.project, metadata.name, metadata.hash, record.tags.join(", "))
}

/// A home that is there: looking does not make one.
fn existing(home: &Home) -> Result<&Home> {
    if home.exists() {
        return Ok(home);
    }
    Err(Error::not_found(format!("there is nothing yet in {}", home.path().display()))
        .help("a function is stored when it is run or saved: runtimes function save FILE"))
}
