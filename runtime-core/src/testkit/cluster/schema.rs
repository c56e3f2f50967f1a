//! What built-in objects are made of: wrong types are refused, fields that do not exist are found.

use k8s_openapi::{
    api::{apps, autoscaling, batch, coordination, core, networking, policy, rbac, scheduling, storage},
    apiextensions_apiserver::pkg::apis::apiextensions,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::resource::Resource;

/// The object with what its type has and nothing else, and the fields that this left out.
///
/// # Errors
/// What cannot be read as the type, and where.
pub(super) fn typed(resource: &Resource, value: Value) -> Result<(Value, Vec<String>), String> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => read::<core::v1::Namespace>(value),
        ("", "Pod") => read::<core::v1::Pod>(value),
        ("", "Event") => read::<core::v1::Event>(value),
        ("", "ConfigMap") => read::<core::v1::ConfigMap>(value),
        ("", "Secret") => read::<core::v1::Secret>(value),
        ("", "Service") => read::<core::v1::Service>(value),
        ("", "ServiceAccount") => read::<core::v1::ServiceAccount>(value),
        ("", "Endpoints") => read::<core::v1::Endpoints>(value),
        ("", "PersistentVolumeClaim") => read::<core::v1::PersistentVolumeClaim>(value),
        ("", "PersistentVolume") => read::<core::v1::PersistentVolume>(value),
        ("", "Node") => read::<core::v1::Node>(value),
        ("", "ResourceQuota") => read::<core::v1::ResourceQuota>(value),
        ("", "LimitRange") => read::<core::v1::LimitRange>(value),
        ("apiextensions.k8s.io", _) => read::<apiextensions::v1::CustomResourceDefinition>(value),
        ("apps", "DaemonSet") => read::<apps::v1::DaemonSet>(value),
        ("apps", "Deployment") => read::<apps::v1::Deployment>(value),
        ("apps", "ReplicaSet") => read::<apps::v1::ReplicaSet>(value),
        ("apps", "StatefulSet") => read::<apps::v1::StatefulSet>(value),
        ("autoscaling", _) => read::<autoscaling::v2::HorizontalPodAutoscaler>(value),
        ("batch", "CronJob") => read::<batch::v1::CronJob>(value),
        ("batch", "Job") => read::<batch::v1::Job>(value),
        ("coordination.k8s.io", _) => read::<coordination::v1::Lease>(value),
        ("networking.k8s.io", "Ingress") => read::<networking::v1::Ingress>(value),
        ("networking.k8s.io", _) => read::<networking::v1::NetworkPolicy>(value),
        ("policy", _) => read::<policy::v1::PodDisruptionBudget>(value),
        ("rbac.authorization.k8s.io", "ClusterRole") => read::<rbac::v1::ClusterRole>(value),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => read::<rbac::v1::ClusterRoleBinding>(value),
        ("rbac.authorization.k8s.io", "Role") => read::<rbac::v1::Role>(value),
        ("rbac.authorization.k8s.io", _) => read::<rbac::v1::RoleBinding>(value),
        ("scheduling.k8s.io", _) => read::<scheduling::v1::PriorityClass>(value),
        ("storage.k8s.io", _) => read::<storage::v1::StorageClass>(value),
        // Of a custom resource only the metadata is known.
        _ => read_metadata(value),
    }
}

fn read<T: DeserializeOwned + Serialize>(value: Value) -> Result<(Value, Vec<String>), String> {
    let typed: T = serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        format!("{path}: {}", error.into_inner())
    })?;
    let mut known = serde_json::to_value(&typed).map_err(|error| error.to_string())?;
    let mut lost = Vec::new();
    missing(&value, &known, "", &mut lost);
    without_nothing(&mut known);
    Ok((known, lost))
}

fn read_metadata(mut value: Value) -> Result<(Value, Vec<String>), String> {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    let metadata = value.get("metadata").cloned().unwrap_or_default();
    let (metadata, lost) = read::<ObjectMeta>(metadata)?;
    super::object::map(&mut value).insert("metadata".to_owned(), metadata);
    Ok((value, lost.into_iter().map(|field| format!("metadata.{field}")).collect()))
}

/// Leaves out lists and maps in which there is nothing, where they mean the same as none.
fn without_nothing(value: &mut Value) {
    let nothing = |value: &Value| {
        value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
    };
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        // An empty list of managed fields is how they are cleared.
        metadata.retain(|name, value| name == "managedFields" || !nothing(value));
    }
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| {
            !matches!(name.as_str(), "data" | "binaryData" | "stringData") || !nothing(value)
        });
    }
}

/// The fields that a value has and what was read of it has not.
fn missing(given: &Value, known: &Value, path: &str, lost: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(known) => missing(value, known, &path, lost),
                    None if value.is_null() => {}
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (at, (given, known)) in given.iter().zip(known).enumerate() {
                missing(given, known, &format!("{path}[{at}]"), lost);
            }
        }
        _ => {}
    }
}
