//! What creates and changes objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    defaults, managed,
    object::{Object, map, metadata},
    patch,
    status::{Cause, Refusal},
    validate,
    world::CRDS,
};

/// What clients cannot set.
const SERVERS: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"];

impl Call<'_> {
    pub(super) fn create(&mut self) -> Result<Answer, Refusal> {
        let body = self.request.body.clone();
        let value = self.decode(&body)?;
        self.check_namespace()?;
        self.create_value(value, false).map(|object| Answer::Object(201, object))
    }

    /// Creates an object that was read.
    pub(super) fn create_value(&mut self, mut value: Value, applied: bool) -> Result<Arc<Object>, Refusal> {
        let suffix = self.world.suffix();
        let fields = metadata(&mut value);
        if fields.get("resourceVersion").is_some_and(|version| version != "" && version != "0") {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(500, "InternalError", message));
        }
        for field in SERVERS {
            fields.shift_remove(field);
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, generate) = (text(fields.get("name")), text(fields.get("generateName")));
        if name.is_empty() && !generate.is_empty() {
            let longest = generate.len().min(58);
            let prefix = generate.get(..longest).unwrap_or(&generate);
            fields.insert("name".to_owned(), format!("{prefix}{suffix}").into());
        }
        if self.resource.status {
            map(&mut value).shift_remove("status");
        }
        if self.resource.is("", "Secret") {
            defaults::secret_text(&mut value);
        }
        defaults::fill(&self.resource, &mut value);
        self.check(&value, None)?;
        let key = super::world::key_of(&value);
        if self.world.tables[self.id].objects.contains_key(&key) {
            let generated = !generate.is_empty() && name.is_empty();
            let refusal = Refusal::already_exists(&self.resource.group, &self.resource.plural, &key.1);
            return Err(if generated { refusal.with_causes(Vec::new()) } else { refusal });
        }
        self.admit(&value)?;
        self.world.stamp_new(&mut value);
        defaults::adopt(&self.resource, &mut value);
        if self.resource.has_generation() {
            metadata(&mut value).insert("generation".to_owned(), json!(1));
        }
        if !applied {
            managed::updated(&mut value, None, self.request, &self.resource, &self.world.clock.stamp());
        }
        Ok(self.keep(value))
    }

    /// Writes it, unless it was only to be tried.
    fn keep(&mut self, value: Value) -> Arc<Object> {
        if self.request.query.dry_run() {
            return Arc::new(Object::tried(value, self.world.version));
        }
        let object = self.world.put(self.id, value);
        let crd = self.world.find(CRDS.0, CRDS.1) == Some(self.id);
        if crd { self.world.define(&object) } else { object }
    }

    fn check(&self, value: &Value, before: Option<&Value>) -> Result<(), Refusal> {
        let mut causes = validate::check(&self.resource, value, before);
        if causes.is_empty() {
            return Ok(());
        }
        causes.truncate(50);
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        Err(Refusal::invalid(&self.resource.group, &self.resource.kind, name, &causes))
    }

    pub(super) fn update(&mut self, status: bool) -> Result<Answer, Refusal> {
        let body = self.request.body.clone();
        let value = self.decode(&body)?;
        let Some(before) = self.world.tables[self.id].objects.get(&self.key()).cloned() else {
            if self.resource.created_by_update() && !status {
                self.check_namespace()?;
                return self.create_value(value, false).map(|object| Answer::Object(201, object));
            }
            return Err(self.not_found());
        };
        let version = value["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if version.is_empty() && self.resource.needs_version() {
            let message = "Invalid value: 0x0: must be specified for an update".to_owned();
            let field = "metadata.resourceVersion".to_owned();
            let cause = Cause { reason: "FieldValueInvalid", field, message };
            return Err(Refusal::invalid(
                &self.resource.group,
                &self.resource.plural,
                before.name(),
                &[cause],
            ));
        }
        self.replace(&before, value, status, false).map(|object| Answer::Object(200, object))
    }

    /// Makes an object what it is to be; what the server keeps stays as it is.
    pub(super) fn replace(
        &mut self,
        before: &Arc<Object>,
        mut value: Value,
        status: bool,
        applied: bool,
    ) -> Result<Arc<Object>, Refusal> {
        let version = value["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !version.is_empty() && version != before.version.to_string() {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(self.conflict(why));
        }
        let uid = value["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() && uid != before.uid() {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                before.uid()
            );
            return Err(self.conflict(&why));
        }
        self.keep_servers(before, &mut value, status);
        if self.resource.is("", "Secret") {
            defaults::secret_text(&mut value);
        }
        defaults::fill(&self.resource, &mut value);
        if !status {
            self.check(&value, Some(&before.value))?;
            self.check_finalizers(before, &value)?;
        }
        if !applied {
            managed::updated(
                &mut value,
                Some(before),
                self.request,
                &self.resource,
                &self.world.clock.stamp(),
            );
        }
        Ok(self.keep(value))
    }

    /// What the server keeps of an object, whatever is sent.
    fn keep_servers(&self, before: &Object, value: &mut Value, status: bool) {
        let sent = metadata(value).clone();
        if status {
            let said = value.get("status").cloned();
            let managed = sent.get("managedFields").cloned();
            *value = before.value.clone();
            match said {
                Some(said) => map(value).insert("status".to_owned(), said),
                None => map(value).shift_remove("status"),
            };
            if let Some(managed) = managed {
                metadata(value).insert("managedFields".to_owned(), managed);
            }
            return;
        }
        if self.resource.status {
            match before.value.get("status") {
                Some(kept) => map(value).insert("status".to_owned(), kept.clone()),
                None => map(value).shift_remove("status"),
            };
        }
        let fields = metadata(value);
        for field in SERVERS {
            match before.meta(field) {
                Some(kept) => fields.insert(field.to_owned(), kept.clone()),
                None => fields.shift_remove(field),
            };
        }
        if !sent.contains_key("managedFields")
            && let Some(kept) = before.meta("managedFields")
        {
            fields.insert("managedFields".to_owned(), kept.clone());
        }
        if self.resource.has_generation() && value["spec"] != before.value["spec"] {
            let generation = before.meta("generation").and_then(Value::as_u64).unwrap_or(1);
            metadata(value).insert("generation".to_owned(), json!(generation + 1));
        }
    }

    /// What is being deleted gets no further finalizers.
    fn check_finalizers(&self, before: &Object, value: &Value) -> Result<(), Refusal> {
        if !before.being_deleted() {
            return Ok(());
        }
        let had = before.finalizers();
        let all = value["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let new: Vec<_> = all.filter(|one| !had.contains(one)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers {new:?}"
        );
        let cause = Cause::forbidden("metadata.finalizers", &why);
        Err(Refusal::invalid(&self.resource.group, &self.resource.kind, before.name(), &[cause]))
    }

    pub(super) fn patch(&mut self, status: bool) -> Result<Answer, Refusal> {
        if self.request.content_type.starts_with("application/apply-patch") {
            return self.apply(status);
        }
        let before = self.found()?;
        let body: Value = serde_json::from_slice(&self.request.body)
            .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
        let patched = match self.request.content_type.as_str() {
            "application/merge-patch+json" => {
                let mut value = before.value.clone();
                json_patch::merge(&mut value, &body);
                value
            }
            "application/json-patch+json" => self.json_patch(&before, body)?,
            "application/strategic-merge-patch+json" if self.resource.builtin => {
                patch::strategic(&before.value, &body).map_err(Refusal::bad_request)?
            }
            _ => {
                let message = "the body of the request was in an unknown format - accepted media types include: \
                    application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Refusal::new(415, "UnsupportedMediaType", message));
            }
        };
        let mut patched = patched;
        // A version that stands in the patch is a condition; the one that was read is none.
        let condition = match body_version(&self.request.body) {
            Some(version) => json!(version),
            None => json!(before.version.to_string()),
        };
        metadata(&mut patched).insert("resourceVersion".to_owned(), condition);
        let kept = self.resource.api_version(&self.resource.versions[0]);
        if patched["apiVersion"] == Value::String(kept) {
            let served = self.resource.api_version(&self.request.version);
            map(&mut patched).insert("apiVersion".to_owned(), served.into());
        }
        let value = self.normalize(patched)?;
        self.replace(&before, value, status, false).map(|object| Answer::Object(200, object))
    }

    fn json_patch(&self, before: &Object, body: Value) -> Result<Value, Refusal> {
        let steps: json_patch::Patch = serde_json::from_value(body)
            .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
        let mut value = before.value.clone();
        json_patch::patch(&mut value, &steps).map_err(|error| {
            let message = format!("the server rejected our request due to an error in our request: {error}");
            Refusal::new(422, "Invalid", message)
        })?;
        Ok(value)
    }
}

/// The version that a merge patch names.
fn body_version(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("metadata")?.get("resourceVersion")?.as_str().map(str::to_owned)
}
