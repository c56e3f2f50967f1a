//! An orchestrator, its endpoint, and a target on which runs go as a test says.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use runtimes::{
    Function, Handle, Orchestrator, Request, Result, Run, RunState, Update,
    api::{Api, Limits, Tokens},
    core::{
        Target,
        plan::Role,
        run::RunKey,
        serde_json::{self, Value},
        store::DocumentFilter,
        target::{Event, Exit, Job, Observation, Part, Phase},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
};

/// Nothing here takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A target that sees what a test tells it, and nothing of what the code reports.
#[derive(Default)]
pub(crate) struct Elsewhere {
    runs: Mutex<HashMap<(RunKey, u32), mpsc::Sender<Event>>>,
    applied: watch::Sender<()>,
}

#[async_trait::async_trait]
impl Target for Elsewhere {
    fn name(&self) -> &'static str {
        "host"
    }

    fn reports_apart(&self) -> bool {
        true
    }

    async fn check(&self, _: &Job) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn apply(&self, job: Job) -> Result<mpsc::Receiver<Event>> {
        let (events, receiver) = mpsc::channel(16);
        self.runs.lock().unwrap().insert((job.key, job.attempt), events);
        self.applied.send_replace(());
        Ok(receiver)
    }

    async fn abort(&self, _: &RunKey, _: Duration) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: &Run) -> Result<()> {
        Ok(())
    }
}

impl Elsewhere {
    /// What is seen of an attempt.
    pub(crate) async fn see(&self, run: &RunKey, attempt: u32, phase: Phase) {
        let which = (run.clone(), attempt);
        let mut applied = self.applied.subscribe();
        let events = loop {
            let known = self.runs.lock().unwrap().get(&which).cloned();
            // One that nobody listens to is of an orchestrator that is gone.
            match known.filter(|events| !events.is_closed()) {
                Some(events) => break events,
                None => within(applied.changed()).await.unwrap(),
            }
        };
        let ended = matches!(phase, Phase::Ended(_));
        let part = Part { name: "main".to_owned(), role: Role::Main, phase };
        let seen = Observation { parts: vec![part], ended, ..Observation::default() };
        events.send(Event::Seen(Box::new(seen))).await.unwrap();
        if ended {
            self.runs.lock().unwrap().remove(&which);
        }
    }
}

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) target: Arc<Elsewhere>,
    pub(crate) tokens: Tokens,
    pub(crate) address: SocketAddr,
    /// Ends the endpoint, and what becomes of it.
    pub(crate) end: oneshot::Sender<()>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = Arc::new(Elsewhere::default());
        let shared = Arc::clone(&target) as Arc<dyn Target>;
        let orchestrator = Orchestrator::builder(folder.path()).target(shared).open().await.unwrap();
        let (tokens, address, end, ended) = serve(&orchestrator, limits).await;
        Self { folder, orchestrator, target, tokens, address, end, ended }
    }

    /// A run that goes on.
    pub(crate) async fn run(&self, request: impl Into<Request>) -> Handle {
        let mut handle = self.orchestrator.submit(request).await.unwrap();
        self.target.see(&handle.key(), 0, Phase::Running).await;
        until(&mut handle, |run| run.state() == RunState::Running).await;
        handle
    }

    pub(crate) fn token(&self, run: &RunKey, attempt: u32) -> String {
        self.tokens.token(run, attempt).expose().to_owned()
    }

    /// A request with the token of the run's first attempt.
    pub(crate) async fn ask(&self, run: &RunKey, what: &str, body: &str) -> Answer {
        ask(self.address, &self.token(run, 0), what, body).await
    }

    /// Changes the run as a client of MLRun does.
    pub(crate) async fn update(&self, run: &RunKey, body: &str) -> Answer {
        self.ask(run, &format!("PATCH /api/v1/projects/default/runs/{}", run.uid), body).await
    }

    /// Ends the run with this code, and waits for that.
    pub(crate) async fn end(&self, handle: Handle, code: i32) -> Run {
        self.target.see(&handle.key(), 0, Phase::Ended(Exit::Code(code))).await;
        within(handle.wait()).await.unwrap()
    }

    /// The reports that are kept.
    pub(crate) async fn kept(&self) -> usize {
        within(self.orchestrator.idle()).await;
        self.orchestrator.store().list_documents(&DocumentFilter::of("report")).await.unwrap().len()
    }
}

/// An endpoint for the runs of this orchestrator's record.
pub(crate) async fn serve(
    orchestrator: &Orchestrator,
    limits: Limits,
) -> (Tokens, SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let tokens = Tokens::open(orchestrator).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ending) = oneshot::channel::<()>();
    let api = Api::new(orchestrator.clone(), tokens.clone()).limits(limits);
    let ended = tokio::spawn(async move { api.serve(listener, async { drop(ending.await) }).await });
    (tokens, address, end, ended)
}

/// A request whose program is the test itself.
pub(crate) fn request() -> Request {
    Request::new(Function::new("local", "far").with_command("sh").with_args(["-c", "true"]))
}

/// The run, as soon as this is so.
pub(crate) async fn until(handle: &mut Handle, holds: impl Fn(&Run) -> bool) -> Run {
    let found = async {
        while let Some(update) = handle.next().await {
            match update {
                Update::Run(run) if holds(&run) => return *run,
                _ => {}
            }
        }
        panic!("the run ended before")
    };
    within(found).await
}

/// An answer: its status, its head, and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It is refused in the form that clients of MLRun show.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, says: &str) {
        let detail = self.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(self.status == status && detail.contains(says), "not {status} {says:?}: {self:?}");
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
    }
}

/// `METHOD PATH`, with this token and body.
pub(crate) async fn ask(address: SocketAddr, token: &str, what: &str, body: &str) -> Answer {
    let authorization =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who is refused early need not have read all of it.
    let _ = stream.write_all(request.as_bytes()).await;
    read(&mut stream).await
}

/// The rest of what comes over a connection.
pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("it takes for ever"))
}

/// Writes a file into this folder.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
