#![doc = include_str!("../README.md")]
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "help texts are doc comments: brackets in them are no links"
)]

mod cli;
mod commands;
mod home;
mod output;
mod parse;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::{cli::Cli, output::Terminal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::detect();
    let format = cli.command.format();
    let code = start(cli, &terminal).unwrap_or_else(|error| {
        output::error::print(&error, format, &terminal);
        output::error::exit_code(&error)
    });
    ExitCode::from(code)
}

fn start(cli: Cli, terminal: &Terminal) -> runtimes::Result<u8> {
    let home = home::Home::new(&cli.home, cli.store)?;
    // Two workers are enough to follow processes, and each one more costs time at every start.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(
            |error| runtimes::Error::new(runtimes::ErrorKind::Io, format!("cannot start threads: {error}")),
        )?;
    let result = runtime.block_on(cli.command.execute(&home, terminal));
    // What is still blocked (a read of a log, say) must not hold the prompt back.
    runtime.shutdown_background();
    result
}
