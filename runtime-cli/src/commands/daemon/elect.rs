//! Of several daemons the one that acts: the one that holds a Lease of the cluster.

use std::time::Duration;

use runtimes::{
    Result,
    cluster::{Election, ElectionOptions, Standing, Term},
};

use super::say;
use crate::{home::Home, parse, signals::Signals};

/// What is said of the election.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Several daemons on a cluster")]
pub(super) struct Elect {
    /// Act only while holding a Lease of the cluster; stand by while another daemon has it
    #[arg(long)]
    leader_elect: bool,
    /// The name of the Lease: daemons with the same one choose among each other
    #[arg(long, value_name = "NAME", requires = "leader_elect", default_value = "runtimes-daemon")]
    lease: String,
    /// How long the others wait before they take a Lease that is not renewed
    #[arg(long, value_name = "TIME", requires = "leader_elect", value_parser = parse::duration, default_value = "15s")]
    lease_duration: Duration,
    /// How long the one that acts tries to renew it before it ends
    #[arg(long, value_name = "TIME", requires = "leader_elect", value_parser = parse::duration, default_value = "10s")]
    renew_deadline: Duration,
    /// How often each of them tries
    #[arg(long, value_name = "TIME", requires = "leader_elect", value_parser = parse::duration, default_value = "2s")]
    retry_period: Duration,
}

/// What came of waiting.
pub(super) enum Turn {
    /// There is nothing to wait for.
    Alone,
    /// This daemon acts, for as long as the term lasts.
    Leads(Term),
    /// It was told to end before.
    Ended,
}

impl Elect {
    /// Finds out whether there can be an election, where one is wanted.
    pub(super) async fn open(self, home: &Home) -> Result<Option<Election>> {
        if !self.leader_elect {
            return Ok(None);
        }
        let options = ElectionOptions {
            lease: self.lease,
            lease_duration: self.lease_duration,
            renew_deadline: self.renew_deadline,
            retry_period: self.retry_period,
            ..ElectionOptions::default()
        };
        // Errors name the field; here it is an option.
        options.check().map_err(|error| match error.location() {
            Some(option) => {
                let option = format!("--{option}");
                error.at(option)
            }
            None => error,
        })?;
        let election = home.kubernetes()?.election(options).await?;
        say(&format!(
            "{} takes part in the election for the lease {}",
            election.identity(),
            election.lease()
        ));
        Ok(Some(election))
    }
}

/// Waits until this daemon may act, or is told to end.
pub(super) async fn wait(election: Option<Election>, signals: &mut Signals) -> Turn {
    let Some(election) = election else { return Turn::Alone };
    tokio::select! {
        term = election.win(tell) => Turn::Leads(term),
        _ = signals.next() => Turn::Ended,
    }
}

fn tell(standing: Standing) {
    say(&standing.to_string());
}
