//! The environment of a run's containers, in MLRun's order and with its names.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1 as core;
use serde::Serialize;

use super::{Cluster, Style, names::object_name, workload::pod_metadata};
use crate::{
    Error, ErrorKind, Function, Result, Run,
    plan::Manifest,
    run::{RunSpec, RunState},
    secret::Secret,
};

/// How long a variable may be, name and value: what the kernel takes as one string.
pub const MAX_VARIABLE: usize = 128 * 1024 - 2;

/// The variable that tells a client of MLRun, and our agent, where the endpoint for reports is: its URL.
pub const ENDPOINT_URL: &str = "MLRUN_DBPATH";

/// The variable with the token of a run: a client of MLRun, and our agent, send it with each request (`Authorization:
/// Bearer`). A client takes it from the environment whenever it connects. `MLRUN_HTTPDB__TOKEN` would not do: it is part
/// of the client's settings, and these are taken over in the order of the environment, the URL among them, with which it
/// connects at once. It comes before `V3IO_ACCESS_KEY`, so that code may have that for what it is for. It is to be a
/// reference to a secret.
pub const ENDPOINT_TOKEN: &str = "MLRUN_AUTH_SESSION";

/// The key of the token in its secret.
const TOKEN_KEY: &str = "token";

fn token_secret_name(run: &Run, attempt: u32) -> String {
    format!("{}-token", object_name(run, attempt, "-token".len()))
}

/// The secret with the token of a run, to which [`ENDPOINT_TOKEN`] refers where there is an endpoint.
pub fn token_secret(function: &Function, run: &Run, cluster: &Cluster, token: &Secret) -> Manifest {
    let name = token_secret_name(run, cluster.attempt);
    let secret = core::Secret {
        metadata: pod_metadata(function, run, cluster, name),
        string_data: Some([(TOKEN_KEY.to_owned(), token.expose().to_owned())].into()),
        ..core::Secret::default()
    };
    Manifest::Secret(Box::new(secret))
}

/// A variable with a value.
pub fn variable(name: impl Into<String>, value: impl Into<String>) -> core::EnvVar {
    core::EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

/// Text that arrives as it is: in arguments and variables of containers, Kubernetes puts variables in the place of `$(NAME)`,
/// and makes one `$` of two.
pub fn verbatim(text: String) -> String {
    if text.contains("$$") || text.contains("$(") { text.replace('$', "$$") } else { text }
}

/// Text as a container gets it: variables in the place of `$(NAME)`, where they are known, and one `$` instead of two.
pub fn expand<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('(').and_then(|name| name.split_once(')'));
        match (rest.strip_prefix('$'), name) {
            (Some(after), _) => {
                expanded.push('$');
                rest = after;
            }
            (None, Some((name, after))) => {
                match known(name) {
                    Some(value) => expanded.push_str(value),
                    None => expanded.extend(["$(", name, ")"]),
                }
                rest = after;
            }
            (None, None) => expanded.push('$'),
        }
    }
    expanded + rest
}

/// A variable with a field of the pod itself: `metadata.name`.
pub fn object_field(name: &str, path: &str) -> core::EnvVar {
    let field =
        core::ObjectFieldSelector { field_path: path.to_owned(), ..core::ObjectFieldSelector::default() };
    let source = core::EnvVarSource { field_ref: Some(field), ..core::EnvVarSource::default() };
    core::EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// A variable that is a key of a secret.
pub(super) fn from_secret(name: String, secret: String, key: String) -> core::EnvVar {
    let selector = core::SecretKeySelector { name: secret, key, optional: None };
    let source = core::EnvVarSource { secret_key_ref: Some(selector), ..core::EnvVarSource::default() };
    core::EnvVar { name, value: None, value_from: Some(source) }
}

/// The variables that say which run it is and where the service is.
pub(super) fn of_run(
    function: &Function,
    run: &Run,
    node_selector: &BTreeMap<String, String>,
    cluster: &Cluster,
) -> Result<Vec<core::EnvVar>> {
    let metadata = &function.metadata;
    let project = [&run.metadata.project, &metadata.project].into_iter().find(|name| !name.is_empty());
    let mut env = Vec::with_capacity(8 + function.spec.pod.env.len());
    env.push(variable("MLRUN_DEFAULT_PROJECT", project.map_or("default", String::as_str)));
    let config = exec_config(function, run, node_selector, cluster)?;
    // As MLRun sends it, the run may get another value than it was given.
    let config = if cluster.style == Style::Native { verbatim(config) } else { config };
    env.push(variable("MLRUN_EXEC_CONFIG", config));
    if run.spec.verbose == Some(true) {
        env.push(variable("MLRUN_LOG_LEVEL", "DEBUG"));
    }
    let ours = !cluster.endpoint.is_empty() && cluster.style == Style::Native;
    let url = if ours { &cluster.endpoint } else { &cluster.settings.httpdb.api_url };
    if !url.is_empty() {
        env.push(variable(ENDPOINT_URL, url.as_str()));
    }
    if ours {
        let secret = token_secret_name(run, cluster.attempt);
        env.push(from_secret(ENDPOINT_TOKEN.to_owned(), secret, TOKEN_KEY.to_owned()));
    }
    let namespace = [&metadata.namespace, &cluster.namespace].into_iter().find(|name| !name.is_empty());
    if let Some(namespace) = namespace {
        env.push(variable("MLRUN_NAMESPACE", namespace.as_str()));
    }
    Ok(env)
}

/// The variables that say which project it is and where MLRun's service is.
pub(super) fn of_service(function: &Function, run: &Run, cluster: &Cluster) -> Vec<core::EnvVar> {
    let metadata = &function.metadata;
    let project = [&run.metadata.project, &metadata.project].into_iter().find(|name| !name.is_empty());
    let namespace = [&metadata.namespace, &cluster.namespace].into_iter().find(|name| !name.is_empty());
    let url = Some(&cluster.settings.httpdb.api_url).filter(|url| !url.is_empty());
    let mut env = vec![variable("MLRUN_DEFAULT_PROJECT", project.map_or("default", String::as_str))];
    env.extend(url.map(|url| variable(ENDPOINT_URL, url.as_str())));
    env.extend(namespace.map(|namespace| variable("MLRUN_NAMESPACE", namespace.as_str())));
    env
}

/// One variable of each name, the last one: Kubernetes takes that one, and where objects are merged it takes no two.
pub(super) fn distinct(mut env: Vec<core::EnvVar>) -> Vec<core::EnvVar> {
    let names: HashSet<&str> = env.iter().map(|variable| variable.name.as_str()).collect();
    if names.len() == env.len() {
        return env;
    }
    let mut seen = HashSet::new();
    let keep: Vec<bool> = env.iter().rev().map(|variable| seen.insert(variable.name.clone())).collect();
    let mut keep = keep.into_iter().rev();
    env.retain(|_| keep.next().unwrap_or(true));
    env
}

/// The run as its code gets it, as JSON.
fn exec_config(
    function: &Function,
    run: &Run,
    node_selector: &BTreeMap<String, String>,
    cluster: &Cluster,
) -> Result<String> {
    let mut spec = run.spec.clone();
    spec.node_selector.clone_from(node_selector);
    // Where somebody is told of it may be a secret, and is no business of the code.
    for notification in &mut spec.notifications {
        notification.params = None;
        notification.secret_params = None;
    }
    let settings = &cluster.settings;
    let given = match spec.state_thresholds.is_empty() {
        true => function.spec.pod.state_thresholds.clone(),
        false => std::mem::take(&mut spec.state_thresholds),
    };
    spec.state_thresholds = settings.function.spec.state_thresholds.default.clone();
    spec.state_thresholds.extend(given);
    spec.scrape_metrics.get_or_insert(settings.scrape_metrics);

    let mut labels: BTreeMap<&str, &str> =
        run.metadata.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    labels.insert("kind", &function.kind);
    labels.insert("mlrun/client_version", &cluster.client_version);
    labels.insert("mlrun/client_python_version", &cluster.client_python_version);
    let metadata = &run.metadata;
    let config = ExecConfig {
        spec,
        metadata: ExecMetadata {
            project: &metadata.project,
            name: &metadata.name,
            uid: &metadata.uid,
            iteration: metadata.iteration,
            labels,
            annotations: metadata
                .annotations
                .iter()
                .filter(|(key, _)| !key.starts_with("runtimes/"))
                .collect(),
        },
        status: ExecStatus { state: RunState::Created },
    };
    let text = serde_json::to_string(&config)
        .map_err(|error| Error::internal("a run cannot be written").source(error))?;
    if text.len() + "MLRUN_EXEC_CONFIG=".len() > MAX_VARIABLE {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("the run has {} bytes, and its code gets at most {MAX_VARIABLE} of them", text.len()),
        )
        .at("run.spec.parameters")
        .help("write large parameters into a file, and give that as an input"));
    }
    Ok(text)
}

#[derive(Serialize)]
struct ExecConfig<'a> {
    spec: RunSpec,
    metadata: ExecMetadata<'a>,
    status: ExecStatus,
}

#[derive(Serialize)]
struct ExecMetadata<'a> {
    project: &'a str,
    name: &'a str,
    uid: &'a str,
    iteration: u32,
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a String, &'a String>,
}

#[derive(Serialize)]
struct ExecStatus {
    state: RunState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_variable_of_a_name_counts() {
        let env = ["A=1", "B=1", "A=2", "C=1", "B=2"].map(|text| {
            let (name, value) = text.split_once('=').unwrap();
            variable(name, value)
        });
        let left: Vec<_> =
            distinct(env.to_vec()).iter().map(|v| v.name.clone() + v.value.as_deref().unwrap()).collect();
        assert_eq!(left, ["A2", "C1", "B2"]);
    }

    #[test]
    fn a_run_that_is_too_large_is_refused() {
        let (function, mut run) = (Function::new("job", "f"), Run::default());
        run.spec.parameters.insert("x".to_owned(), "y".repeat(MAX_VARIABLE).into());
        let error = of_run(&function, &run, &BTreeMap::new(), &Cluster::default()).unwrap_err();
        assert_eq!(error.location(), Some("run.spec.parameters"));
    }

    #[test]
    fn variables_are_put_in_their_places_unless_the_text_is_verbatim() {
        let known = |name: &str| (name == "A").then_some("one");
        for (text, expected) in [
            ("", ""),
            ("$(A)-$(A)", "one-one"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("kill $$$$; $x $", "kill $$; $x $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
        ] {
            assert_eq!(expand(text, known), expected, "{text}");
            assert_eq!(expand(&verbatim(text.to_owned()), known), text);
        }
    }
}
