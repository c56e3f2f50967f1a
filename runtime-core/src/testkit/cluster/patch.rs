//! Strategic merge patches: lists of objects are merged by their keys, and directives say what else is to be done.

use serde_json::{Map, Value};

use super::fields::{Items, items};

/// An object with a patch.
///
/// # Errors
/// What of the patch cannot be understood.
pub(super) fn strategic(value: &Value, patch: &Value) -> Result<Value, String> {
    let Value::Object(patch) = patch else { return Err("a patch must be an object".to_owned()) };
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        object(fields, patch)?;
    }
    Ok(value)
}

fn object(value: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => value.clear(),
        Some("delete") => {
            value.clear();
            return Ok(());
        }
        None | Some("merge") => {}
        Some(other) => {
            return Err(format!("unknown patch directive {other:?}: merge, replace and delete are known"));
        }
    }
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        value.retain(|name, _| kept.iter().any(|one| one == name.as_str()));
    }
    for (name, patch) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = patch.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(list) = value.get_mut(field).and_then(Value::as_array_mut) {
                list.retain(|one| !gone.contains(one));
            }
        }
    }
    for (name, patch) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        match (patch, value.get_mut(name)) {
            (Value::Null, _) => {
                value.shift_remove(name);
            }
            (Value::Object(patch), Some(Value::Object(below))) => object(below, patch)?,
            (Value::Object(patch), _) => {
                let mut below = Map::new();
                object(&mut below, patch)?;
                value.insert(name.clone(), Value::Object(below));
            }
            (Value::Array(patch), Some(Value::Array(below))) => list(name, below, patch)?,
            (Value::Array(patch), _) => {
                let mut below = Vec::new();
                list(name, &mut below, patch)?;
                value.insert(name.clone(), Value::Array(below));
            }
            (patch, _) => {
                value.insert(name.clone(), patch.clone());
            }
        }
    }
    Ok(())
}

/// By which field a patch finds the items of a list; of several keys only the first counts.
fn list(name: &str, value: &mut Vec<Value>, patch: &[Value]) -> Result<(), String> {
    let replaced = patch.iter().any(|one| one.get("$patch").is_some_and(|how| how == "replace"));
    if replaced {
        value.clear();
    }
    let key = match items(name, true, patch) {
        Items::Keys([key, ..]) => *key,
        Items::Values => {
            let new: Vec<_> = patch.iter().filter(|one| !value.contains(one)).cloned().collect();
            value.extend(new);
            return Ok(());
        }
        _ => {
            *value = patch.iter().filter(|one| one.get("$patch").is_none()).cloned().collect();
            return Ok(());
        }
    };
    for item in patch {
        let Value::Object(item) = item else { return Err(format!("{name}: its items must be objects")) };
        if item.get("$patch").is_some_and(|how| how == "replace") {
            continue;
        }
        let wanted = item
            .get(key)
            .ok_or_else(|| format!("map: {item:?} does not contain declared merge key: {key}"))?;
        let at = value.iter().position(|one| one.get(key) == Some(wanted));
        if item.get("$patch").is_some_and(|how| how == "delete") {
            if let Some(at) = at {
                value.remove(at);
            }
            continue;
        }
        match at.map(|at| &mut value[at]) {
            Some(Value::Object(below)) => object(below, item)?,
            _ => {
                let mut below = Map::new();
                object(&mut below, item)?;
                value.push(Value::Object(below));
            }
        }
    }
    Ok(())
}
