//! The environment of a run's code, with MLRun's names, so that code which uses MLRun finds itself at home.

use serde_json::{Map, Value, json};

use super::Run;
use crate::{
    Function,
    plan::{EnvValue, EnvVar},
};

/// The run as `MLRUN_EXEC_CONFIG` carries it: `spec`, `metadata` and the state.
pub fn exec_config(run: &Run, output_path: &str) -> Value {
    let mut spec = serde_json::to_value(&run.spec).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut()
        && !output_path.is_empty()
    {
        spec.insert("output_path".to_owned(), Value::from(output_path));
    }
    let mut metadata = Map::new();
    for (key, value) in [
        ("project", Value::from(run.metadata.project.as_str())),
        ("name", Value::from(run.metadata.name.as_str())),
        ("uid", Value::from(run.metadata.uid.as_str())),
        ("labels", serde_json::to_value(&run.metadata.labels).unwrap_or_default()),
        ("iteration", Value::from(run.metadata.iteration)),
    ] {
        metadata.insert(key.to_owned(), value);
    }
    json!({ "spec": spec, "metadata": metadata, "status": { "state": "running" } })
}

/// The variables that every kind gives to a run's code: the project and the function's own, in that order.
pub fn runtime_env(function: &Function, run: &Run) -> Vec<EnvVar> {
    let mut env = vec![EnvVar::new("MLRUN_DEFAULT_PROJECT", run.metadata.project.as_str())];
    for var in &function.spec.pod.env {
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
