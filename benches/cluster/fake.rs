//! A cluster without machines in a process of its own, so that what it needs is not counted.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use runtimes::{
    cluster::kube::client::{Body, Client},
    core::testkit::cluster::{FakeCluster, Life},
};
use tokio::net::TcpListener;

use super::Outcome;

/// The variable by which a process knows that it is to be one.
pub(crate) const SERVE: &str = "RUNTIMES_BENCH_FAKE_CLUSTER";

/// A cluster in another process; it ends with this.
pub(crate) struct Fake {
    child: Child,
    pub(crate) url: String,
}

impl Fake {
    pub(crate) fn start() -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--bench").env(SERVE, "1").stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("it has an output")?).read_line(&mut url)?;
        Ok(Self { child, url: url.trim().to_owned() })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a cluster on which pods print a line and run for ever.
pub(crate) async fn serve() -> Outcome {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().prints("begun").wait("never"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let client = Client::new(cluster, "default");
    loop {
        let (stream, _) = listener.accept().await?;
        let client = client.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(client.clone(), request));
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await
        });
    }
}

async fn answer(
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<Body>, runtimes::cluster::kube::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(runtimes::cluster::kube::Error::HyperError)?.to_bytes();
    client.send(Request::from_parts(parts, Body::from(body))).await
}
