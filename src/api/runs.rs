//! Runs: stored, changed, read; their logs; and what our own agent reports.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use runtime_core::{
    Error,
    run::{Report, RunKey},
    serde_json::{self, Value, json},
};
use serde::Deserialize;

use super::{
    error::{Refusal, json_response},
    mlrun,
    request::{Caller, Given, Iteration, Json, Raw, Shared},
};

type Answer = Result<Response, Refusal>;

/// The most of a log that is read at once.
const MAX_LOG: u64 = 16 * 1024 * 1024;

/// The header in which a client of MLRun looks for the run's state.
const STATE: &str = "x-mlrun-run-state";

/// Which run.
pub(super) type Which = Path<(String, String)>;

pub(super) async fn store(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
    Given(iteration): Given<Iteration>,
    Json(whole): Json,
) -> Answer {
    let record = caller.run(&shared, &project, &uid).await?;
    let of = caller.of(&iteration)?;
    keep(&shared, &caller, &of, |kept| mlrun::store(kept, whole.clone(), &record.run)).await
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
    Given(iteration): Given<Iteration>,
    Json(changes): Json,
) -> Answer {
    let record = caller.run(&shared, &project, &uid).await?;
    let of = caller.of(&iteration)?;
    keep(&shared, &caller, &of, |kept| mlrun::update(kept, &changes, &record.run)).await
}

async fn keep(
    shared: &Shared,
    caller: &Caller,
    of: &RunKey,
    change: impl Fn(&mut crate::orchestrator::Kept) -> runtime_core::Result<()> + Send,
) -> Answer {
    shared.orchestrator.report(caller.key(), of, caller.attempt(), change).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
    Given(iteration): Given<Iteration>,
) -> Answer {
    let record = caller.run(&shared, &project, &uid).await?;
    let of = caller.of(&iteration)?;
    let kept = shared.orchestrator.reported(&of, caller.attempt()).await?;
    let mut run = runtime_core::Run::clone(&record.run);
    if of != *caller.key() {
        // An iteration that the code made: known by what it said of it.
        if kept.is_none() {
            return Err(Refusal::missing(format!("run {uid} has no iteration {}", of.iteration)));
        }
        run.metadata.iteration = of.iteration;
        run.status = runtime_core::run::RunStatus { state: run.status.state, ..Default::default() };
    }
    Ok(json_response(StatusCode::OK, &json!({"data": mlrun::read(&run, kept.as_ref())})))
}

/// When a report was made, by the clock of who reports: one that comes late is told from one that is new.
#[derive(Debug, Deserialize)]
pub(super) struct Sequence {
    #[serde(default)]
    sequence: i64,
}

/// What our own agent says: a whole report, as it writes it into a file elsewhere.
pub(super) async fn report(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
    Given(iteration): Given<Iteration>,
    Given(Sequence { sequence }): Given<Sequence>,
    Json(body): Json,
) -> Answer {
    caller.run(&shared, &project, &uid).await?;
    let of = caller.of(&iteration)?;
    let report: Report = serde_json::from_value(body)
        .map_err(|error| Error::invalid("body", format!("this is no report: {error}")))?;
    if !matches!(report.state.as_str(), "running" | "completed" | "error") {
        let error = Error::invalid("state", format!("{:?} is no state of a report", report.state));
        return Err(error.help("running, completed or error").into());
    }
    keep(&shared, &caller, &of, |kept| {
        let goes_back = kept.report.state != "running" && report.state == "running";
        if sequence >= kept.sequence && (kept.report.state.is_empty() || !goes_back) {
            kept.sequence = sequence;
            kept.report.clone_from(&report);
        }
        Ok(())
    })
    .await
}

/// What of a log is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    size: Option<i64>,
}

pub(super) async fn read_log(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
    Given(Part { offset, size }): Given<Part>,
) -> Answer {
    let record = caller.run(&shared, &project, &uid).await?;
    let size = size.and_then(|size| u64::try_from(size).ok()).unwrap_or(MAX_LOG).min(MAX_LOG);
    let (text, _) = log(&shared, caller.key(), offset, size).await?;
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(STATE, HeaderValue::from_static(record.run.state().as_str()));
    Ok(response)
}

pub(super) async fn log_size(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
) -> Answer {
    caller.run(&shared, &project, &uid).await?;
    let (_, size) = log(&shared, caller.key(), 0, 0).await?;
    Ok(json_response(StatusCode::OK, &json!({"size": size})))
}

/// What a client sends of its output is what it printed: that is in the log, by whoever follows the run.
pub(super) async fn store_log(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid)): Which,
    Raw(_): Raw,
) -> Answer {
    caller.run(&shared, &project, &uid).await?;
    shared.orchestrator.reporting(caller.key(), caller.attempt()).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// A part of the text of a log, and how long all of it is.
async fn log(shared: &Shared, key: &RunKey, offset: u64, size: u64) -> Result<(Vec<u8>, u64), Refusal> {
    let mut lines = shared.orchestrator.logs(key, false).await?;
    let (mut part, mut at) = (Vec::new(), 0_u64);
    while let Some(line) = lines.next().await {
        let mut line = line?;
        if !line.partial {
            line.bytes.push(b'\n');
        }
        let length = line.bytes.len() as u64;
        let from = usize::try_from(offset.saturating_sub(at).min(length)).unwrap_or_default();
        let left = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(part.len());
        part.extend(line.bytes.iter().skip(from).take(left));
        at += length;
        // The file is read between two requests, not by one alone.
        tokio::task::consume_budget().await;
        if size > 0 && part.len() as u64 >= size {
            break;
        }
    }
    Ok((part, at))
}

/// The runs that a token shows: its own.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(project): Path<String>,
) -> Answer {
    let record = caller.own_run(&shared, &project).await?;
    let kept = shared.orchestrator.reported(caller.key(), caller.attempt()).await?;
    let runs: Vec<Value> = vec![mlrun::read(&record.run, kept.as_ref())];
    Ok(json_response(StatusCode::OK, &json!({"runs": runs})).into_response())
}
