//! Sets of fields, as `managedFields` has them, and what lists and maps are made of.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A set of fields: each is in it, or has some below it that are, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    own: bool,
    below: BTreeMap<String, Set>,
}

/// The way to a field: `f:spec`, `f:containers`, `k:{"name":"main"}`.
pub(super) type Path = Vec<String>;

/// How the items of a list are told apart.
pub(super) enum Items {
    /// Not at all: the list is one value.
    Atomic,
    /// By their values.
    Values,
    /// By these fields.
    Keys(&'static [&'static str]),
}

/// Maps that are one value.
const ATOMIC: [&str; 8] = [
    "nodeSelector",
    "selector",
    "secretKeyRef",
    "configMapKeyRef",
    "fieldRef",
    "resourceFieldRef",
    "secretRef",
    "scopeSelector",
];

/// How a list's items are told apart. Of custom resources only the metadata is known.
pub(super) fn items(field: &str, builtin: bool, list: &[Value]) -> Items {
    let has = |name: &str| list.iter().any(|one| one.get(name).is_some());
    match field {
        "finalizers" => Items::Values,
        "ownerReferences" => Items::Keys(&["uid"]),
        _ if !builtin => Items::Atomic,
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets"
        | "resourceClaims" => Items::Keys(&["name"]),
        "volumeMounts" => Items::Keys(&["mountPath"]),
        "volumeDevices" => Items::Keys(&["devicePath"]),
        "hostAliases" | "podIPs" => Items::Keys(&["ip"]),
        "conditions" => Items::Keys(&["type"]),
        "topologySpreadConstraints" => Items::Keys(&["topologyKey", "whenUnsatisfiable"]),
        "ports" if has("containerPort") => Items::Keys(&["containerPort", "protocol"]),
        "ports" if has("port") => Items::Keys(&["port", "protocol"]),
        _ => Items::Atomic,
    }
}

/// The name of an item in a set.
pub(super) fn key(item: &Value, keys: &[&str]) -> String {
    let value = |name: &&str| match item.get(*name) {
        Some(value) => value.clone(),
        None if *name == "protocol" => json!("TCP"),
        None => Value::Null,
    };
    let fields: Map<_, _> = keys.iter().map(|name| ((*name).to_owned(), value(name))).collect();
    format!("k:{}", Value::Object(fields))
}

impl Set {
    /// All fields of an object that can be owned: of its status alone, or of all but that where it has one of its own.
    pub(super) fn of(value: &Value, builtin: bool, status: Option<bool>) -> Self {
        let mut set = Self::default();
        let present = |(_, value): &(&String, &Value)| !value.is_null();
        for (name, value) in value.as_object().into_iter().flatten().filter(present) {
            let wanted = match name.as_str() {
                "apiVersion" | "kind" => false,
                "status" => status != Some(false),
                _ => status != Some(true),
            };
            if wanted && name != "metadata" {
                set.below.insert(format!("f:{name}"), Self::from(name, value, builtin));
            } else if wanted {
                let mut below = Self::from(name, value, builtin);
                below.own = false;
                const SERVERS: [&str; 10] = [
                    "name",
                    "namespace",
                    "uid",
                    "resourceVersion",
                    "generation",
                    "creationTimestamp",
                    "managedFields",
                    "selfLink",
                    "deletionTimestamp",
                    "deletionGracePeriodSeconds",
                ];
                below.below.retain(|name, _| !SERVERS.iter().any(|servers| name[2..] == **servers));
                if !below.below.is_empty() {
                    set.below.insert("f:metadata".to_owned(), below);
                }
            }
        }
        set
    }

    fn from(field: &str, value: &Value, builtin: bool) -> Self {
        let mut set = Self::default();
        match value {
            Value::Object(map) if !ATOMIC.contains(&field) || map.contains_key("clusterIP") => {
                for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                    set.below.insert(format!("f:{name}"), Self::from(name, value, builtin));
                }
            }
            Value::Array(list) => match items(field, builtin, list) {
                Items::Atomic => {}
                Items::Values => {
                    set.below.extend(
                        list.iter().map(|one| (format!("v:{one}"), Self { own: true, ..Self::default() })),
                    );
                }
                Items::Keys(keys) => {
                    // An owner is one value.
                    let whole = field == "ownerReferences";
                    set.below.extend(list.iter().map(|one| {
                        let below = if whole { Self::default() } else { Self::from("", one, builtin) };
                        (key(one, keys), Self { own: true, ..below })
                    }));
                }
            },
            _ => {}
        }
        set.own = set.below.is_empty();
        set
    }

    pub(super) fn parse(value: &Value) -> Self {
        let mut set = Self::default();
        for (name, value) in value.as_object().into_iter().flatten() {
            if name == "." {
                set.own = true;
            } else {
                set.below.insert(name.clone(), Self::parse(value));
            }
        }
        // What has nothing below it is meant itself.
        set.own |= set.below.is_empty();
        set
    }

    pub(super) fn json(&self) -> Value {
        let mut map = Map::new();
        if self.own && !self.below.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (name, below) in &self.below {
            map.insert(name.clone(), below.json());
        }
        Value::Object(map)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.below.is_empty()
    }

    /// The fields below which there is nothing.
    pub(super) fn leaves(&self) -> Vec<Path> {
        let mut all = Vec::new();
        self.collect(&mut Vec::new(), &mut all);
        all
    }

    fn collect(&self, path: &mut Path, all: &mut Vec<Path>) {
        for (name, below) in &self.below {
            path.push(name.clone());
            if below.below.is_empty() {
                all.push(path.clone());
            }
            below.collect(path, all);
            path.pop();
        }
    }

    pub(super) fn contains(&self, path: &[String]) -> bool {
        match path {
            [] => self.own || !self.below.is_empty(),
            [name, rest @ ..] => self.below.get(name).is_some_and(|below| below.contains(rest)),
        }
    }

    pub(super) fn insert(&mut self, path: &[String]) {
        match path {
            [] => self.own = true,
            [name, rest @ ..] => {
                let below = self.below.entry(name.clone()).or_default();
                // Who owns a field of an item owns the item.
                below.own |= name.starts_with("k:");
                below.insert(rest);
            }
        }
    }

    /// Takes a field out, and what has nothing left below it.
    pub(super) fn remove(&mut self, path: &[String]) {
        let [name, rest @ ..] = path else { return };
        if rest.is_empty() {
            self.below.remove(name);
        } else if let Some(below) = self.below.get_mut(name) {
            below.remove(rest);
            if below.below.is_empty() && !below.own {
                self.below.remove(name);
            }
        }
    }
}

/// The value at a path.
pub(super) fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let [name, rest @ ..] = path else { return Some(value) };
    get(step(value, name)?, rest)
}

fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match name.split_at_checked(2)? {
        ("f:", field) => value.get(field),
        (kind, _) => value.as_array()?.iter().find(|item| fits(item, kind, name)),
    }
}

/// Whether an item is the one that a path names.
fn fits(item: &Value, kind: &str, name: &str) -> bool {
    let wanted = &name[2..];
    if kind == "v:" {
        return serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *item);
    }
    let Ok(Value::Object(keys)) = serde_json::from_str(wanted) else { return false };
    keys.iter().all(|(field, value)| match item.get(field) {
        Some(own) => own == value,
        None => value.is_null() || (field == "protocol" && value == "TCP"),
    })
}

/// Removes the value at a path, and lists and maps that are empty then.
pub(super) fn remove(value: &mut Value, path: &[String]) {
    let [name, rest @ ..] = path else { return };
    match (value, name.split_at_checked(2)) {
        (Value::Object(map), Some(("f:", field))) => {
            if rest.is_empty() {
                map.shift_remove(field);
            } else if let Some(below) = map.get_mut(field) {
                remove(below, rest);
                let empty = below.as_array().is_some_and(Vec::is_empty)
                    || below.as_object().is_some_and(Map::is_empty);
                if empty && field != "metadata" && field != "spec" {
                    map.shift_remove(field);
                }
            }
        }
        (Value::Array(list), Some((kind, _))) => {
            if rest.is_empty() {
                list.retain(|item| !fits(item, kind, name));
            } else if let Some(item) = list.iter_mut().find(|item| fits(item, kind, name)) {
                remove(item, rest);
            }
        }
        _ => {}
    }
}

/// Lays applied fields over an object.
pub(super) fn merge(live: &mut Value, applied: &Value, field: &str, builtin: bool) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !ATOMIC.contains(&field) => {
            for (name, value) in applied.iter().filter(|(_, value)| !value.is_null()) {
                match live.get_mut(name) {
                    Some(old) => merge(old, value, name, builtin),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) => match items(field, builtin, applied) {
            Items::Atomic => live.clone_from(applied),
            Items::Values => {
                let new: Vec<_> = applied.iter().filter(|one| !live.contains(one)).cloned().collect();
                live.extend(new);
            }
            Items::Keys(keys) => {
                for item in applied {
                    let wanted = key(item, keys);
                    match live.iter_mut().find(|one| key(one, keys) == wanted) {
                        Some(old) => merge(old, item, "", builtin),
                        None => live.push(item.clone()),
                    }
                }
            }
        },
        (live, applied) => live.clone_from(applied),
    }
}
