//! What the kind `handler` adds to a function.

use runtime_core::{
    Error, Function, Result,
    serde_json::{Map, Value},
};
use serde::{Deserialize, Serialize};

/// What the kind `handler` adds to a function's `spec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandlerConfig {
    /// Python only: all runs on one worker, one after the other. Faster than a fork for each, but what a run leaves
    /// in memory, the next one finds.
    pub reuse: bool,
}

impl HandlerConfig {
    /// The fields, as they stand in `spec`.
    pub const FIELDS: &'static [&'static str] = &["reuse"];

    /// Reads it.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn of(function: &Function) -> Result<Self> {
        let own: Map<String, Value> = function
            .spec
            .extra
            .iter()
            .filter(|(key, value)| Self::FIELDS.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Self::deserialize(&Value::Object(own))
            .map_err(|error| Error::invalid("spec.reuse", error.to_string()))
    }
}
