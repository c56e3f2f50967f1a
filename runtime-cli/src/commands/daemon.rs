//! `daemon`: stays, and does what is due.

use jiff::Timestamp;
use runtimes::Result;

use crate::{home::Home, output::stdio, signals::Signals};

const HELP: &str = "\
It stays in the foreground and says on stdout what it does; a service manager can start it as it is.
Ctrl-C or TERM ends it: runs that it started go on, and whoever looks next follows them. Any number
of daemons may serve one record: each time of a schedule is fired once.";

/// Fire schedules, send notifications, and take up runs that nobody follows
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {}

pub(crate) async fn execute(_: Args, home: &Home) -> Result<u8> {
    let mut signals = Signals::listen()?;
    let orchestrator = home.open().await?;
    let schedules = orchestrator.schedules(None).await?.len();
    say(&format!("serving {}; schedules: {schedules}", home.path().display()));
    let cancel = async {
        signals.next().await;
    };
    orchestrator.serve(cancel, |served| say(&served.to_string())).await;
    say("ending; runs that go on are followed by whoever looks next");
    orchestrator.close().await?;
    Ok(0)
}

fn say(what: &str) {
    // A reader that went away does not keep schedules from being fired.
    let _ = stdio::stdout(format!("{:.0} {what}\n", Timestamp::now()).as_bytes());
}
