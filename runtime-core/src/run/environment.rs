//! The environment of a run's code, with MLRun's names, so that code which uses MLRun finds itself at home.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use super::{Run, RunMetadata, RunSpec, RunState};
use crate::{
    Function,
    plan::{EnvValue, EnvVar},
};

/// The run as `MLRUN_EXEC_CONFIG` carries it: `spec`, `metadata` and the state, as JSON. Inputs that were fetched are
/// where they are now.
pub fn exec_config(run: &Run, output_path: &str, fetched: &BTreeMap<String, PathBuf>) -> String {
    let mut spec = run.spec.clone();
    // The code finds its secrets as files, and is no business of who is told of it.
    spec.secret_sources.clear();
    spec.notifications.clear();
    if !output_path.is_empty() {
        spec.output_path = output_path.to_owned();
    }
    for (name, path) in fetched {
        spec.inputs.insert(name.clone(), path.display().to_string());
    }
    let RunMetadata { uid, name, project, iteration, labels, .. } = &run.metadata;
    let config = ExecConfig {
        spec,
        metadata: ExecMetadata { project, name, uid, labels, iteration: *iteration },
        status: ExecStatus { state: RunState::Running },
    };
    serde_json::to_string(&config).unwrap_or_default()
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
    labels: &'a BTreeMap<String, String>,
    iteration: u32,
}

#[derive(Serialize)]
struct ExecStatus {
    state: RunState,
}

/// The variables that every kind gives to a run's code: the project and the function's own, in that order.
pub fn runtime_env(function: &Function, run: &Run) -> Vec<EnvVar> {
    let mut env = vec![EnvVar::new("MLRUN_DEFAULT_PROJECT", run.metadata.project.as_str())];
    for var in &function.spec.pod.env {
        if from_cluster(var).is_some() {
            continue;
        }
        let secret = var.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        let value = match secret {
            Some(secret) => EnvValue::Secret {
                name: secret.name.clone(),
                key: secret.key.clone(),
                optional: secret.optional.unwrap_or(false),
            },
            None => EnvValue::Value(var.value.clone().unwrap_or_default()),
        };
        env.push(EnvVar { name: var.name.clone(), value });
    }
    env
}

/// What of a cluster the variable takes its value from, where that is more than a secret: such a variable is left out
/// of [`runtime_env`].
pub fn from_cluster(var: &k8s_openapi::api::core::v1::EnvVar) -> Option<&'static str> {
    let from = var.value_from.as_ref()?;
    match (&from.secret_key_ref, &from.config_map_key_ref, &from.field_ref, &from.resource_field_ref) {
        (Some(_), ..) => None,
        (_, Some(_), ..) => Some("configMapKeyRef"),
        (_, _, Some(_), _) => Some("fieldRef"),
        (_, _, _, Some(_)) => Some("resourceFieldRef"),
        _ => Some("valueFrom"),
    }
}
