//! What is wrong with an object, by field.

use std::collections::HashSet;

use serde_json::Value;

use super::{names, resource::Resource, status::Cause};

/// What is wrong with a new object, or with one that is to be changed.
pub(super) fn check(resource: &Resource, value: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = match &value["metadata"] {
        Value::Object(metadata) => names::metadata(&resource.kind, metadata),
        _ => vec![Cause::required("metadata.name", "name or generateName is required")],
    };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod_spec(&value["spec"], "spec", &mut causes),
        ("batch", "Job") => job(&value["spec"], &mut causes),
        ("apps", "Deployment" | "ReplicaSet") => replicated(&value["spec"], &mut causes),
        ("", "Secret" | "ConfigMap") => data(value, &mut causes),
        _ => {}
    }
    if let Some(before) = before {
        unchanged(resource, value, before, &mut causes);
    }
    causes
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pod_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let mut volumes = HashSet::new();
    for (number, volume) in list(spec, "volumes").iter().enumerate() {
        let name = volume["name"].as_str().unwrap_or_default();
        let at = format!("{at}.volumes[{number}].name");
        name_of(name, &at, causes);
        if !volumes.insert(name) {
            causes.push(Cause::duplicate(at, name));
        }
    }
    if list(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{at}.containers"), ""));
    }
    let mut names = HashSet::new();
    for kind in ["initContainers", "containers"] {
        for (number, one) in list(spec, kind).iter().enumerate() {
            container(one, &format!("{at}.{kind}[{number}]"), (&mut names, &volumes), causes);
        }
    }
    if let Some(policy) =
        spec["restartPolicy"].as_str().filter(|one| !["Always", "OnFailure", "Never"].contains(one))
    {
        causes.push(Cause::unsupported(
            format!("{at}.restartPolicy"),
            policy,
            &["Always", "OnFailure", "Never"],
        ));
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64().filter(|seconds| *seconds < 1) {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::wrong_number(format!("{at}.activeDeadlineSeconds"), seconds, why));
    }
    for (key, value) in spec["nodeSelector"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if let Err(why) = names::label_key(key).and_then(|()| names::label_value(value)) {
            causes.push(Cause::invalid(format!("{at}.nodeSelector"), value, why));
        }
    }
}

fn name_of(name: &str, at: &str, causes: &mut Vec<Cause>) {
    if name.is_empty() {
        causes.push(Cause::required(at, ""));
    } else if let Err(why) = names::part_name(name) {
        causes.push(Cause::invalid(at, name, why));
    }
}

type Known<'a, 'b> = (&'b mut HashSet<&'a str>, &'b HashSet<&'a str>);

fn container<'a>(one: &'a Value, at: &str, (names, volumes): Known<'a, '_>, causes: &mut Vec<Cause>) {
    let name = one["name"].as_str().unwrap_or_default();
    name_of(name, &format!("{at}.name"), causes);
    if !name.is_empty() && !names.insert(name) {
        causes.push(Cause::duplicate(format!("{at}.name"), name));
    }
    let image = one["image"].as_str().unwrap_or_default();
    if image.is_empty() {
        causes.push(Cause::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        causes.push(Cause::invalid(
            format!("{at}.image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    for (number, env) in list(one, "env").iter().enumerate() {
        if env["name"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("{at}.env[{number}].name"), ""));
        } else if env["value"].as_str().is_some_and(|value| !value.is_empty())
            && env.get("valueFrom").is_some()
        {
            let why = "may not be specified when `value` is not empty";
            causes.push(Cause::invalid(format!("{at}.env[{number}].valueFrom"), "", why));
        }
    }
    for (number, mount) in list(one, "volumeMounts").iter().enumerate() {
        let name = mount["name"].as_str().unwrap_or_default();
        if !volumes.contains(name) {
            let message = format!("Not found: {name:?}");
            let field = format!("{at}.volumeMounts[{number}].name");
            causes.push(Cause { reason: "FieldValueNotFound", field, message });
        }
    }
    resources(&one["resources"], &format!("{at}.resources"), causes);
}

fn resources(resources: &Value, at: &str, causes: &mut Vec<Cause>) {
    let amount = |value: &Value| value.as_str().and_then(|text| text.parse::<crate::pod::Quantity>().ok());
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = resources["limits"].get(name) else { continue };
        if let (Some(requested), Some(limited)) = (amount(request), amount(limit))
            && requested > limited
        {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                limit.as_str().unwrap_or_default()
            );
            causes.push(Cause::invalid(format!("{at}.requests"), request.as_str().unwrap_or_default(), why));
        }
    }
}

fn job(spec: &Value, causes: &mut Vec<Cause>) {
    pod_spec(&spec["template"]["spec"], "spec.template.spec", causes);
    let policy = spec["template"]["spec"]["restartPolicy"].as_str().unwrap_or_default();
    if policy == "Always" {
        let why = "valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::required("spec.template.spec.restartPolicy", why));
    }
    if spec.get("podFailurePolicy").is_some() && policy == "OnFailure" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        causes.push(Cause::invalid("spec.template.spec.restartPolicy", policy, why));
    }
    for field in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        if let Some(value) = spec[field].as_i64().filter(|value| *value < 0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::wrong_number(format!("spec.{field}"), value, why));
        }
    }
}

/// Deployments and ReplicaSets: a selector that finds their own pods, which always go on.
fn replicated(spec: &Value, causes: &mut Vec<Cause>) {
    let labels = &spec["template"]["metadata"]["labels"];
    match spec["selector"]["matchLabels"].as_object() {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(wanted) if wanted.iter().any(|(name, value)| labels[name] != *value) => {
            let why = "`selector` does not match template `labels`";
            causes.push(Cause::invalid("spec.template.metadata.labels", "", why));
        }
        Some(_) => {}
    }
    if let Some(policy) = spec["template"]["spec"]["restartPolicy"].as_str().filter(|one| *one != "Always") {
        causes.push(Cause::unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    pod_spec(&spec["template"]["spec"], "spec.template.spec", causes);
}

/// Secrets and ConfigMaps.
fn data(value: &Value, causes: &mut Vec<Cause>) {
    const LIMIT: usize = 1024 * 1024;
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, text) in value[field].as_object().into_iter().flatten() {
            let text = text.as_str().map_or(0, str::len);
            size += if field == "data" && value["kind"] == "ConfigMap" { text } else { text / 4 * 3 };
            let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
            if key.is_empty() || !key.bytes().all(fits) {
                let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
                causes.push(Cause::invalid(format!("{field}[{key}]"), key, why));
            }
        }
    }
    if size > LIMIT {
        // A config map's is said of the whole, of which the path is shown like this.
        let field = if value["kind"] == "Secret" { "data" } else { "[]" };
        let message = format!("Too long: must have at most {LIMIT} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", field: field.to_owned(), message });
    }
}

/// What may not be changed.
fn unchanged(resource: &Resource, value: &Value, before: &Value, causes: &mut Vec<Cause>) {
    let immutable = |field: &str, causes: &mut Vec<Cause>| {
        causes.push(Cause::invalid(field, "", "field is immutable"));
    };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") if fixed(&value["spec"]) != fixed(&before["spec"]) => {
            let why = "pod updates may not change fields other than `spec.containers[*].image`, \
                `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to \
                existing tolerations)";
            causes.push(Cause::forbidden("spec", why));
        }
        ("batch", "Job") => {
            for field in ["selector", "completions", "completionMode", "podFailurePolicy"] {
                if value["spec"][field] != before["spec"][field] {
                    immutable(&format!("spec.{field}"), causes);
                }
            }
            let held = before["spec"]["suspend"] == true && before["status"]["startTime"].is_null();
            if !held && value["spec"]["template"] != before["spec"]["template"] {
                immutable("spec.template", causes);
            }
        }
        ("", "Secret" | "ConfigMap") if before["immutable"] == true => {
            for field in ["data", "stringData", "binaryData"] {
                if value[field] != before[field] {
                    causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
                }
            }
        }
        _ => {}
    }
}

/// A pod's spec without what may be changed.
fn fixed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            fields.shift_remove(field);
        }
    }
    for kind in ["containers", "initContainers"] {
        for one in spec.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(one) = one.as_object_mut() {
                one.shift_remove("image");
            }
        }
    }
    spec
}
