//! Replicas of a program that want to lead, each with a line to the cluster that can be cut.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use runtimes::{
    cluster::{ClusterOptions, ElectionOptions, Kubernetes, Lost, Standing, Term, kube},
    core::{
        serde_json::Value,
        testkit::cluster::{Answering, FakeCluster},
    },
};
use tokio::sync::mpsc;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What becomes of a replica's requests.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Line {
    #[default]
    Open,
    /// They are refused at once.
    Refused,
    /// Nobody answers.
    Silent,
    /// They are done, and the answers are lost.
    Deaf,
}

/// A replica's way to the cluster.
#[derive(Clone)]
pub(crate) struct Wire {
    cluster: FakeCluster,
    line: Arc<Mutex<Line>>,
}

impl<B> tower_service::Service<http::Request<B>> for Wire
where
    FakeCluster: tower_service::Service<
            http::Request<B>,
            Response = <FakeCluster as tower_service::Service<http::Request<kube::client::Body>>>::Response,
            Error = io::Error,
            Future = Answering,
        >,
{
    type Response = <FakeCluster as tower_service::Service<http::Request<kube::client::Body>>>::Response;
    type Error = io::Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let line = *self.line.lock().unwrap();
        match line {
            Line::Open => self.cluster.call(request),
            Line::Refused => Box::pin(async { Err(io::Error::other("connection refused")) }),
            Line::Silent => Box::pin(pending()),
            Line::Deaf => {
                let answer = self.cluster.call(request);
                Box::pin(async {
                    answer.await?;
                    Err(io::Error::other("connection reset"))
                })
            }
        }
    }
}

/// Who acted when, in the order in which it happened.
#[derive(Clone, Default)]
pub(crate) struct Acts(Arc<Mutex<Vec<(String, Instant)>>>);

impl Acts {
    pub(crate) fn note(&self, who: &str) {
        self.0.lock().unwrap().push((who.to_owned(), Instant::now()));
    }

    /// Those who acted, one after the other; nobody acts again after another one has begun.
    #[track_caller]
    pub(crate) fn one_after_the_other(&self) -> Vec<String> {
        let mut order: Vec<String> = Vec::new();
        for (who, _) in self.0.lock().unwrap().iter() {
            if order.last() != Some(who) {
                assert!(!order.contains(who), "{who} acted after another one had begun: {order:?}");
                order.push(who.clone());
            }
        }
        order
    }

    pub(crate) fn last_of(&self, who: &str) -> Option<Instant> {
        self.0.lock().unwrap().iter().rev().find(|(name, _)| name == who).map(|(_, at)| *at)
    }

    pub(crate) fn first_of(&self, who: &str) -> Option<Instant> {
        self.0.lock().unwrap().iter().find(|(name, _)| name == who).map(|(_, at)| *at)
    }
}

pub(crate) fn options(name: &str) -> ElectionOptions {
    ElectionOptions {
        identity: name.to_owned(),
        lease_duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry_period: Duration::from_millis(150),
        ..ElectionOptions::default()
    }
}

/// A replica that waits for its turn, or has it.
pub(crate) struct Replica {
    pub(crate) name: String,
    line: Arc<Mutex<Line>>,
    pub(crate) told: mpsc::UnboundedReceiver<Standing>,
    pub(crate) term: mpsc::Receiver<Term>,
}

pub(crate) fn target(cluster: &FakeCluster, line: &Arc<Mutex<Line>>) -> Kubernetes {
    let wire = Wire { cluster: cluster.clone(), line: Arc::clone(line) };
    Kubernetes::with_client(kube::Client::new(wire, "default"), ClusterOptions::default())
}

impl Replica {
    pub(crate) async fn new(cluster: &FakeCluster, name: &str) -> Self {
        Self::with(cluster, options(name)).await
    }

    /// One that does not lose its place because this machine has much to do.
    pub(crate) async fn patient(cluster: &FakeCluster, name: &str) -> Self {
        let (lease_duration, renew_deadline) = (Duration::from_secs(120), Duration::from_secs(110));
        Self::with(cluster, ElectionOptions { lease_duration, renew_deadline, ..options(name) }).await
    }

    async fn with(cluster: &FakeCluster, options: ElectionOptions) -> Self {
        let name = options.identity.clone();
        let line = Arc::new(Mutex::default());
        let election = target(cluster, &line).election(options).await.unwrap();
        assert_eq!(
            (election.identity(), election.lease().as_str()),
            (name.as_str(), "default/runtimes-daemon")
        );
        let (tell, told) = mpsc::unbounded_channel();
        let (won, term) = mpsc::channel(1);
        tokio::spawn(async move {
            let term = election.win(move |standing| drop(tell.send(standing))).await;
            let _ = won.send(term).await;
        });
        Self { name, line, told, term }
    }

    pub(crate) fn cut(&self, line: Line) {
        *self.line.lock().unwrap() = line;
    }

    pub(crate) async fn leads(&mut self) -> Term {
        within(self.term.recv()).await.unwrap()
    }

    pub(crate) async fn is_told(&mut self, wanted: impl Fn(&Standing) -> bool) -> Standing {
        within(async {
            loop {
                let standing = self.told.recv().await.unwrap();
                if wanted(&standing) {
                    return standing;
                }
            }
        })
        .await
    }
}

/// Acts again and again, for as long as the term allows it.
pub(crate) async fn act(term: &Term, who: &str, acts: &Acts) -> Lost {
    let work = async {
        loop {
            acts.note(who);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match term.fence::<_>(work).await {
        Err(lost) => lost,
        Ok(()) => unreachable!(),
    }
}

pub(crate) async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens")
}

pub(crate) fn lease(cluster: &FakeCluster) -> Value {
    cluster.object("leases", "default", "runtimes-daemon").unwrap()["spec"].clone()
}
