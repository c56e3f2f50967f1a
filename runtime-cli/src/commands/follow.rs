//! `follow` (hidden): takes over the runs that nobody follows, and stays until they have ended.

use runtimes::Result;

use crate::{
    home::{Home, SETTLED},
    output::stdio,
    signals::Signals,
};

/// Follow the runs whose own process is gone
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn execute(_: Args, home: &Home) -> Result<u8> {
    // Before anything is followed: the end of the terminal is not the end of this.
    let mut signals = Signals::listen()?;
    let orchestrator = home.open().await?;
    orchestrator.recover().await?;
    // Who waits for this reads one line and goes.
    stdio::stdout(format!("{SETTLED}\n").as_bytes())?;
    let code = tokio::select! {
        () = orchestrator.idle() => 0,
        // Whoever looks next starts another one, which finds the runs again.
        () = signals.terminated() => 143,
    };
    orchestrator.close().await?;
    Ok(code)
}
