//! Objects as they are kept: never changed, shared by whoever reads them.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

/// One state of an object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) version: u64,
    text: OnceLock<Bytes>,
}

/// Namespace (empty where there is none) and name.
pub(super) type Key = (String, String);

impl Object {
    /// `metadata.resourceVersion` becomes the version.
    pub(super) fn new(mut value: Value, version: u64) -> Self {
        metadata(&mut value).insert("resourceVersion".to_owned(), version.to_string().into());
        Self::tried(value, version)
    }

    /// One that is not kept, and has no version of its own.
    pub(super) fn tried(mut value: Value, version: u64) -> Self {
        // Texts begin alike, so that lists can leave out what all of their items have.
        if let Value::Object(fields) = &mut value {
            for name in ["kind", "apiVersion"] {
                if let Some(own) = fields.shift_remove(name) {
                    fields.shift_insert(0, name.to_owned(), own);
                }
            }
        }
        Self { value, version, text: OnceLock::new() }
    }

    /// As JSON text, made once.
    pub(super) fn text(&self) -> &Bytes {
        self.text.get_or_init(|| Bytes::from(self.value.to_string()))
    }

    pub(super) fn meta(&self, field: &str) -> Option<&Value> {
        self.value.get("metadata")?.get(field)
    }

    pub(super) fn meta_str(&self, field: &str) -> &str {
        self.meta(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.meta_str("name")
    }

    pub(super) fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }

    pub(super) fn uid(&self) -> &str {
        self.meta_str("uid")
    }

    pub(super) fn key(&self) -> Key {
        (self.namespace().to_owned(), self.name().to_owned())
    }

    pub(super) fn being_deleted(&self) -> bool {
        self.meta("deletionTimestamp").is_some()
    }

    pub(super) fn owners(&self) -> &[Value] {
        self.meta("ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// It as the owner of what it controls.
    pub(super) fn as_owner(&self) -> Value {
        let of = |name| self.value.get(name).cloned().unwrap_or_default();
        json!({"apiVersion": of("apiVersion"), "kind": of("kind"), "name": self.name(), "uid": self.uid(),
            "controller": true, "blockOwnerDeletion": true})
    }

    pub(super) fn finalizers(&self) -> Vec<&str> {
        let all = self.meta("finalizers").and_then(Value::as_array);
        all.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A value by its JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    pub(super) fn str_at(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The part that a reader of metadata wants.
    pub(super) fn partial(&self) -> Value {
        let metadata = self.value.get("metadata").cloned().unwrap_or_default();
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Added,
    Modified,
    Deleted,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change of an object, as all watches see it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) what: What,
    pub(super) object: Arc<Object>,
    /// What it was before.
    pub(super) before: Option<Arc<Object>>,
    line: OnceLock<Bytes>,
}

impl Event {
    pub(super) fn new(what: What, object: Arc<Object>, before: Option<Arc<Object>>) -> Self {
        Self { what, object, before, line: OnceLock::new() }
    }

    /// The line that most watches are sent, made once.
    pub(super) fn line(&self) -> Bytes {
        self.line.get_or_init(|| line(self.what.as_str(), self.object.text())).clone()
    }
}

/// A line of a watch.
pub(super) fn line(what: &str, object: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(object.len() + 40);
    text.put_slice(b"{\"type\":\"");
    text.put_slice(what.as_bytes());
    text.put_slice(b"\",\"object\":");
    text.put_slice(object);
    text.put_slice(b"}\n");
    text.freeze()
}

/// An object's metadata, made where it has none.
pub(super) fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    part(value, "metadata")
}

/// A part of an object that is itself one, made where it is something else.
pub(super) fn part<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    map(map(value).entry(name).or_insert_with(|| json!({})))
}

/// A value as a map, made one where it is something else.
pub(super) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        // It was made one just now.
        _ => unreachable!("a map"),
    }
}
