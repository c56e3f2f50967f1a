//! The command line: which commands there are.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use runtimes::Result;

use crate::{
    commands::{
        abort, artifacts, build, close, completions, daemon, delete, deploy, env, follow, function, gc, get,
        hub, kinds, logs, render, rerun, run, runs, schedule, secret, status, why,
    },
    home::Home,
    output::{Format, Terminal},
};

const EXAMPLES: &str = "\
Examples:
  runtimes run train.py --handler fit -p epochs=3    call fit(epochs=3) in train.py
  runtimes run function.yaml --detach                start it, and get the prompt back
  runtimes runs --state error --since 1d             what failed since yesterday
  runtimes logs -f 3f2a                              follow the run whose uid begins so";

/// Runs functions on this machine, and remembers what they did.
#[derive(Debug, Parser)]
#[command(name = "runtimes", version, after_help = EXAMPLES, max_term_width = 100, propagate_version = false)]
pub(crate) struct Cli {
    /// The folder in which everything is kept
    #[arg(long, global = true, env = "RUNTIMES_HOME", value_name = "DIR", default_value = ".runtimes")]
    pub(crate) home: PathBuf,

    /// Where runs and functions are recorded, in place of a file in that folder
    ///
    /// postgres://USER@HOST/DATABASE, to share the record with other machines, or sqlite:FILE. Give a password in
    /// PGPASSWORD, in ~/.pgpass, or as part of RUNTIMES_STORE: other users can read what is written here.
    #[arg(long, global = true, env = "RUNTIMES_STORE", value_name = "URL", hide_env_values = true)]
    pub(crate) store: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<run::Args>),
    Build(Box<build::Args>),
    Deploy(deploy::Args),
    Status(status::Args),
    Close(close::Args),
    Get(get::Args),
    Runs(runs::Args),
    Why(why::Args),
    Logs(logs::Args),
    Abort(abort::Args),
    Delete(delete::Args),
    Rerun(rerun::Args),
    Render(render::Args),
    Artifacts(artifacts::Args),
    Function(function::Args),
    Functions(function::ListArgs),
    Hub(hub::Args),
    Secret(secret::Args),
    Schedule(schedule::Args),
    Daemon(daemon::Args),
    Kinds(kinds::Args),
    Gc(gc::Args),
    Env(env::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Follow(follow::Args),
}

impl Command {
    /// Executes the command; returns the exit code.
    pub(crate) async fn execute(self, home: &Home, terminal: &Terminal) -> Result<u8> {
        match self {
            Self::Run(args) => run::execute(*args, home, terminal).await,
            Self::Build(args) => build::execute(*args, home, terminal).await,
            Self::Deploy(args) => deploy::execute(args, home, terminal).await,
            Self::Status(args) => status::execute(args, home, terminal).await,
            Self::Close(args) => close::execute(args, home).await,
            Self::Get(args) => get::execute(args, home, terminal).await,
            Self::Runs(args) => runs::execute(args, home, terminal).await,
            Self::Why(args) => why::execute(args, home).await,
            Self::Logs(args) => logs::execute(args, home, terminal).await,
            Self::Abort(args) => abort::execute(args, home, terminal).await,
            Self::Delete(args) => delete::execute(args, home).await,
            Self::Rerun(args) => rerun::execute(args, home, terminal).await,
            Self::Render(args) => render::execute(args, home).await,
            Self::Artifacts(args) => artifacts::execute(args, home, terminal).await,
            Self::Function(args) => function::execute(args, home, terminal).await,
            Self::Functions(args) => function::list(args, home, terminal).await,
            Self::Hub(args) => hub::execute(args, home, terminal).await,
            Self::Secret(args) => secret::execute(args, home),
            Self::Schedule(args) => schedule::execute(args, home, terminal).await,
            Self::Daemon(args) => daemon::execute(args, home).await,
            Self::Kinds(args) => kinds::execute(args, terminal),
            Self::Env(args) => env::execute(args, home, terminal),
            Self::Gc(args) => gc::execute(args, home, terminal).await,
            Self::Completions(args) => completions::execute(args),
            Self::Follow(args) => follow::execute(args, home).await,
        }
    }

    /// In which form the command's output, and its errors, are wanted.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Run(args) => args.output.output,
            Self::Build(args) => args.output.output,
            Self::Deploy(args) => args.output.output,
            Self::Status(args) => args.output.output,
            Self::Get(args) => args.output.output,
            Self::Why(args) => args.output.output,
            Self::Runs(args) => args.output.output,
            Self::Rerun(args) => args.output.output,
            Self::Render(args) => args.output.output,
            Self::Function(args) => args.format(),
            Self::Artifacts(args) => args.format(),
            Self::Functions(args) => args.format(),
            Self::Hub(args) => args.format(),
            Self::Kinds(args) => args.output.output,
            Self::Gc(args) => args.output.output,
            Self::Env(args) => args.format(),
            Self::Secret(args) => args.format(),
            Self::Schedule(args) => args.format(),
            _ => Format::Table,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
