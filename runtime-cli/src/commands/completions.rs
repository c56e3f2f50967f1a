//! `completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;
use runtimes::Result;

use crate::{cli::Cli, output::stdio};

const EXAMPLES: &str = "\
Examples:
  source <(runtimes completions bash)
  runtimes completions zsh > ~/.zfunc/_runtimes
  runtimes completions fish > ~/.config/fish/completions/runtimes.fish";

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn execute(args: Args) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runtimes", &mut script);
    stdio::stdout(&script)?;
    Ok(0)
}
