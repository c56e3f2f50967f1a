//! Who owns which fields: `metadata.managedFields`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    fields::{self, Set},
    object::{Object, metadata},
    request::Request,
    resource::Resource,
};

/// What one manager owns.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) applied: bool,
    pub(super) version: String,
    pub(super) subresource: String,
    pub(super) time: Value,
    pub(super) set: Set,
}

/// Who owns what of an object.
pub(super) fn read(value: &Value) -> Vec<Entry> {
    let entries = value["metadata"]["managedFields"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| Entry {
            manager: text(&entry["manager"]),
            applied: entry["operation"] == "Apply",
            version: text(&entry["apiVersion"]),
            subresource: text(&entry["subresource"]),
            time: entry["time"].clone(),
            set: Set::parse(&entry["fieldsV1"]),
        })
        .collect()
}

pub(super) fn write(value: &mut Value, entries: &[Entry]) {
    let entries: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.set.is_empty())
        .map(|entry| {
            let mut json = json!({
                "manager": entry.manager, "operation": if entry.applied { "Apply" } else { "Update" },
                "apiVersion": entry.version, "time": entry.time, "fieldsType": "FieldsV1", "fieldsV1": entry.set.json(),
            });
            if !entry.subresource.is_empty() {
                json["subresource"] = entry.subresource.as_str().into();
            }
            json
        })
        .collect();
    if entries.is_empty() {
        metadata(value).shift_remove("managedFields");
    } else {
        metadata(value).insert("managedFields".to_owned(), Value::Array(entries));
    }
}

/// Which part of an object a request writes: the status alone, or all but that.
pub(super) fn part(request: &Request, resource: &Resource) -> Option<bool> {
    resource.status.then(|| request.subresource.as_deref() == Some("status"))
}

impl Entry {
    pub(super) fn new(request: &Request, resource: &Resource, applied: bool, now: &str) -> Self {
        Self {
            manager: request.manager().to_owned(),
            applied,
            version: resource.api_version(&request.version),
            subresource: request.subresource.clone().unwrap_or_default(),
            time: now.into(),
            set: Set::default(),
        }
    }

    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.manager, self.applied, &self.subresource)
            == (&other.manager, other.applied, &other.subresource)
    }
}

/// A write that was no apply: what it changed is its manager's now.
pub(super) fn updated(
    value: &mut Value,
    before: Option<&Arc<Object>>,
    request: &Request,
    resource: &Resource,
    now: &str,
) {
    let new = Set::of(value, resource.builtin, part(request, resource));
    let mut own = Entry::new(request, resource, false, now);
    let Some(before) = before else {
        own.set = new;
        return write(value, &[own]);
    };
    // Clients may clear the list, and then nobody owns anything.
    let cleared = value["metadata"]["managedFields"].as_array().is_some_and(Vec::is_empty);
    let mut entries = if cleared { Vec::new() } else { read(&before.value) };
    let changed = |path: &Vec<String>| fields::get(value, path) != fields::get(&before.value, path);
    let changes: Vec<_> = new.leaves().into_iter().filter(|path| changed(path)).collect();
    for entry in &mut entries {
        for path in entry.set.leaves().into_iter().filter(|path| changed(path)) {
            if !entry.is_of(&own) || fields::get(value, &path).is_none() {
                entry.set.remove(&path);
            }
        }
    }
    if !changes.is_empty() {
        let at = entries.iter().position(|entry| entry.is_of(&own));
        let mut mine = at.map_or_else(|| own.clone(), |at| entries.remove(at));
        changes.iter().for_each(|path| mine.set.insert(path));
        mine.time = own.time.take();
        entries.push(mine);
    }
    write(value, &entries);
}
