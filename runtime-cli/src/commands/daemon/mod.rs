//! `daemon`: stays, and does what is due.

mod elect;
#[cfg(feature = "api")]
mod endpoint;
#[cfg(not(feature = "api"))]
#[path = "no_endpoint.rs"]
mod endpoint;

use jiff::Timestamp;
use runtimes::{Error, Result, cluster::Lost};
use tokio::sync::watch;

use crate::{
    home::{self, Home},
    output::stdio,
    signals::Signals,
};
use elect::Turn;

const HELP: &str = "\
It stays in the foreground and says on stdout what it does; a service manager can start it as it is.
Ctrl-C or TERM ends it: runs that it started go on, and whoever looks next follows them. Any number
of daemons may serve one record: each time of a schedule is fired once.

With --leader-elect one of several daemons acts, and the others stand by. One that cannot renew its
Lease in time ends with exit code 1, before another one may act: have a service manager start it
again. One that is told to end gives the Lease back. /readyz is answered by the one that acts.";

/// Fire schedules, send notifications, take up runs that nobody follows, and take what runs report
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    endpoint: endpoint::Endpoint,
    /// The context of the kubeconfig [the current one; in a pod: the cluster of that pod]
    #[arg(long, value_name = "NAME", env = home::CONTEXT, hide_env = true)]
    context: Option<String>,
    /// The namespace of runs whose function names none, and of the Lease [the context's]
    #[arg(long, value_name = "NAME", env = home::NAMESPACE, hide_env = true)]
    namespace: Option<String>,
    #[command(flatten)]
    elect: elect::Elect,
}

pub(crate) async fn execute(args: Args, home: &Home) -> Result<u8> {
    let mut signals = Signals::listen()?;
    let home = &home.on_cluster(args.context, args.namespace);
    let election = args.elect.open(home).await?;
    let orchestrator = home.open().await?;
    let (end, ended) = watch::channel(false);
    let (act, acts) = watch::channel(false);
    let (endpoint, known) = args.endpoint.open(&orchestrator, acts, ended).await?;
    let serves = async {
        let turn = elect::wait(election, &mut signals).await;
        let work = async {
            known.tell(&orchestrator).await?;
            act.send_replace(true);
            let schedules = orchestrator.schedules(None).await?.len();
            say(&format!("serving {}; schedules: {schedules}", home.path().display()));
            let cancel = async {
                signals.next().await;
            };
            orchestrator.serve(cancel, |served| say(&served.to_string())).await;
            Ok::<_, Error>(())
        };
        let term = match turn {
            Turn::Ended => None,
            Turn::Alone => work.await.map(|()| None)?,
            Turn::Leads(term) => {
                let worked = term.fence(work).await.map_err(ended_early)?;
                if worked.is_err() {
                    let _ = term.give_back().await;
                    return worked.map(|()| None);
                }
                Some(term)
            }
        };
        // Nobody listens where it serves no endpoint.
        act.send_replace(false);
        let _ = end.send(true);
        Ok::<_, Error>(term)
    };
    let answers = async {
        endpoint.await;
        Ok(())
    };
    let (term, ()) = tokio::try_join!(serves, answers)?;
    say("ending; runs that go on are followed by whoever looks next");
    match term {
        None => orchestrator.close().await?,
        Some(term) => {
            term.fence(orchestrator.close()).await.map_err(ended_early)??;
            // From here on another one acts.
            term.give_back().await?;
        }
    }
    Ok(0)
}

/// Whatever still goes on ends with this program.
fn ended_early(lost: Lost) -> Error {
    Error::from(lost).help("another replica acts, or will soon; start this one again, and it stands by")
}

fn say(what: &str) {
    // A reader that went away does not keep schedules from being fired.
    let _ = stdio::stdout(format!("{:.0} {what}\n", Timestamp::now()).as_bytes());
}
