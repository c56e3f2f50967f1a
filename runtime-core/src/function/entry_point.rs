//! What a function's handlers look like from outside.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::fields::{Field, without_nulls};

/// A handler, as it is documented in a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryPoint {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Its parameters, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// What it returns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Parameter>,
    /// The line of the code on which it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineno: Option<i64>,
    /// Whether it takes any number of positional arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_varargs: Option<bool>,
    /// Whether it takes any named arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_kwargs: Option<bool>,
}

/// A parameter or an output of a handler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its type, as the code writes it.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// Its default: `Some(Null)` is a default of `None`, `None` is none at all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub default: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub doc: String,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Field for BTreeMap<String, EntryPoint> {
    fn prepare(value: &Value) -> Cow<'_, Value> {
        without_nulls(value, &["default"])
    }
}
