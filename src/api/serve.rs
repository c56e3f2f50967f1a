//! The server: which path is answered by whom, and connections that neither hang nor are cut off.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use super::{
    artifacts,
    error::Refusal,
    files, gate,
    limit::{Limits, Rates},
    project,
    request::Shared,
    runs,
    token::Tokens,
};
use crate::Orchestrator;

/// How long requests that have begun may take when the server ends.
const GRACE: Duration = Duration::from_secs(10);

/// How long a machine that takes no connections is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// The endpoint for reports.
///
/// ```no_run
/// use runtimes::{Orchestrator, api::{Api, Tokens}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let orchestrator = Orchestrator::open(".runtimes").await?;
/// let tokens = Tokens::open(&orchestrator).await?;
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
/// Api::new(orchestrator, tokens).serve(listener, std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
pub struct Api {
    orchestrator: Orchestrator,
    tokens: Tokens,
    limits: Limits,
    url: Option<String>,
    open: Option<watch::Receiver<bool>>,
}

impl Api {
    /// An endpoint for the runs of this orchestrator's record, whoever follows them.
    pub fn new(orchestrator: Orchestrator, tokens: Tokens) -> Self {
        Self { orchestrator, tokens, limits: Limits::default(), url: None, open: None }
    }

    /// What it takes.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The URL under which it is known to runs.
    #[must_use]
    pub fn advertise(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// It answers while this is true; otherwise it refuses all requests with 503, `/readyz` among them, and says with
    /// `/livez` alone that it lives. So of several replicas behind one address the one is asked that acts.
    #[must_use]
    pub fn open_while(mut self, open: watch::Receiver<bool>) -> Self {
        self.open = Some(open);
        self
    }

    /// The paths that it answers, to be put into a server of one's own. Connections are that server's affair then;
    /// bodies, rates and times are limited all the same.
    pub fn router(self) -> Router {
        let Self { orchestrator, tokens, limits, url, open } = self;
        let shared = Arc::new(Shared {
            orchestrator,
            tokens,
            rates: Rates::new(&limits),
            url,
            largest_file: limits.file,
        });
        let paths = paths();
        let paths = Router::new()
            .route("/healthz", get(project::health))
            .route("/readyz", get(project::health))
            .nest("/api/v1", paths.clone())
            .nest("/api/v2", paths.clone())
            .nest("/api", paths)
            .fallback(project::nothing)
            .method_not_allowed_fallback(project::not_so)
            .layer(DefaultBodyLimit::max(limits.body))
            .layer(middleware::from_fn_with_state(limits.timeout, in_time))
            .with_state(shared);
        gate::guarded(paths, open)
    }

    /// Answers until `cancel` is done; then requests that have begun are answered, within ten seconds.
    pub async fn serve(self, listener: TcpListener, cancel: impl Future<Output = ()>) {
        let limits = self.limits;
        let service = TowerToHyperService::new(self.router());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.idle);
        let (places, graceful) = (Arc::new(Semaphore::new(limits.connections)), GracefulShutdown::new());
        tokio::pin!(cancel);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (stream, place) = tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok((stream, _)) => (stream, place),
                    Err(error) => {
                        // One connection that was lost before it was taken, or no files left: others may go well.
                        tracing::warn!(%error, "a connection could not be taken");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
                () = &mut cancel => break,
            };
            let _ = stream.set_nodelay(true);
            let connection = http.serve_connection(TokioIo::new(stream), service.clone());
            let watched = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = watched.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests went on when the endpoint ended, and were cut off");
        }
    }
}

/// A request is answered in time, or refused.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("the request was not done within {} s", limit.as_secs_f64());
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, message).later(1).into_response()
        }
    }
}

/// The paths of MLRun 1.8, and those of older versions.
fn paths() -> Router<Arc<Shared>> {
    let run = || get(runs::read).post(runs::store).put(runs::store).patch(runs::update);
    let log = || get(runs::read_log).post(runs::store_log);
    Router::new()
        .route("/healthz", get(project::health))
        .route("/client-spec", get(project::client_spec))
        .route("/projects/{project}", get(project::project))
        .route("/projects/{project}/runs", get(runs::list))
        .route("/projects/{project}/runs/{uid}", run())
        .route("/projects/{project}/runs/{uid}/report", put(runs::report).post(runs::report))
        .route("/projects/{project}/runs/{uid}/files/{*path}", put(files::store))
        .route("/projects/{project}/logs/{uid}", log())
        .route("/projects/{project}/logs/{uid}/size", get(runs::log_size))
        .route("/projects/{project}/artifacts", get(artifacts::list).post(artifacts::create))
        .route(
            "/projects/{project}/artifacts/{*key}",
            get(artifacts::read).put(artifacts::store).post(artifacts::store_of_run),
        )
        .route("/projects/{project}/functions/{name}", get(project::function))
        .route("/projects/{project}/secret-keys", get(project::secret_keys))
        .route("/projects/{project}/secrets", get(project::secrets))
        .route("/run/{project}/{uid}", run())
        .route("/log/{project}/{uid}", log())
        .route("/func/{project}/{name}", get(project::function))
        .route("/artifact/{project}/{*key}", post(artifacts::store_of_run).get(artifacts::read_tagged))
}
