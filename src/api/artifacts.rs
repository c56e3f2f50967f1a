//! Artifacts: what a run's code logs, and what it reads of others.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use runtime_core::{
    Error, Result, Run,
    run::{Artifact, RunKey},
    serde_json::{self, Map, Value, json},
    store::RunRecord,
};
use serde::Deserialize;

use super::{
    error::{Refusal, json_response},
    request::{Caller, Given, Iteration, Json, Shared},
};
use crate::data::{ArtifactFilter, ArtifactUri};

type Answer = Result<Response, Refusal>;

/// The most artifacts that a run may report.
const MOST: usize = 10_000;

/// Which artifact is meant.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    iter: Option<u32>,
    tag: Option<String>,
    tree: Option<String>,
    #[serde(rename = "object-uid")]
    uid: Option<String>,
    name: Option<String>,
    kind: Option<String>,
}

/// `PUT projects/{project}/artifacts/{key}`.
pub(super) async fn store(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, key)): Path<(String, String)>,
    Given(wanted): Given<Wanted>,
    Json(body): Json,
) -> Answer {
    keep(&shared, &caller, &project, &key, wanted, body).await
}

/// `POST projects/{project}/artifacts/{uid}/{key}`, and `POST artifact/{project}/{uid}/{key}`: of older clients.
pub(super) async fn store_of_run(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, rest)): Path<(String, String)>,
    Given(wanted): Given<Wanted>,
    Json(body): Json,
) -> Answer {
    let (tree, key) = rest.split_once('/').ok_or_else(|| {
        Refusal::bad(format!(
            "{rest:?} is no path of an artifact: write RUN_UID/KEY, or use PUT with its key"
        ))
    })?;
    let tree = wanted.tree.clone().or_else(|| Some(tree.to_owned()));
    keep(&shared, &caller, &project, key, Wanted { tree, ..wanted }, body).await
}

/// `POST projects/{project}/artifacts`.
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(project): Path<String>,
    Json(body): Json,
) -> Answer {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let key = text("/spec/db_key").or_else(|| text("/metadata/key")).unwrap_or_default();
    let iter = body.pointer("/metadata/iter").and_then(Value::as_u64);
    let wanted = Wanted {
        iter: iter.and_then(|iter| u32::try_from(iter).ok()),
        tag: text("/metadata/tag"),
        tree: text("/metadata/tree"),
        ..Wanted::default()
    };
    keep(&shared, &caller, &project, &key, wanted, body).await
}

async fn keep(
    shared: &Shared,
    caller: &Caller,
    project: &str,
    db_key: &str,
    wanted: Wanted,
    body: Value,
) -> Answer {
    let record = caller.own_run(shared, project).await?;
    let iteration = wanted.iter.or_else(|| Some(caller.key().iteration));
    let of = caller.of(&Iteration::at(iteration))?;
    let artifact = read_artifact(body, db_key, &of, &wanted, &record.run)?;
    let change = |kept: &mut crate::orchestrator::Kept| {
        let artifacts = &mut kept.report.artifacts;
        let full = artifacts.len() >= MOST;
        match artifacts.iter_mut().find(|known| name(known) == name(&artifact)) {
            Some(known) => known.clone_from(&artifact),
            None if full => {
                let error = Error::invalid("artifacts", format!("a run has at most {MOST} artifacts"));
                return Err(error.help("log a folder in place of many files"));
            }
            None => artifacts.push(artifact.clone()),
        }
        if kept.report.state.is_empty() {
            "running".clone_into(&mut kept.report.state);
        }
        Ok(())
    };
    // Also that of an iteration that the code made: it is the run's.
    shared.orchestrator.report(caller.key(), caller.key(), caller.attempt(), change).await?;
    Ok(json_response(StatusCode::OK, &serde_json::to_value(&artifact).unwrap_or_default()))
}

/// What tells two artifacts of a run apart.
fn name(artifact: &Artifact) -> (&str, Option<&Value>, Option<&Value>) {
    (&artifact.metadata.key, artifact.spec.get("db_key"), artifact.metadata.extra.get("iter"))
}

fn read_artifact(mut body: Value, db_key: &str, of: &RunKey, wanted: &Wanted, run: &Run) -> Result<Artifact> {
    if body.get("metadata").is_none() && body.get("key").is_some() {
        body = of_old_form(body);
    }
    let mut artifact: Artifact = serde_json::from_value(body)
        .map_err(|error| Error::invalid("body", format!("this is no artifact: {error}")))?;
    if artifact.metadata.key.is_empty() {
        db_key.clone_into(&mut artifact.metadata.key);
    }
    let key = &artifact.metadata.key;
    if key.is_empty() || key.len() > 1024 || key.chars().any(char::is_control) {
        return Err(Error::invalid("metadata.key", format!("{key:?} is no key of an artifact")));
    }
    let extra = &mut artifact.metadata.extra;
    extra.insert("project".to_owned(), json!(run.metadata.project));
    extra.insert("iter".to_owned(), json!(of.iteration));
    let given = [("tree", wanted.tree.as_deref()), ("tag", wanted.tag.as_deref())];
    for (field, value) in given.into_iter().filter_map(|(field, value)| Some((field, value?))) {
        extra.insert(field.to_owned(), json!(value));
    }
    extra.entry("tree").or_insert_with(|| json!(run.metadata.uid));
    artifact.spec.insert("db_key".to_owned(), json!(db_key));
    Ok(artifact)
}

/// All in one object, as older clients write them.
fn of_old_form(body: Value) -> Value {
    const METADATA: [&str; 8] = ["key", "project", "iter", "tree", "tag", "hash", "labels", "uid"];
    let Value::Object(fields) = body else { return body };
    let (mut metadata, mut spec, mut kind) = (Map::new(), Map::new(), Value::Null);
    for (field, value) in fields {
        match field.as_str() {
            "kind" => kind = value,
            field if METADATA.contains(&field) => drop(metadata.insert(field.to_owned(), value)),
            _ => drop(spec.insert(field, value)),
        }
    }
    json!({"kind": kind.as_str().unwrap_or_default(), "metadata": metadata, "spec": spec})
}

/// `GET projects/{project}/artifacts/{key}`, also with a tag in the place of `?tag=`.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, key)): Path<(String, String)>,
    Given(wanted): Given<Wanted>,
) -> Answer {
    let artifact = find(&shared, &caller, &project, &key, &wanted).await?;
    Ok(json_response(StatusCode::OK, &artifact))
}

/// `GET artifact/{project}/{tag}/{key}`, of older clients, which want the artifact as `data`.
pub(super) async fn read_tagged(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path((project, rest)): Path<(String, String)>,
    Given(wanted): Given<Wanted>,
) -> Answer {
    let (tag, key) = rest.split_once('/').unwrap_or(("latest", &rest));
    let wanted = Wanted { tag: Some(tag.to_owned()), ..wanted };
    let artifact = find(&shared, &caller, &project, key, &wanted).await?;
    Ok(json_response(StatusCode::OK, &json!({"data": artifact})))
}

async fn find(
    shared: &Shared,
    caller: &Caller,
    project: &str,
    key: &str,
    wanted: &Wanted,
) -> Result<Value, Refusal> {
    let record = caller.record(shared).await?;
    let iteration = wanted.iter.unwrap_or(caller.key().iteration);
    if project == record.run.metadata.project && caller.of(&Iteration::at(Some(iteration))).is_ok() {
        let kept = shared.orchestrator.reported(caller.key(), caller.attempt()).await?.unwrap_or_default();
        let mut own = kept.report.artifacts.iter().rev();
        if let Some(artifact) = own.find(|artifact| is(artifact, key, iteration, wanted)) {
            return Ok(serde_json::to_value(artifact).unwrap_or_default());
        }
    }
    let missing =
        || Refusal::missing(format!("the run of this token knows no artifact {key:?} in {project:?}"));
    let uri = given(&record, project, key, wanted).ok_or_else(missing)?;
    let found = shared.orchestrator.artifact(&uri).await?;
    Ok(serde_json::to_value(&found.artifact).unwrap_or_default())
}

/// Whether an artifact of the run is the one that is wanted.
fn is(artifact: &Artifact, key: &str, iteration: u32, wanted: &Wanted) -> bool {
    let extra = &artifact.metadata.extra;
    let text = |field: &str| extra.get(field).and_then(Value::as_str).unwrap_or_default();
    let db_key = artifact.spec.get("db_key").and_then(Value::as_str);
    (artifact.metadata.key == key || db_key == Some(key))
        && extra.get("iter").and_then(Value::as_u64).unwrap_or_default() == u64::from(iteration)
        && wanted.tree.as_deref().is_none_or(|tree| tree == text("tree"))
        && wanted.tag.as_deref().is_none_or(|tag| tag == "latest" || tag == text("tag"))
}

/// The artifact of another run that this one was given, by an input or a parameter.
fn given(record: &RunRecord, project: &str, key: &str, wanted: &Wanted) -> Option<ArtifactUri> {
    let spec = &record.run.spec;
    let parameters = spec.parameters.values().filter_map(Value::as_str);
    let named = spec.inputs.values().map(String::as_str).chain(parameters);
    named
        .filter(|text| ArtifactUri::is_uri(text))
        .filter_map(|text| text.parse::<ArtifactUri>().ok())
        .map(|uri| uri.in_project(&record.run.metadata.project))
        .find(|uri| {
            let same = |asked: &Option<String>, known: &Option<String>| {
                asked.is_none() || known.is_none() || asked == known
            };
            let tag = wanted.tag.clone().filter(|tag| tag != "latest");
            uri.project == project
                && uri.key == key
                && same(&wanted.tree, &uri.tree)
                && same(&wanted.uid, &uri.uid)
                && same(&tag, &uri.tag)
        })
}

/// `GET projects/{project}/artifacts`: those of the run.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(project): Path<String>,
    Given(wanted): Given<Wanted>,
) -> Answer {
    caller.own_run(&shared, &project).await?;
    let kept = shared.orchestrator.reported(caller.key(), caller.attempt()).await?.unwrap_or_default();
    let mut found: BTreeMap<String, Artifact> = BTreeMap::new();
    let filter = ArtifactFilter { run: Some(caller.key().clone()), ..ArtifactFilter::default() };
    let recorded = shared.orchestrator.artifacts(&filter).await?;
    let all = recorded.into_iter().map(|record| record.artifact).chain(kept.report.artifacts);
    for artifact in all {
        let named = |name: &String| artifact.metadata.key.contains(name.trim_start_matches('~'));
        if wanted.name.as_ref().is_none_or(named)
            && wanted.kind.as_ref().is_none_or(|kind| *kind == artifact.kind)
        {
            found.insert(artifact.metadata.key.clone(), artifact);
        }
    }
    let artifacts: Vec<_> = found.into_values().collect();
    Ok(json_response(StatusCode::OK, &json!({"artifacts": artifacts})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_of_an_old_client_is_one_too() {
        let body = json!({"key": "a", "kind": "model", "target_path": "/x", "tree": "t", "size": 3});
        let run = Run::default();
        let artifact = read_artifact(body, "f_a", &RunKey::new("u"), &Wanted::default(), &run).unwrap();
        assert_eq!(
            (artifact.kind.as_str(), artifact.target_path(), artifact.size()),
            ("model", "/x", Some(3))
        );
        assert_eq!((artifact.metadata.key.as_str(), &artifact.spec["db_key"]), ("a", &json!("f_a")));
        assert!(is(&artifact, "f_a", 0, &Wanted { tag: Some("latest".to_owned()), ..Wanted::default() }));
        assert!(!is(&artifact, "f_a", 0, &Wanted { tree: Some("other".to_owned()), ..Wanted::default() }));
    }

    #[test]
    fn a_run_reads_what_it_was_given_and_no_more() {
        let mut record = RunRecord {
            run: Arc::default(),
            revision: 0,
            owner: String::new(),
            target: String::new(),
            attempt: 0,
        };
        record.run_mut().metadata.project = "p".to_owned();
        record.run_mut().spec.inputs.insert("model".to_owned(), "store://p/wine#0@abc".to_owned());
        record.run_mut().spec.parameters.insert("data".to_owned(), json!("store://datasets/other/table:v1"));
        let given = |project: &str, key: &str, tag: Option<&str>| {
            let wanted = Wanted { tag: tag.map(str::to_owned), ..Wanted::default() };
            super::given(&record, project, key, &wanted)
        };
        assert!(given("p", "wine", Some("latest")).is_some_and(|uri| uri.tree.as_deref() == Some("abc")));
        assert!(given("other", "table", None).is_some() && given("other", "table", Some("v1")).is_some());
        for (project, key, tag) in [("p", "beer", None), ("q", "wine", None), ("other", "table", Some("v2"))]
        {
            assert!(given(project, key, tag).is_none(), "{project} {key}");
        }
    }
}
