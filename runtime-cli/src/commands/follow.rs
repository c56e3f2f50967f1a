//! `follow` (hidden): takes over the runs that nobody follows, and stays until they have ended.

use std::time::Duration;

use runtimes::Result;

use crate::{
    home::{Home, SETTLED},
    output::stdio,
    signals::Signals,
};

/// How long it waits for somebody who is to be told of a run and does not listen at the moment.
const PATIENCE: Duration = Duration::from_secs(60);

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
        () = async {
            orchestrator.idle().await;
            // Where a cluster is away, the next one does it.
            let _ = orchestrator.release_ended(false).await;
            orchestrator.flush(PATIENCE).await;
        } => 0,
        // Whoever looks next starts another one, which finds the runs again.
        () = signals.terminated() => 143,
    };
    orchestrator.close().await?;
    Ok(code)
}
