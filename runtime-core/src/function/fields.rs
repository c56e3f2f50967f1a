//! How typed fields are read from a document and written to one: each by itself, so that every error has a path.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, Result, yaml};

/// A value that a field may hold.
pub(crate) trait Field: Default + PartialEq + Serialize + DeserializeOwned {
    /// Brings what users write into the form that the type reads.
    fn prepare(value: &Value) -> Cow<'_, Value> {
        Cow::Borrowed(value)
    }

    /// Reads it; an error has the path of what is wrong.
    fn read(value: &Value, path: &str) -> Result<Self> {
        yaml::from_value(&Self::prepare(value), path)
    }

    /// Whether it is equal to another.
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    /// Whether it has its default.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Most texts of a function are empty. To compare these as bytes can cost a hundred times as much as to see that they
/// are: an empty text has no address that a vector instruction could read.
impl Field for String {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && (self.is_empty() || self == other)
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }
}
impl Field for Option<i32> {}
impl Field for Map<String, Value> {}

impl Field for bool {
    /// The words of YAML 1.1, which MLRun's files may have.
    fn prepare(value: &Value) -> Cow<'_, Value> {
        match value.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("yes" | "on" | "true") => Cow::Owned(Value::Bool(true)),
            Some("no" | "off" | "false") => Cow::Owned(Value::Bool(false)),
            _ => Cow::Borrowed(value),
        }
    }
}

impl Field for Vec<String> {
    /// Numbers are arguments too.
    fn prepare(value: &Value) -> Cow<'_, Value> {
        match value {
            Value::Array(items) if items.iter().any(is_scalar) => {
                Cow::Owned(Value::Array(items.iter().map(to_text).collect()))
            }
            _ => Cow::Borrowed(value),
        }
    }
}

impl Field for BTreeMap<String, String> {
    fn prepare(value: &Value) -> Cow<'_, Value> {
        match value {
            Value::Object(map) if map.values().any(|value| is_scalar(value) || value.is_null()) => {
                let known = map.iter().filter(|(_, value)| !value.is_null());
                Cow::Owned(Value::Object(known.map(|(key, value)| (key.clone(), to_text(value))).collect()))
            }
            _ => Cow::Borrowed(value),
        }
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Number(_) | Value::Bool(_))
}

fn to_text(value: &Value) -> Value {
    if is_scalar(value) { Value::String(value.to_string()) } else { value.clone() }
}

/// Implements [`Field`] for types of Kubernetes, where null is the same as nothing.
macro_rules! object_fields {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::function::fields::Field for $type {
            fn prepare(value: &serde_json::Value) -> std::borrow::Cow<'_, serde_json::Value> {
                $crate::function::fields::without_nulls(value, &[])
            }
        }
    )*};
}
pub(crate) use object_fields;

/// The value without nulls in mappings, at any depth; but for these keys, whose null means something.
pub(crate) fn without_nulls<'a>(value: &'a Value, keep: &[&str]) -> Cow<'a, Value> {
    if has_nulls(value, keep) { Cow::Owned(prune(value, keep)) } else { Cow::Borrowed(value) }
}

fn has_nulls(value: &Value, keep: &[&str]) -> bool {
    match value {
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| !keep.contains(&key.as_str()) && (value.is_null() || has_nulls(value, keep))),
        Value::Array(items) => items.iter().any(|item| has_nulls(item, keep)),
        _ => false,
    }
}

fn prune(value: &Value, keep: &[&str]) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !value.is_null() || keep.contains(&key.as_str()))
            .map(|(key, value)| {
                (key.clone(), if keep.contains(&key.as_str()) { value.clone() } else { prune(value, keep) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| prune(item, keep)).collect(),
        _ => value.clone(),
    }
}

/// One mapping of a document while its fields are taken.
pub(crate) struct Fields<'a> {
    map: Option<&'a Map<String, Value>>,
    path: String,
    taken: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The mapping at a path; null is an empty one.
    pub(crate) fn new(value: Option<&'a Value>, path: &str) -> Result<Self> {
        let map = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(map),
            Some(other) => {
                let found = yaml::kind_of(other);
                return Err(Error::invalid(path, format!("expected a mapping, found {found}")));
            }
        };
        Ok(Self { map, path: path.to_owned(), taken: Vec::new() })
    }

    /// A mapping in this one.
    pub(crate) fn inner(&mut self, key: &'static str) -> Result<Fields<'a>> {
        self.taken.push(key);
        Fields::new(self.map.and_then(|map| map.get(key)), &yaml::join(&self.path, key))
    }

    /// A field; null is its default.
    pub(crate) fn take<T: Field>(&mut self, key: &'static str) -> Result<T> {
        self.taken.push(key);
        match self.map.and_then(|map| map.get(key)) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => T::read(value, &yaml::join(&self.path, key)),
        }
    }

    /// The fields that nobody took, without those that are null.
    pub(crate) fn rest(self) -> Map<String, Value> {
        let Some(map) = self.map else { return Map::new() };
        map.iter()
            .filter(|(key, value)| !value.is_null() && !self.taken.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Writes a field, unless it has its default.
pub(crate) fn put<T: Field>(to: &mut Map<String, Value>, key: &str, field: &T) {
    if !field.is_default() {
        to.insert(key.to_owned(), value_of(field));
    }
}

/// Writes fields that have no type here, without those that are the same in `but`.
pub(crate) fn put_extra(
    to: &mut Map<String, Value>,
    extra: &Map<String, Value>,
    but: Option<&Map<String, Value>>,
) {
    for (key, value) in extra {
        if but.and_then(|but| but.get(key)) != Some(value) {
            to.insert(key.clone(), value.clone());
        }
    }
}

/// A field's value. Fields are texts, numbers, lists and mappings with text keys: writing them cannot fail.
pub(crate) fn value_of<T: Field>(field: &T) -> Value {
    serde_json::to_value(field).unwrap_or_default()
}

/// Defines a part of a function: its typed fields with their names on the wire, and what is not a field of its own.
macro_rules! fields {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident: $type:ty = $wire:literal,)*
        }
        $(and { $($(#[$other_doc:meta])* $other:ident: $other_type:ty,)* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $($($(#[$other_doc])* pub $other: $other_type,)*)?
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                $($crate::function::fields::Field::same(&self.$field, &other.$field) &&)*
                $($(self.$other == other.$other &&)*)? true
            }
        }

        impl $name {
            /// The names of its fields, as they are written.
            pub const FIELDS: &'static [&'static str] = &[$($wire),*];

            #[allow(clippy::needless_update, reason = "not every part has more than its fields")]
            fn take(from: &mut $crate::function::fields::Fields<'_>) -> $crate::Result<Self> {
                Ok(Self { $($field: from.take($wire)?,)* ..Self::default() })
            }

            /// Writes its fields, without those that are the same in `but`.
            fn put(&self, to: &mut serde_json::Map<String, serde_json::Value>, but: Option<&Self>) {
                $(if but.is_none_or(|but| !$crate::function::fields::Field::same(&but.$field, &self.$field)) {
                    $crate::function::fields::put(to, $wire, &self.$field);
                })*
            }
        }
    };
}
pub(crate) use fields;
