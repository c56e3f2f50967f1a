//! The endpoint at which runs report from elsewhere.

use std::net::SocketAddr;

use runtimes::{
    Error, ErrorKind, Orchestrator, Result,
    api::{Api, Tokens, check_url},
};
use tokio::{net::TcpListener, sync::watch};

use super::say;

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

/// Where runs are to report, once this daemon acts.
pub(super) struct Known {
    bound: Option<SocketAddr>,
    url: Option<String>,
}

impl Known {
    /// Tells whoever starts runs.
    pub(super) async fn tell(&self, orchestrator: &Orchestrator) -> Result<()> {
        match (&self.bound, &self.url) {
            (Some(bound), Some(url)) => {
                orchestrator.set_endpoint(url).await?;
                say(&format!("listening at {bound}; runs report to {url}"));
            }
            (Some(bound), None) => {
                say(&format!("listening at {bound}; runs elsewhere are not told where: give --advertise URL"))
            }
            (None, _) => {}
        }
        Ok(())
    }
}

impl Endpoint {
    /// Listens. What it returns answers until the end: what runs report while this daemon `acts`, and before that only
    /// that it lives.
    pub(super) async fn open(
        self,
        orchestrator: &Orchestrator,
        acts: watch::Receiver<bool>,
        mut ended: watch::Receiver<bool>,
    ) -> Result<(impl Future<Output = ()> + use<>, Known)> {
        if let Some(url) = &self.advertise {
            check_url(url).map_err(|error| error.at("--advertise"))?;
        }
        let mut known = Known { bound: None, url: None };
        let served = match self.listen {
            None => None,
            Some(address) => {
                let (api, listener, bound) = listen(orchestrator, &address).await?;
                let url = self.advertise.or_else(|| reached(bound));
                let api = match &url {
                    Some(url) => api.advertise(url.as_str()),
                    None => api,
                };
                known = Known { bound: Some(bound), url };
                Some((api.open_while(acts), listener))
            }
        };
        let serves = async move {
            let Some((api, listener)) = served else { return };
            let cancel = async {
                // Who has gone without a word has ended, too.
                let _ = ended.wait_for(|ended| *ended).await;
            };
            api.serve(listener, cancel).await;
        };
        Ok((serves, known))
    }
}

async fn listen(orchestrator: &Orchestrator, address: &str) -> Result<(Api, TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot listen at {address:?}: {error}"))
            .at("--listen")
            .help("write ADDRESS:PORT of this machine, as in 0.0.0.0:8080")
    })?;
    let bound = listener.local_addr();
    let bound = bound.map_err(|error| Error::io("listen at", address, error))?;
    Ok((Api::new(orchestrator.clone(), Tokens::open(orchestrator).await?), listener, bound))
}

/// The URL of an address that others can reach; of all addresses of a machine it is not known which one that is.
fn reached(bound: SocketAddr) -> Option<String> {
    (!bound.ip().is_unspecified()).then(|| format!("http://{bound}"))
}
