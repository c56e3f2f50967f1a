//! What else the code of a run asks for: whether the endpoint lives and what it is, the function, the project, the names
//! of its secrets.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{Method, StatusCode, Uri},
    response::Response,
};
use runtime_core::{cluster::MLRUN_VERSION, serde_json::json, store::Version};
use serde::Deserialize;

use super::{
    error::{Refusal, json_response},
    request::{Caller, Given, Shared},
};

type Answer = Result<Response, Refusal>;

/// `healthz`: whether the record can be read.
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Answer {
    shared.orchestrator.store().get_document("health", "", "none").await?;
    Ok(json_response(StatusCode::OK, &json!({"status": "ok", "version": MLRUN_VERSION})))
}

/// `client-spec`: the settings that clients take over. Of MLRun's the version alone is said: the rest is theirs.
pub(super) async fn client_spec(State(shared): State<Arc<Shared>>) -> Answer {
    let mut spec = json!({"version": MLRUN_VERSION, "ce": {"mode": "lite", "release": null}});
    if let Some(url) = &shared.url {
        spec["api_url"] = json!(url);
    }
    Ok(json_response(StatusCode::OK, &spec))
}

/// Which version of a function is meant.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    hash_key: Option<String>,
}

/// `GET projects/{project}/functions/{name}`: the version that the run runs, whatever the tag.
pub(super) async fn function(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    Given(Asked { hash_key }): Given<Asked>,
) -> Answer {
    let record = caller.record(&shared).await?;
    let uri = &record.run.spec.function;
    let (path, hash) = uri.rsplit_once('@').unwrap_or((uri, ""));
    let asked = hash_key.filter(|asked| !asked.is_empty());
    if path != format!("{project}/{name}") || asked.is_some_and(|asked| asked != hash) {
        return Err(Refusal::forbidden(format!("this token shows the function of its run alone: {uri}")));
    }
    let version = Version::Hash(hash.to_owned());
    let found = shared.orchestrator.store().get_function(&project, &name, &version).await?;
    let found = found.ok_or_else(|| Refusal::missing(format!("the function {uri} is not there any more")))?;
    Ok(json_response(StatusCode::OK, &json!({"func": found.function.to_value()})))
}

/// `GET projects/{project}`: there are no more of projects here than their names.
pub(super) async fn project(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(project): Path<String>,
) -> Answer {
    caller.own_run(&shared, &project).await?;
    let body =
        json!({"kind": "project", "metadata": {"name": project}, "spec": {}, "status": {"state": "online"}});
    Ok(json_response(StatusCode::OK, &body))
}

/// `GET projects/{project}/secret-keys`: the names of the secrets that the run may read.
pub(super) async fn secret_keys(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(project): Path<String>,
) -> Answer {
    let record = caller.own_run(&shared, &project).await?;
    let names = shared.orchestrator.secret_names(&record.run)?;
    Ok(json_response(StatusCode::OK, &json!({"provider": "kubernetes", "secret_keys": names})))
}

/// `GET projects/{project}/secrets`: values do not go this way, as with MLRun.
pub(super) async fn secrets(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(project): Path<String>,
) -> Answer {
    caller.own_run(&shared, &project).await?;
    Err(Refusal::forbidden(
        "values of secrets are not sent: the run has its own already; read one with context.get_secret(NAME)",
    ))
}

/// Whatever else is asked for.
pub(super) async fn nothing(method: Method, uri: Uri) -> Refusal {
    Refusal::missing(format!(
        "there is no {method} {} here: this endpoint takes what the code of a run reports; the command \
         `runtimes` does the rest",
        uri.path()
    ))
}

/// A path with another method.
pub(super) async fn not_so(method: Method, uri: Uri) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} cannot be asked with {method}", uri.path()))
}
