//! Plans as snapshots show them.

use serde_json::{Value, json};

use crate::{agent, plan::ClusterPlan};

/// The plan as JSON without what all kinds share: the agent, and the run as its code gets it. A plan with what cannot be
/// written is its error.
pub fn shown(plan: ClusterPlan) -> Value {
    let objects: Vec<_> = plan.objects.iter().filter(|object| !object.is_shared()).cloned().collect();
    let text = serde_json::to_string(&ClusterPlan { objects, ..plan });
    let value = text.and_then(|text| serde_json::from_str(&text.replace(agent::version(), "VERSION")));
    let mut value = value.unwrap_or_else(|error| json!(error.to_string()));
    shorten(&mut value);
    value
}

fn shorten(value: &mut Value) {
    match value {
        Value::Object(map) if map.get("name") == Some(&json!("MLRUN_EXEC_CONFIG")) => {
            map.insert("value".to_owned(), json!("THE RUN"));
        }
        Value::Object(map) => {
            map.values_mut().for_each(shorten);
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}
