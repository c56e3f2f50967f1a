//! `hub`: functions from elsewhere.

mod list;
mod pull;
mod push;
mod source;

use runtimes::{Result, hub::Hub};

use crate::{
    home::Home,
    output::{Format, Terminal, stdio},
};

const EXAMPLES: &str = "\
Examples:
  runtimes hub list --category data-preparation
  runtimes hub show hub://describe
  runtimes hub pull hub://describe:1.2.0            store it, and pin it in runtimes.lock
  runtimes hub source add team ../team-hub          a folder, a URL, or git://HOST/OWNER/REPOSITORY.git
  runtimes hub push function.yaml team              share a function
  runtimes run hub://describe --kind local -p n=3

A hub is a folder, a URL or a repository in the layout of MLRun's hub, or with a folder for each
function: NAME/function.yaml.";

/// Find, fetch and share functions
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the functions of all hubs, or of one
    List(list::ListArgs),
    /// Show a function of a hub: its versions, handlers and packages
    Show(list::ShowArgs),
    /// Fetch a function: store it, and pin what it is in runtimes.lock
    Pull(pull::Args),
    /// Write a function into a hub that is a folder
    Push(push::Args),
    /// List, add and remove hubs
    Source(source::Args),
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            Action::List(args) => args.output.output,
            Action::Show(args) => args.output.output,
            Action::Pull(args) => args.output.output,
            Action::Push(args) => args.output.output,
            Action::Source(args) => args.format(),
        }
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let hub = Hub::open(home.path())?;
    let shown = match args.action {
        Action::List(args) => list::list(args, &hub, terminal).await?,
        Action::Show(args) => list::show(args, &hub, terminal).await?,
        Action::Pull(args) => pull::pull(args, &hub, home).await?,
        Action::Push(args) => push::push(args, &hub, home).await?,
        Action::Source(args) => source::execute(args, hub, terminal).await?,
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

/// Says what is being done, where it takes long enough to wonder.
pub(crate) fn progress(step: &str) {
    stdio::stderr(format!("-- {step}\n").as_bytes());
}

/// Says what the user should know.
pub(crate) fn notes(notes: &[String]) {
    for note in notes {
        stdio::stderr(format!("note: {note}\n").as_bytes());
    }
}

/// Only what takes long is worth a line.
fn quiet(_: &str) {}

/// How an item is named in a reference.
fn reference(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("hub://{text}") }
}
