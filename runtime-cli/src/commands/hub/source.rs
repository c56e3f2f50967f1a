//! `hub source`: which hubs there are.

use std::path::Path;

use runtimes::{
    Result,
    hub::{Hub, HubSource, Reference},
};

use super::{notes, progress};
use crate::{
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
    parse,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the hubs, in the order in which they are asked
    List(OutputArgs),
    /// Add a hub
    Add(AddArgs),
    /// Forget a hub; what was pulled from it stays
    Remove {
        /// The hub
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// What references call it
    #[arg(value_name = "NAME")]
    name: String,
    /// A folder, an https URL, or a repository (git://HOST/OWNER/REPOSITORY.git#BRANCH)
    #[arg(value_name = "PATH")]
    path: String,
    /// The channel, where the hub has several
    #[arg(long, value_name = "NAME", default_value = "master")]
    channel: String,
    /// What it is, in one line
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Ask it before the others
    #[arg(long)]
    first: bool,
}

impl Args {
    pub(super) fn format(&self) -> Format {
        match &self.action {
            Action::List(args) => args.output,
            _ => Format::Table,
        }
    }
}

pub(super) async fn execute(args: Args, mut hub: Hub, terminal: &Terminal) -> Result<String> {
    match args.action {
        Action::List(args) => list(&args, &hub, terminal),
        Action::Add(args) => {
            let path = match Reference::is_address(&args.path) {
                true => args.path,
                false => parse::absolute(Path::new(&args.path))?,
            };
            let mut source = HubSource::new(args.name, path);
            source.channel = args.channel;
            source.description = args.description;
            let name = source.name.clone();
            let listing = hub.add_source(source, args.first, &progress).await?;
            notes(&listing.notes);
            Ok(format!("added {name}: {}\n", human::count(listing.items.len(), "function")))
        }
        Action::Remove { name } => {
            hub.remove_source(&name)?;
            Ok(format!("removed {name}\n"))
        }
    }
}

fn list(args: &OutputArgs, hub: &Hub, terminal: &Terminal) -> Result<String> {
    let sources = hub.sources();
    match args.output {
        Format::Table if sources.is_empty() => {
            stdio::stderr(b"no hubs\n");
            Ok(String::new())
        }
        Format::Table => {
            let row = |source: &HubSource| {
                vec![
                    text(source.name.clone()),
                    text(source.shown_path()),
                    text(source.channel.clone()),
                    text(human::shorten(&source.description, 80)),
                ]
            };
            let rows = sources.iter().map(row).collect();
            Ok(table::render(&["NAME", "PATH", "CHANNEL", "DESCRIPTION"], rows, Long::Cut, terminal))
        }
        format => {
            let shown: Vec<_> = sources
                .iter()
                .map(|source| HubSource { path: source.shown_path(), ..source.clone() })
                .collect();
            data(&shown, format)
        }
    }
}
