//! Which names, labels and annotations can be.

use serde_json::{Map, Value};

use super::status::Cause;
use crate::naming;

const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// All that annotations of an object may have together.
const ANNOTATIONS: usize = 256 * 1024;

fn word(text: &str) -> bool {
    let ends = |letter: Option<u8>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter))
}

fn label(text: &str) -> bool {
    !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty()
        && text.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-')
}

fn subdomain(text: &str) -> bool {
    text.split('.').all(label)
}

pub(super) fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    match prefix {
        Some("") => return Err("prefix part must be non-empty".to_owned()),
        Some(prefix) if !subdomain(prefix) => return Err(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        return Err(format!("name part must be non-empty, {NAME}"));
    }
    if name.len() > 63 {
        return Err("name part must be no more than 63 characters".to_owned());
    }
    if word(name) { Ok(()) } else { Err(NAME.to_owned()) }
}

pub(super) fn label_value(value: &str) -> Result<(), String> {
    if value.len() > 63 {
        return Err("must be no more than 63 characters".to_owned());
    }
    if value.is_empty() || word(value) { Ok(()) } else { Err(VALUE.to_owned()) }
}

/// What is wrong with an object's name.
fn name(kind: &str, name: &str) -> Result<(), String> {
    let (limit, good, said) = match kind {
        "Namespace" => (63, label(name), LABEL),
        "Service" => (63, label(name) && !name.starts_with(|first: char| first.is_ascii_digit()), SERVICE),
        "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => {
            (253, !name.contains('/'), "may not contain '/'")
        }
        _ => (253, subdomain(name), SUBDOMAIN),
    };
    if name.len() > limit {
        return Err(format!("must be no more than {limit} characters"));
    }
    if good { Ok(()) } else { Err(said.to_owned()) }
}

/// What is wrong with an object's metadata.
pub(super) fn metadata(kind: &str, metadata: &Map<String, Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if given.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if let Err(why) = name(kind, given) {
        causes.push(Cause::invalid("metadata.name", given, why));
    }
    let texts = |field: &str| metadata.get(field).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in texts("labels") {
        if let Err(why) = label_key(key) {
            causes.push(Cause::invalid("metadata.labels", key, why));
        }
        let value = value.as_str().unwrap_or_default();
        if let Err(why) = label_value(value) {
            causes.push(Cause::invalid("metadata.labels", value, why));
        }
    }
    let mut size = 0;
    for (key, value) in texts("annotations") {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Err(why) = label_key(&key.to_ascii_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", key, why));
        }
    }
    if size > ANNOTATIONS {
        let message = format!("Too long: must have at most {ANNOTATIONS} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", field: "metadata.annotations".to_owned(), message });
    }
    causes.extend(owners(metadata));
    causes
}

fn owners(metadata: &Map<String, Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    for (at, owner) in owners.into_iter().flatten().enumerate() {
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "kind must not be empty"),
            ("name", "name must not be empty"),
            ("uid", "uid must not be empty"),
        ] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                causes.push(Cause::invalid(format!("metadata.ownerReferences[{at}].{field}"), "", why));
            }
        }
    }
    causes
}

/// Whether a text can be the name of a container or a volume.
pub(super) fn part_name(text: &str) -> Result<(), String> {
    if text.len() > naming::MAX_NAME {
        return Err("must be no more than 63 characters".to_owned());
    }
    if label(text) { Ok(()) } else { Err(LABEL.to_owned()) }
}
