//! What a server fills in where an object says nothing.

use serde_json::{Map, Value, json};

use super::{
    object::{map, metadata, part},
    resource::Resource,
};

pub(super) fn fill(resource: &Resource, value: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod(value),
        ("batch", "Job") => job(value),
        ("apps", "Deployment" | "ReplicaSet") => {
            let spec = part(value, "spec");
            or(spec, "replicas", 1);
            if let Some(template) = spec.get_mut("template") {
                pod_spec(part(template, "spec"));
            }
        }
        ("", "Secret") => or(map(value), "type", "Opaque"),
        ("", "Namespace") => {
            or(part(value, "spec"), "finalizers", json!(["kubernetes"]));
            or(part(value, "status"), "phase", "Active");
        }
        ("", "Service") => or(part(value, "spec"), "type", "ClusterIP"),
        ("", "PersistentVolumeClaim") => or(part(value, "status"), "phase", "Pending"),
        _ => {}
    }
}

fn or(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), value.into());
    }
}

fn pod(value: &mut Value) {
    pod_spec(part(value, "spec"));
    let spec = part(value, "spec");
    or(spec, "serviceAccountName", "default");
    let account = spec["serviceAccountName"].clone();
    or(spec, "serviceAccount", account);
    or(spec, "enableServiceLinks", true);
    or(spec, "priority", 0);
    or(spec, "preemptionPolicy", "PreemptLowerPriority");
    tolerate(spec);
}

/// Every pod bears for five minutes that its node is not heard of.
fn tolerate(spec: &mut Map<String, Value>) {
    or(spec, "tolerations", json!([]));
    let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |one: &Value| {
            let key_fits = one["key"] == key || (one["key"].is_null() && one["operator"] == "Exists");
            key_fits && (one["effect"].is_null() || one["effect"] == "NoExecute")
        };
        if !tolerations.iter().any(covers) {
            let one =
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            tolerations.push(one);
        }
    }
}

/// What a pod has and a template of one, too.
fn pod_spec(spec: &mut Map<String, Value>) {
    or(spec, "restartPolicy", "Always");
    or(spec, "terminationGracePeriodSeconds", 30);
    or(spec, "dnsPolicy", "ClusterFirst");
    or(spec, "securityContext", json!({}));
    or(spec, "schedulerName", "default-scheduler");
    for list in ["initContainers", "containers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container(map(one));
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                or(source, "defaultMode", 420);
            }
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    or(container, "resources", json!({}));
    or(container, "terminationMessagePath", "/dev/termination-log");
    or(container, "terminationMessagePolicy", "File");
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let named = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && named.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    or(container, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    if let Some(limits) = container["resources"].get("limits").and_then(Value::as_object).cloned() {
        let requests = part_of(&mut container["resources"], "requests");
        for (name, limit) in limits {
            or(requests, &name, limit);
        }
    }
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        or(map(port), "protocol", "TCP");
    }
    for env in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(field) = env.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")) {
            or(map(field), "apiVersion", "v1");
        }
    }
}

fn part_of<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    part(value, name)
}

fn job(value: &mut Value) {
    let spec = part(value, "spec");
    let alone = !spec.contains_key("completions") && !spec.contains_key("parallelism");
    if alone {
        or(spec, "completions", 1);
    }
    or(spec, "parallelism", 1);
    or(spec, "backoffLimit", 6);
    or(spec, "completionMode", "NonIndexed");
    or(spec, "suspend", false);
    or(spec, "manualSelector", false);
    or(
        spec,
        "podReplacementPolicy",
        if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" },
    );
    if let Some(template) = spec.get_mut("template") {
        pod_spec(part(template, "spec"));
    }
}

/// What only a new object gets, when it has its uid.
pub(super) fn adopt(resource: &Resource, value: &mut Value) {
    if resource.is("batch", "Job") && value["spec"]["manualSelector"] != true {
        let (uid, name) = (value["metadata"]["uid"].clone(), value["metadata"]["name"].clone());
        let spec = part(value, "spec");
        spec.insert(
            "selector".to_owned(),
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
        );
        let template = spec.entry("template").or_insert_with(|| json!({}));
        let labels = part(template, "metadata").entry("labels").or_insert_with(|| json!({}));
        let labels = map(labels);
        for prefix in ["", "batch.kubernetes.io/"] {
            labels.insert(format!("{prefix}controller-uid"), uid.clone());
            labels.insert(format!("{prefix}job-name"), name.clone());
        }
        // A job without labels has those of its pods.
        let labels = labels.clone();
        let own = metadata(value).entry("labels").or_insert_with(|| json!({}));
        if own.as_object().is_none_or(Map::is_empty) {
            *own = labels.into();
        }
    }
    if resource.is_pod() {
        let class = quality(&value["spec"]);
        map(value).insert("status".to_owned(), json!({"phase": "Pending", "qosClass": class}));
    }
}

/// A pod's quality of service.
fn quality(spec: &Value) -> &'static str {
    let containers = || spec["containers"].as_array().into_iter().flatten();
    let of = |one: &Value, side: &str, name: &str| one["resources"][side].get(name).cloned();
    let any = containers().any(|one| {
        ["requests", "limits"]
            .iter()
            .any(|side| ["cpu", "memory"].iter().any(|name| of(one, side, name).is_some()))
    });
    let all = containers().all(|one| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = of(one, "limits", name);
            limit.is_some() && of(one, "requests", name) == limit
        })
    });
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The plain texts of a secret become its data.
pub(super) fn secret_text(value: &mut Value) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let Some(Value::Object(texts)) = map(value).shift_remove("stringData") else { return };
    let data = part(value, "data");
    for (name, text) in texts {
        let text = text.as_str().unwrap_or_default();
        data.insert(name, BASE64_STANDARD.encode(text).into());
    }
}
