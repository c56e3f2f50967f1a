//! Files: what the code of a run wrote, and sends here because it is gone with its pod.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use runtime_core::{Error, serde_json::json};
use serde::Deserialize;

use super::{
    error::{Refusal, json_response},
    request::{Caller, Given, Raw, Shared},
};
use crate::orchestrator::Part;

/// Which part of a file it is; without both, the whole file.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    offset: u64,
    size: Option<u64>,
}

/// `PUT projects/{project}/runs/{uid}/files/{path}`: a file that the code of a run wrote, or a part of it.
pub(super) async fn store(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, uid, path)): Path<(String, String, String)>,
    Given(Which { offset, size }): Given<Which>,
    Raw(data): Raw,
) -> Result<Response, Refusal> {
    caller.run(&shared, &project, &uid).await?;
    let size = size.unwrap_or(data.len() as u64);
    if size > shared.largest_file {
        let message = format!("the file has {size} bytes, and at most {} are taken", shared.largest_file);
        return Err(Error::invalid("size", message)
            .help("write it to a URL or a volume (`--artifact-path`)")
            .into());
    }
    let part = Part { offset, size };
    let folder = shared.orchestrator.receive(caller.key(), caller.attempt(), &path, part, data).await?;
    Ok(json_response(StatusCode::OK, &json!({"folder": folder})))
}
