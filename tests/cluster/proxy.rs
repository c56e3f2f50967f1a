//! A proxy before a real API server that goes wrong at random: the seed is printed, and can be given.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response,
    body::{Body, Bytes, Frame, Incoming},
    http::request::Parts,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use runtimes::{
    cluster::kube::{self, Client, Config},
    core::serde_json::json,
};
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};

/// Numbers that look random.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let given = std::env::var("RUNTIMES_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7919);
        println!("RUNTIMES_TEST_SEED={seed}");
        Self(seed)
    }

    /// Others, that follow from these.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.below(u64::MAX >> 33))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// An answer that is no success.
    Answer(u16, &'static str),
    /// The connection is closed, and nothing was done.
    Refused,
    /// It was done, and nobody hears of it.
    AnswerLost,
    /// Nothing is said for long.
    Silent,
    /// What is streamed breaks off after so many milliseconds.
    Cut(u64),
}

/// The proxy. It ends when this is dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    client: Client,
    dice: Mutex<Dice>,
    /// Of a hundred requests.
    faults: u64,
    away: AtomicBool,
    counts: Mutex<BTreeMap<String, usize>>,
}

impl Proxy {
    /// One through which so many of a hundred requests to the server of this client go wrong.
    pub(crate) async fn start(client: Client, dice: Dice, faults: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (dice, counts) = (Mutex::new(dice), Mutex::default());
        let shared = Arc::new(Shared { client, dice, faults, away: AtomicBool::new(false), counts });
        let task = tokio::spawn(Arc::clone(&shared).listen(listener));
        Self { shared, url, task }
    }

    /// A client that goes through it.
    pub(crate) fn client(&self, namespace: &str) -> Client {
        let mut config = Config::new(self.url.parse().unwrap());
        config.default_namespace = namespace.to_owned();
        Client::try_from(config).unwrap()
    }

    /// The server is away: who is connected is cut off, and nobody is let in.
    pub(crate) fn away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    /// What went wrong, and how often.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.shared.counts.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&self);
            connections.spawn(async move {
                let serve = service_fn(|request| Arc::clone(&shared).serve(request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                tokio::select! {
                    _ = connection => {}
                    () = shared.gone() => {}
                }
            });
        }
    }

    /// Waits until the server is away.
    async fn gone(&self) {
        while !self.away.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Streamed>, Broken> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let fault = self.draw(&parts);
        match fault {
            Some(Fault::Answer(code, reason)) => return Ok(answer(code, reason)),
            Some(Fault::Refused) => return Err(Broken),
            Some(Fault::Silent) => {
                sleep(Duration::from_secs(5)).await;
                return Err(Broken);
            }
            _ => {}
        }
        for header in ["host", "connection"] {
            parts.headers.remove(header);
        }
        let request = Request::from_parts(parts, kube::client::Body::from(body));
        let answered = self.client.send(request).await.map_err(|_| Broken)?;
        let end = match fault {
            Some(Fault::AnswerLost) => return Err(Broken),
            Some(Fault::Cut(after)) => Some(Box::pin(sleep(Duration::from_millis(after)))),
            _ => None,
        };
        Ok(answered.map(|body| Streamed { body, end }))
    }

    fn draw(&self, parts: &Parts) -> Option<Fault> {
        let mut dice = self.dice.lock().unwrap();
        if dice.below(100) >= self.faults {
            return None;
        }
        let query = parts.uri.query().unwrap_or_default();
        let streams = query.contains("watch=") || query.contains("follow=");
        let fault = match (streams, dice.below(10)) {
            (true, 0) => Fault::Answer(500, "InternalError"),
            (true, 1) => Fault::Refused,
            (true, 2) if query.contains("watch=") => Fault::Answer(410, "Expired"),
            (true, _) => Fault::Cut(dice.below(1500)),
            (false, 0) => Fault::Answer(429, "TooManyRequests"),
            (false, 1) => Fault::Answer(500, "InternalError"),
            (false, 2) => Fault::Answer(503, "ServiceUnavailable"),
            (false, 3) => Fault::Answer(504, "Timeout"),
            (false, 4) if parts.method != Method::GET => Fault::Answer(409, "Conflict"),
            (false, 5) => Fault::Refused,
            (false, 6) => Fault::Silent,
            (false, _) => Fault::AnswerLost,
        };
        let kind = match fault {
            Fault::Answer(code, _) => code.to_string(),
            Fault::Cut(_) => "Cut".to_owned(),
            other => format!("{other:?}"),
        };
        *self.counts.lock().unwrap().entry(kind).or_default() += 1;
        Some(fault)
    }
}

fn answer(code: u16, reason: &str) -> Response<Streamed> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": format!("{reason}: the proxy says so"),
    });
    let body = kube::client::Body::from(status.to_string().into_bytes());
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(Streamed { body, end: None }).unwrap()
}

/// The connection breaks off.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the proxy breaks the connection off")
    }
}

impl std::error::Error for Broken {}

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body that may break off.
struct Streamed {
    body: kube::client::Body,
    end: Option<Pin<Box<Sleep>>>,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(Broken)));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(|_| Broken)
    }
}
