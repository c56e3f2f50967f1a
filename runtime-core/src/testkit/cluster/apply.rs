//! Server-side apply.

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    fields::{self, Set},
    managed::{self, Entry},
    object::{Object, map, metadata},
    status::{Cause, Refusal},
};

impl Call<'_> {
    pub(super) fn apply(&mut self, status: bool) -> Result<Answer, Refusal> {
        let applied = self.applied()?;
        if self.request.query.get("fieldManager").is_none() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[cause]));
        }
        let mut own = Entry::new(self.request, &self.resource, true, &self.world.clock.stamp());
        own.set = Set::of(&applied, self.resource.builtin, managed::part(self.request, &self.resource));
        let Some(before) = self.world.tables[self.id].objects.get(&self.key()).cloned() else {
            if status {
                return Err(self.not_found());
            }
            self.check_namespace()?;
            if applied["metadata"]["uid"].is_string() {
                return Err(self.conflict(
                    "uid mismatch: the provided object specified a uid, and no existing object was found",
                ));
            }
            let mut value = self.normalize(applied)?;
            managed::write(&mut value, &[own]);
            return self.create_value(value, true).map(|object| Answer::Object(201, object));
        };
        let value = self.merged(&before, &applied, own)?;
        let value = self.normalize(value)?;
        self.replace(&before, value, status, true).map(|object| Answer::Object(200, object))
    }

    /// What is applied: YAML or JSON, with kind and version.
    fn applied(&self) -> Result<Value, Refusal> {
        let text = String::from_utf8_lossy(&self.request.body);
        let read = serde_json::from_str(&text).or_else(|_| crate::yaml::read(&text, "the patch"));
        let value: Value =
            read.map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")))?;
        for field in ["apiVersion", "kind"] {
            if value[field].as_str().is_none_or(str::is_empty) {
                let message = format!("invalid object type: Object '{field}' is missing");
                return Err(Refusal::bad_request(message));
            }
        }
        if !value["metadata"]["managedFields"].is_null() {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        Ok(value)
    }

    /// The object with what is applied, and without what its manager applied before and does not any more.
    fn merged(&self, before: &Object, applied: &Value, own: Entry) -> Result<Value, Refusal> {
        let builtin = self.resource.builtin;
        let mut entries = managed::read(&before.value);
        if entries.is_empty() {
            // What was there before anybody applied anything.
            let mut first = own.clone();
            "before-first-apply".clone_into(&mut first.manager);
            first.applied = false;
            first.set = Set::of(&before.value, builtin, managed::part(self.request, &self.resource));
            entries.push(first);
        }
        let mine = entries.iter().position(|entry| entry.is_of(&own)).map(|at| entries.remove(at));
        let mut value = before.value.clone();
        let mut lay = applied.clone();
        if let Some(condition) = metadata(&mut lay).shift_remove("resourceVersion") {
            metadata(&mut value).insert("resourceVersion".to_owned(), condition);
        } else {
            metadata(&mut value).shift_remove("resourceVersion");
        }
        // The address says in which version it comes.
        let version = self.resource.api_version(&self.request.version);
        map(&mut value).insert("apiVersion".to_owned(), version.into());
        fields::merge(&mut value, &lay, "", builtin);
        self.resolve(before, &value, &own, &mut entries)?;
        for item in mine.iter().flat_map(|mine| gone_items(&mine.set, &own.set)) {
            if !entries.iter().any(|entry| entry.set.contains(&item)) {
                fields::remove(&mut value, &item);
            }
        }
        for path in mine.iter().flat_map(|mine| mine.set.leaves()) {
            if !own.set.contains(&path) && !entries.iter().any(|entry| entry.set.contains(&path)) {
                fields::remove(&mut value, &path);
            }
        }
        let unchanged = mine.as_ref().is_some_and(|mine| mine.set == own.set);
        let time = mine.filter(|_| unchanged).map(|mine| mine.time);
        let own = Entry { time: time.unwrap_or_else(|| own.time.clone()), ..own };
        entries.push(own);
        managed::write(&mut value, &entries);
        Ok(value)
    }

    /// Refuses, or takes from others by force, what others own and is to be something else.
    fn resolve(
        &self,
        before: &Object,
        after: &Value,
        own: &Entry,
        entries: &mut [Entry],
    ) -> Result<(), Refusal> {
        let mut causes = Vec::new();
        let mut said = Vec::new();
        let leaves = own.set.leaves();
        for entry in entries.iter_mut() {
            let differs = |path: &&Vec<String>| {
                entry.set.contains(path) && fields::get(after, path) != fields::get(&before.value, path)
            };
            let conflicts: Vec<_> = leaves.iter().filter(differs).collect();
            if self.request.query.flag("force") {
                conflicts.iter().for_each(|path| entry.set.remove(path));
                continue;
            }
            if conflicts.is_empty() {
                continue;
            }
            let mut who = format!("conflict with {:?}", entry.manager);
            if !entry.applied {
                if !entry.subresource.is_empty() {
                    who.push_str(&format!(" with subresource {:?}", entry.subresource));
                }
                who.push_str(&format!(" using {}", entry.version));
            }
            let names: Vec<_> = conflicts.iter().map(|path| shown(path)).collect();
            causes.extend(
                names
                    .iter()
                    .map(|name| json!({"reason": "FieldManagerConflict", "message": who, "field": name})),
            );
            said.push(match names.as_slice() {
                [name] => format!("{who}: {name}"),
                names => format!("{}:\n- {}", who.replacen("conflict", "conflicts", 1), names.join("\n- ")),
            });
        }
        if causes.is_empty() {
            return Ok(());
        }
        let count =
            if causes.len() == 1 { "1 conflict".to_owned() } else { format!("{} conflicts", causes.len()) };
        let message = format!("Apply failed with {count}: {}", said.join("\n"));
        Err(Refusal::new(409, "Conflict", message).with_causes(causes))
    }
}

/// Items of lists that were applied and are not any more.
fn gone_items(before: &Set, now: &Set) -> Vec<fields::Path> {
    let mut items: Vec<fields::Path> = Vec::new();
    for path in before.leaves() {
        for (at, name) in path.iter().enumerate() {
            let item = &path[..=at];
            if name.starts_with("k:") && !now.contains(item) && !items.iter().any(|known| known == item) {
                items.push(item.to_vec());
            }
        }
    }
    items
}

/// A path as messages show it: `.spec.containers[name="main"].image`.
fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for name in path {
        match name.split_at_checked(2) {
            Some(("f:", field)) => text.push_str(&format!(".{field}")),
            Some(("k:", keys)) => {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<_> = keys
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                text.push_str(&format!("[{}]", keys.join(",")));
            }
            Some((_, value)) => text.push_str(&format!("[={value}]")),
            None => {}
        }
    }
    text
}
