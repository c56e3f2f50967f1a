//! Who owns which fields.
use std::sync::Arc;

use serde_json::Value;

use super::{object::Object, request::Request, resource::Resource};

pub(super) fn updated(_: &mut Value, _: Option<&Arc<Object>>, _: &Request, _: &Resource, _: &str) {}
