//! `daemon`: stays, and does what is due.

use jiff::Timestamp;
use runtimes::{Orchestrator, Result};
use tokio::sync::watch;

use crate::{home::Home, output::stdio, signals::Signals};

const HELP: &str = "\
It stays in the foreground and says on stdout what it does; a service manager can start it as it is.
Ctrl-C or TERM ends it: runs that it started go on, and whoever looks next follows them. Any number
of daemons may serve one record: each time of a schedule is fired once.";

/// Fire schedules, send notifications, take up runs that nobody follows, and take what runs report
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[cfg(feature = "api")]
    #[command(flatten)]
    endpoint: endpoint::Endpoint,
}

pub(crate) async fn execute(args: Args, home: &Home) -> Result<u8> {
    let mut signals = Signals::listen()?;
    let orchestrator = home.open().await?;
    let (end, ended) = watch::channel(false);
    #[cfg(feature = "api")]
    let endpoint = args.endpoint.open(&orchestrator, ended.clone()).await?;
    #[cfg(not(feature = "api"))]
    let (Args {}, _, endpoint) = (args, ended, std::future::ready(()));
    let schedules = orchestrator.schedules(None).await?.len();
    say(&format!("serving {}; schedules: {schedules}", home.path().display()));
    let cancel = async {
        signals.next().await;
        // Nobody listens where it serves no endpoint.
        let _ = end.send(true);
    };
    let ((), ()) = tokio::join!(endpoint, serve(&orchestrator, cancel));
    say("ending; runs that go on are followed by whoever looks next");
    orchestrator.close().await?;
    Ok(0)
}

async fn serve(orchestrator: &Orchestrator, cancel: impl Future<Output = ()>) {
    orchestrator.serve(cancel, |served| say(&served.to_string())).await;
}

fn say(what: &str) {
    // A reader that went away does not keep schedules from being fired.
    let _ = stdio::stdout(format!("{:.0} {what}\n", Timestamp::now()).as_bytes());
}

#[cfg(feature = "api")]
mod endpoint {
    use std::net::SocketAddr;

    use runtimes::{
        Error, Orchestrator, Result,
        api::{Api, Tokens, check_url},
    };
    use tokio::{net::TcpListener, sync::watch};

    /// The endpoint at which runs report from elsewhere.
    #[derive(Debug, clap::Args)]
    pub(super) struct Endpoint {
        /// Take what runs report from elsewhere: the part of MLRun's HTTP API that their code calls
        ///
        /// An address and a port of this machine: 0.0.0.0:8080, or 127.0.0.1:0 for any that is free. Each run has a token
        /// that is good for that run alone. It speaks HTTP: keep it within a network that you trust, or put something
        /// that speaks TLS before it.
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,

        /// The URL under which runs reach that, where it is not the address itself
        #[arg(long, value_name = "URL", requires = "listen")]
        advertise: Option<String>,
    }

    impl Endpoint {
        /// Listens, and tells whoever starts runs where. What it returns answers until the end.
        pub(super) async fn open(
            self,
            orchestrator: &Orchestrator,
            mut ended: watch::Receiver<bool>,
        ) -> Result<impl Future<Output = ()> + use<>> {
            let served = match self.listen {
                None => None,
                Some(address) => Some(listen(orchestrator, &address, self.advertise).await?),
            };
            Ok(async move {
                let Some((api, listener)) = served else { return };
                let cancel = async {
                    // Who has gone without a word has ended, too.
                    let _ = ended.wait_for(|ended| *ended).await;
                };
                api.serve(listener, cancel).await;
            })
        }
    }

    async fn listen(
        orchestrator: &Orchestrator,
        address: &str,
        advertise: Option<String>,
    ) -> Result<(Api, TcpListener)> {
        if let Some(url) = &advertise {
            check_url(url).map_err(|error| error.at("--advertise"))?;
        }
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::new(runtimes::ErrorKind::Unavailable, format!("cannot listen at {address:?}: {error}"))
                .at("--listen")
                .help("write ADDRESS:PORT of this machine, as in 0.0.0.0:8080")
        })?;
        let bound = listener.local_addr();
        let bound = bound.map_err(|error| Error::io("listen at", address, error))?;
        let api = Api::new(orchestrator.clone(), Tokens::open(orchestrator).await?);
        let Some(url) = advertise.or_else(|| reached(bound)) else {
            super::say(&format!(
                "listening at {bound}; runs elsewhere are not told where: give --advertise URL"
            ));
            return Ok((api, listener));
        };
        orchestrator.set_endpoint(&url).await?;
        super::say(&format!("listening at {bound}; runs report to {url}"));
        Ok((api.advertise(url), listener))
    }

    /// The URL of an address that others can reach; of all addresses of a machine it is not known which one that is.
    fn reached(bound: SocketAddr) -> Option<String> {
        (!bound.ip().is_unspecified()).then(|| format!("http://{bound}"))
    }
}
