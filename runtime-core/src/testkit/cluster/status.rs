//! Refusals, in the form in which an API server sends them.

use serde_json::{Map, Value, json};

/// What a request got instead of what it wanted: a `Status` of Kubernetes.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) details: Box<Map<String, Value>>,
    pub(super) retry_after: Option<u64>,
}

/// One field of an object that cannot be accepted.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) reason: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

impl Cause {
    pub(super) fn invalid(field: impl Into<String>, value: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Invalid value: {value:?}: {why}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    pub(super) fn wrong_number(field: impl Into<String>, value: i64, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    pub(super) fn required(field: impl Into<String>, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub(super) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }

    pub(super) fn unsupported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", supported.join(", "));
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }

    pub(super) fn duplicate(field: impl Into<String>, value: &str) -> Self {
        let message = format!("Duplicate value: {value:?}");
        Self { reason: "FieldValueDuplicate", field: field.into(), message }
    }

    fn json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl Refusal {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default(), retry_after: None }
    }

    fn about(mut self, name: &str, kind: &str, group: &str) -> Self {
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                self.details.insert(key.to_owned(), value.into());
            }
        }
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(group, plural));
        Self::new(404, "NotFound", message).about(name, plural, group)
    }

    /// No such path.
    pub(super) fn unknown() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(super) fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(group, plural));
        Self::new(409, "AlreadyExists", message).about(name, plural, group)
    }

    pub(super) fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(group, plural));
        Self::new(409, "Conflict", message).about(name, plural, group)
    }

    pub(super) fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, plural);
        let message = match name {
            "" => format!("{what} is forbidden: {why}"),
            name => format!("{what} {name:?} is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(name, plural, group)
    }

    pub(super) fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let said: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let said = if said.len() == 1 { said.concat() } else { format!("[{}]", said.join(", ")) };
        let message = format!("{} {name:?} is invalid: {said}", qualified(group, kind));
        let mut refusal = Self::new(422, "Invalid", message).about(name, kind, group);
        let causes = causes.iter().map(Cause::json).collect();
        refusal.details.insert("causes".to_owned(), Value::Array(causes));
        refusal
    }

    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(super) fn too_many(seconds: u64, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(429, "TooManyRequests", message);
        refusal.details.insert("retryAfterSeconds".to_owned(), seconds.into());
        refusal.retry_after = Some(seconds);
        refusal
    }

    pub(super) fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.details.insert("causes".to_owned(), Value::Array(causes));
        self
    }

    /// As the body of an answer, or as the object of an `ERROR` event.
    pub(super) fn json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_empty() {
            status["details"] = Value::Object((*self.details).clone());
        }
        status
    }
}

/// `jobs.batch`, `pods`.
pub(super) fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
