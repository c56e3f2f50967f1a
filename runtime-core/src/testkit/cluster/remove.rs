//! Deletion: at once, after a grace, or when nothing is in the way any more.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    clock,
    object::{Key, Object, metadata},
    selector::Selector,
    status::Refusal,
    world::{TableId, Work, World},
};

/// What becomes of what an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How something is to be deleted.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    pub(super) propagation: Propagation,
    pub(super) grace: Option<u64>,
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
    pub(super) dry: bool,
}

impl Deletion {
    pub(super) fn background() -> Self {
        Self { propagation: Propagation::Background, grace: None, uid: None, version: None, dry: false }
    }

    /// Not waiting for anybody.
    pub(super) fn now() -> Self {
        Self { grace: Some(0), ..Self::background() }
    }
}

impl Call<'_> {
    pub(super) fn delete(&mut self) -> Result<Answer, Refusal> {
        let before = self.found()?;
        let how = self.deletion()?;
        check_conditions(&before, &how, &self.resource.kind, &self.resource.group)?;
        if how.dry {
            return Ok(Answer::Object(200, before));
        }
        let left = self.world.delete(self.id, &before.key(), &how);
        match left {
            Some(object) => Ok(Answer::Object(200, object)),
            None if self.resource.answers_with_deleted() => {
                let mut value = before.value.clone();
                let stamp = self.world.clock.stamp();
                let fields = metadata(&mut value);
                fields.entry("deletionTimestamp").or_insert_with(|| stamp.into());
                fields.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
                Ok(Answer::Object(200, Arc::new(Object::new(value, self.world.version))))
            }
            None => {
                let mut details = json!({"name": before.name(), "group": self.resource.group, "kind": self.resource.plural, "uid": before.uid()});
                if self.resource.group.is_empty()
                    && let Some(details) = details.as_object_mut()
                {
                    details.shift_remove("group");
                }
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Ok(Answer::Value(200, status))
            }
        }
    }

    pub(super) fn delete_all(&mut self) -> Result<Answer, Refusal> {
        let how = self.deletion()?;
        let selector = Selector::of(self.request, &self.resource)?;
        let objects = self.world.tables[self.id].objects.values();
        let chosen: Vec<_> = objects.filter(|object| selector.matches(object)).cloned().collect();
        if !how.dry {
            for object in &chosen {
                self.world.delete(self.id, &object.key(), &how);
            }
        }
        Ok(Answer::Json(self.list_of(&chosen, self.world.version, None)))
    }

    /// Reads how, from the address and from the body.
    fn deletion(&mut self) -> Result<Deletion, Refusal> {
        let body: Value = if self.request.body.iter().all(u8::is_ascii_whitespace) {
            json!({})
        } else {
            serde_json::from_slice(&self.request.body)
                .map_err(|error| Refusal::bad_request(format!("error decoding DeleteOptions: {error}")))?
        };
        let query = &self.request.query;
        let policy = body["propagationPolicy"].as_str().or_else(|| query.get("propagationPolicy"));
        let propagation = match (policy, body["orphanDependents"].as_bool()) {
            (Some("Background"), _) | (None, Some(false)) => Propagation::Background,
            (Some("Foreground"), _) => Propagation::Foreground,
            (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
            (Some(other), _) => {
                let cause = super::status::Cause::unsupported(
                    "propagationPolicy",
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                );
                return Err(Refusal::invalid("meta.k8s.io", "DeleteOptions", "", &[cause]));
            }
            // Pods of jobs were kept before there was garbage collection, and are so still.
            (None, None) if self.resource.is("batch", "Job") => {
                self.warnings.push(
                    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                     remove them or set propagationPolicy=Orphan to suppress this warning"
                        .to_owned(),
                );
                Propagation::Orphan
            }
            (None, None) => Propagation::Background,
        };
        let condition = |name: &str| body["preconditions"][name].as_str().map(str::to_owned);
        let dry = query.dry_run()
            || body["dryRun"].as_array().is_some_and(|all| all.iter().any(|one| one == "All"));
        let grace = match body["gracePeriodSeconds"].as_u64() {
            Some(grace) => Some(grace),
            None => query.number("gracePeriodSeconds")?,
        };
        Ok(Deletion { propagation, grace, uid: condition("uid"), version: condition("resourceVersion"), dry })
    }
}

fn check_conditions(object: &Object, how: &Deletion, kind: &str, group: &str) -> Result<(), Refusal> {
    let refuse = |what: &str, wanted: &str, found: &str, why: &str| {
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might \
             have been {why}"
        );
        Err(Refusal::conflict(group, kind, object.name(), &why))
    };
    if let Some(uid) = how.uid.as_deref().filter(|uid| *uid != object.uid()) {
        return refuse("UID", uid, object.uid(), "deleted and then recreated");
    }
    let version = object.version.to_string();
    if let Some(wanted) = how.version.as_deref().filter(|wanted| *wanted != version) {
        return refuse("ResourceVersion", wanted, &version, "modified");
    }
    Ok(())
}

impl World {
    /// Deletes an object, or begins to. Gives what is left of it.
    pub(super) fn delete(&mut self, id: TableId, key: &Key, how: &Deletion) -> Option<Arc<Object>> {
        let before = self.tables[id].objects.get(key).cloned()?;
        let resource = self.tables[id].resource.clone();
        let grace = if resource.is_pod() { pod_grace(&before, how.grace) } else { 0 };
        let mut value = before.value.clone();
        let fields = metadata(&mut value);
        let mut finalizers: Vec<String> = before.finalizers().into_iter().map(str::to_owned).collect();
        finalizers.retain(|one| one != "foregroundDeletion" && one != "orphan");
        let owns = self.owned.get(before.uid()).is_some_and(|owned| !owned.is_empty());
        match how.propagation {
            Propagation::Foreground => finalizers.push("foregroundDeletion".to_owned()),
            Propagation::Orphan if owns => finalizers.push("orphan".to_owned()),
            _ => {}
        }
        let waits = !finalizers.is_empty() || resource.is("", "Namespace");
        if finalizers.is_empty() {
            fields.shift_remove("finalizers");
        } else {
            fields.insert("finalizers".to_owned(), json!(finalizers));
        }
        let already = fields.get("deletionGracePeriodSeconds").and_then(Value::as_u64);
        let begun = before.being_deleted();
        if !begun || already.is_some_and(|already| grace < already) {
            let seconds = i64::try_from(grace).unwrap_or(i64::MAX);
            let end =
                self.clock.now().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
            fields.insert("deletionTimestamp".to_owned(), clock::stamp(end).into());
            if !resource.is("", "Namespace") {
                fields.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
            }
        }
        if resource.is("", "Namespace") {
            value["status"]["phase"] = "Terminating".into();
            self.work.push_back(Work::Namespace(key.1.clone()));
        }
        if grace == 0 && !waits {
            self.remove(id, key);
            return None;
        }
        let left = self.put(id, value);
        if grace > 0 && !begun {
            let expired = Work::Expired(id, key.clone(), before.uid().to_owned());
            self.later(Duration::from_secs(grace), expired);
        }
        Some(left)
    }
}

/// How long a pod may take: what has ended, or was never given to a node, takes no time.
fn pod_grace(pod: &Object, asked: Option<u64>) -> u64 {
    let ended = matches!(pod.str_at("/status/phase"), "Succeeded" | "Failed");
    if ended || pod.str_at("/spec/nodeName").is_empty() {
        return 0;
    }
    let own = pod.at("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
    asked.or(own).unwrap_or(30)
}
