//! One request to a resource, and its answer.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{
    object::{Key, Object, map},
    request::Request,
    resource::Resource,
    schema,
    service::Body,
    status::Refusal,
    world::{NAMESPACES, TableId, World},
};

/// A request, and what it is about.
pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) request: &'a Request,
    pub(super) id: TableId,
    pub(super) resource: Arc<Resource>,
    pub(super) warnings: Vec<String>,
}

/// What a request gets.
pub(super) enum Answer {
    Object(u16, Arc<Object>),
    Value(u16, Value),
    Text(Bytes),
    /// There is nothing to say.
    Empty,
    /// A list, which is JSON text by now.
    Json(Bytes),
    Stream(&'static str, Body),
}

/// Objects may not be larger, as etcd has it.
const LARGEST: usize = 1_572_864;

impl Call<'_> {
    pub(super) fn answer(&mut self) -> Result<Answer, Refusal> {
        if self.resource.namespaced && self.request.namespace.is_none() && self.request.name.is_some() {
            return Err(Refusal::unknown());
        }
        if self.request.body.len() > 2 * LARGEST {
            let message = format!("Request entity too large: limit is {}", 2 * LARGEST);
            return Err(Refusal::new(413, "RequestEntityTooLarge", message));
        }
        match (self.request.verb, self.request.subresource.as_deref()) {
            (verb, Some("status")) if self.resource.status => match verb {
                "get" => self.get(),
                "update" => self.update(true),
                "patch" => self.patch(true),
                _ => Err(Refusal::unknown()),
            },
            ("get", Some("log")) if self.resource.is_pod() => self.log(),
            ("create", Some("eviction")) if self.resource.is_pod() => self.evict(),
            ("create", Some("binding")) if self.resource.is_pod() => self.bind(),
            (_, Some(_)) => Err(Refusal::unknown()),
            ("get", None) => self.get(),
            ("list", None) => self.list(),
            ("watch", None) => self.watch(),
            ("create", None) if self.request.name.is_none() => self.create(),
            ("update", None) => self.update(false),
            ("patch", None) => self.patch(false),
            ("delete", None) => self.delete(),
            ("deletecollection", None) => self.delete_all(),
            _ => {
                let message = "the server does not allow this method on the requested resource";
                Err(Refusal::new(405, "MethodNotAllowed", message))
            }
        }
    }

    /// Where the object is that the request names.
    pub(super) fn key(&self) -> Key {
        let namespace = self.request.namespace.clone().unwrap_or_default();
        (namespace, self.request.name.clone().unwrap_or_default())
    }

    pub(super) fn found(&self) -> Result<Arc<Object>, Refusal> {
        let found = self.world.tables[self.id].objects.get(&self.key()).cloned();
        found.ok_or_else(|| self.not_found())
    }

    pub(super) fn not_found(&self) -> Refusal {
        let name = self.request.name.as_deref().unwrap_or_default();
        Refusal::not_found(&self.resource.group, &self.resource.plural, name)
    }

    pub(super) fn conflict(&self, why: &str) -> Refusal {
        let name = self.request.name.as_deref().unwrap_or_default();
        Refusal::conflict(&self.resource.group, &self.resource.plural, name, why)
    }

    fn get(&self) -> Result<Answer, Refusal> {
        Ok(Answer::Object(200, self.found()?))
    }

    /// The namespace of new objects must be there, and stay.
    pub(super) fn check_namespace(&self) -> Result<(), Refusal> {
        let Some(namespace) = self.request.namespace.as_deref().filter(|_| self.resource.namespaced) else {
            return if self.resource.namespaced {
                Err(Refusal::bad_request("an empty namespace may not be set during creation"))
            } else {
                Ok(())
            };
        };
        let found = self.world.object(NAMESPACES, &(String::new(), namespace.to_owned()));
        let found = found.ok_or_else(|| Refusal::not_found("", "namespaces", namespace))?;
        if found.being_deleted() {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let cause = serde_json::json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {namespace} is being terminated")});
            let (group, plural) = (&self.resource.group, &self.resource.plural);
            return Err(Refusal::forbidden(group, plural, "", &why).with_causes(vec![cause]));
        }
        Ok(())
    }

    /// Reads an object that was sent, checks that it is of this resource, and sets where it is.
    pub(super) fn decode(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let kind = &self.resource.kind;
            let what = "couldn't get version/kind; json parse error";
            Refusal::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): {what}: {error}"
            ))
        })?;
        self.normalize(value)
    }

    /// An object of this resource as its type has it.
    pub(super) fn normalize(&mut self, mut value: Value) -> Result<Value, Refusal> {
        let (kind, version) = (self.resource.kind.clone(), self.resource.api_version(&self.request.version));
        for (field, wanted) in [("kind", &kind), ("apiVersion", &version)] {
            let fields = map(&mut value);
            let given = fields.get(field).and_then(Value::as_str).unwrap_or_default();
            if given.is_empty() {
                fields.insert(field.to_owned(), wanted.clone().into());
            } else if given != wanted {
                let message = format!(
                    "{field} of the provided object ({given}) does not match {wanted}, which is served here"
                );
                let version = &self.request.version;
                let whole = format!("{kind} in version {version:?} cannot be handled as a {kind}: {message}");
                return Err(Refusal::bad_request(whole));
            }
        }
        self.place(&mut value)?;
        let (mut value, lost) = schema::typed(&self.resource, value).map_err(|error| {
            let version = &self.request.version;
            Refusal::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
            ))
        })?;
        self.lost_fields(lost)?;
        // One form is kept, whatever version it came in.
        let kept = self.resource.api_version(&self.resource.versions[0]);
        map(&mut value).insert("apiVersion".to_owned(), kept.into());
        self.check_size(&value)?;
        Ok(value)
    }

    /// Nothing larger can be kept. What is small by far is not measured.
    fn check_size(&self, value: &Value) -> Result<(), Refusal> {
        let before =
            self.world.tables[self.id].objects.get(&self.key()).map_or(0, |object| object.text().len());
        let measured = self.request.body.len() + before > LARGEST / 2;
        // These say themselves how large they may be.
        let known = self.resource.is("", "Secret") || self.resource.is("", "ConfigMap");
        if measured && !known && value.to_string().len() > LARGEST {
            return Err(Refusal::new(500, "InternalError", "etcdserver: request is too large"));
        }
        Ok(())
    }

    /// Fields that do not exist: left out, with or without a word, or refused.
    fn lost_fields(&mut self, lost: Vec<String>) -> Result<(), Refusal> {
        let said: Vec<_> = lost.iter().map(|field| format!("unknown field {field:?}")).collect();
        match self.request.query.get("fieldValidation") {
            _ if said.is_empty() => {}
            Some("Strict") => {
                let (kind, version) = (&self.resource.kind, &self.request.version);
                let errors = said.join(", ");
                let message = format!(
                    "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {errors}"
                );
                return Err(Refusal::bad_request(message));
            }
            Some("Ignore") => {}
            _ => self.warnings.extend(said),
        }
        Ok(())
    }

    /// The namespace and the name of the address are the object's.
    fn place(&self, value: &mut Value) -> Result<(), Refusal> {
        let metadata = super::object::metadata(value);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let given = text(metadata.get("namespace"));
        let wanted = self.request.namespace.clone().unwrap_or_default();
        if !given.is_empty() && given != wanted {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(message));
        }
        if wanted.is_empty() {
            metadata.shift_remove("namespace");
        } else {
            metadata.insert("namespace".to_owned(), wanted.into());
        }
        let given = text(metadata.get("name"));
        match &self.request.name {
            Some(name) if given.is_empty() => {
                metadata.insert("name".to_owned(), name.clone().into());
            }
            Some(name) if given != *name => {
                let message =
                    format!("the name of the object ({given}) does not match the name on the URL ({name})");
                return Err(Refusal::bad_request(message));
            }
            _ => {}
        }
        Ok(())
    }
}

/// An object as an item of a list: those of built-in resources do not repeat what the list says of all.
pub(super) fn item(object: &Object, resource: &Resource, request: &Request) -> Bytes {
    let text = present(object, resource, request);
    if !resource.builtin || request.metadata_only {
        return text;
    }
    let head = format!(
        "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",",
        resource.api_version(&request.version),
        resource.kind
    );
    match text.strip_prefix(head.as_bytes()) {
        Some(rest) => [b"{", rest].concat().into(),
        None => text,
    }
}

/// An object as the request wants to see it: in its version, or its metadata alone.
pub(super) fn present(object: &Object, resource: &Resource, request: &Request) -> Bytes {
    if request.metadata_only {
        return Bytes::from(object.partial().to_string());
    }
    if resource.versions[0] == request.version {
        return object.text().clone();
    }
    let mut value = object.value.clone();
    map(&mut value).insert("apiVersion".to_owned(), resource.api_version(&request.version).into());
    Bytes::from(value.to_string())
}
