//! Taking away what a run made: the object that owns the others, and where that is not known, all with its label.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectList, PropagationPolicy},
    core::PartialObjectMeta,
};
use runtime_core::{
    ErrorKind, Result, k8s_openapi::api::core::v1::Pod, labels, run::RunKey, serde_json::Value,
    target::Leftover,
};

use super::{
    Link,
    apply::{Sent, resource},
    error::{Ask, is_another},
};

/// How long the cluster may be away before an object is left for later.
const PATIENCE: Duration = Duration::from_secs(60);

/// The types of objects that runs make on every cluster.
const TYPES: [(&str, &str); 5] =
    [("batch/v1", "Job"), ("v1", "Pod"), ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "Service")];

fn is_extra(resource: &ApiResource) -> bool {
    !TYPES.contains(&(resource.api_version.as_str(), resource.kind.as_str()))
}

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// What goes with what goes.
fn with_all() -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() }
}

impl Link {
    /// Deletes an object and all that belongs to it. One that is not there is no error.
    pub(super) async fn delete(&self, sent: &Sent) -> Result<()> {
        self.delete_with(sent, &with_all()).await
    }

    /// Deletes a Job alone: it makes no more pods, and those that it has get the time to end that they are given. Of
    /// other owners, what belongs to them is deleted too.
    pub(super) async fn disown(&self, sent: &Sent) -> Result<()> {
        let mut params = with_all();
        if sent.resource.kind == "Job" {
            params.propagation_policy = Some(PropagationPolicy::Orphan);
        }
        self.delete_with(sent, &params).await
    }

    async fn delete_with(&self, sent: &Sent, params: &DeleteParams) -> Result<()> {
        let api = self.api(sent);
        let delete = || async {
            match api.delete(&sent.name, params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(drop),
            }
        };
        self.calls.ask(sent.ask("delete"), PATIENCE, delete).await
    }

    /// Deletes a pod; it has so long to end by itself.
    pub(super) async fn delete_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        grace: Duration,
    ) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let seconds =
            u32::try_from(grace.as_secs() + u64::from(grace.subsec_nanos() > 0)).unwrap_or(u32::MAX);
        let params = DeleteParams { grace_period_seconds: Some(seconds), ..DeleteParams::default() };
        let params = params
            .preconditions(kube::api::Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let ask = Ask { verb: "delete", resource: "pods", name, namespace };
        let delete = || async {
            match api.delete(name, &params).await {
                // It is gone, or another one has its name.
                Err(kube::Error::Api(status)) if status.code == 404 || is_another(&status) => Ok(()),
                other => other.map(drop),
            }
        };
        self.calls.ask(ask, PATIENCE, delete).await
    }

    /// Deletes all in a namespace that has the label of this run, of whatever attempt.
    pub(super) async fn delete_all(&self, key: &RunKey, namespace: &str) -> Result<()> {
        let selector = format!("{}={key}", labels::RUN);
        for (api_version, kind) in self.types().await {
            let resource = resource(api_version, kind);
            for object in self.there(&resource, namespace, &selector).await? {
                let (namespace, name) = (namespace.to_owned(), object.name_any());
                let sent = Sent { resource: resource.clone(), namespace, name, value: Value::Null };
                self.delete(&sent).await?;
            }
        }
        Ok(())
    }

    /// The types of objects that runs may have made here: those of operators first, which make the others, where the server
    /// serves them.
    async fn types(&self) -> Vec<(&'static str, &'static str)> {
        let served = match self.expected.is_empty() {
            true => None,
            false => self.api_versions().await,
        };
        let is_there = |version: &str| served.as_ref().is_some_and(|served| served.contains(version));
        let expected = self.expected.iter().copied().filter(|(version, _)| is_there(version));
        expected.chain(TYPES).collect()
    }

    /// What there is of runs in the namespace.
    pub(super) async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let selector = format!("{}={},{}", labels::MANAGED_BY, labels::RUNTIMES, labels::RUN);
        let mut found: BTreeMap<RunKey, Leftover> = BTreeMap::new();
        for (api_version, kind) in self.types().await {
            for object in self.there(&resource(api_version, kind), &self.namespace, &selector).await? {
                let Some(key) = object.labels().get(labels::RUN).and_then(|key| key.parse::<RunKey>().ok())
                else {
                    continue;
                };
                let left = found.entry(key.clone()).or_insert_with(|| Leftover::of(key));
                left.objects.push(format!("{}/{}", kind.to_ascii_lowercase(), object.name_any()));
                left.since =
                    left.since.into_iter().chain(object.creation_timestamp().map(|time| time.0)).min();
                left.active |= is_active(kind, &object.data);
            }
        }
        Ok(found.into_values().collect())
    }

    /// The objects of a type that a selector chooses. Who may not see those of an operator has made none.
    async fn there(
        &self,
        resource: &ApiResource,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<DynamicObject>> {
        match self.labelled(resource, namespace, selector).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied && is_extra(resource) => Ok(Vec::new()),
            found => found,
        }
    }

    /// The objects of a type that a selector chooses: all of a Job or Pod, of others only what all objects have.
    async fn labelled(
        &self,
        resource: &ApiResource,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<DynamicObject>> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let ask = Ask { verb: "list", resource: &resource.plural, name: "", namespace };
        let whole = ["Job", "Pod"].contains(&resource.kind.as_str());
        let mut found = Vec::new();
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        loop {
            let page = self.calls.ask(ask, PATIENCE, || async {
                let page = match whole {
                    true => api.list(&params).await,
                    false => api.list_metadata(&params).await.map(bare),
                };
                match page {
                    // The first pages are too old for the others.
                    Err(kube::Error::Api(status)) if status.code == 410 => Ok(None),
                    page => page.map(Some),
                }
            });
            let Some(page) = page.await? else {
                found.clear();
                params.continue_token = None;
                continue;
            };
            let next = page.metadata.continue_.filter(|next| !next.is_empty());
            found.extend(page.items);
            match next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(found),
            }
        }
    }
}

/// Objects of which no more is known than what all have.
fn bare(list: ObjectList<PartialObjectMeta<DynamicObject>>) -> ObjectList<DynamicObject> {
    let bare = |object: PartialObjectMeta<DynamicObject>| DynamicObject {
        types: None,
        metadata: object.metadata,
        data: Value::Null,
    };
    ObjectList {
        types: list.types,
        metadata: list.metadata,
        items: list.items.into_iter().map(bare).collect(),
    }
}

/// Whether a Job or a Pod has not ended.
fn is_active(kind: &str, object: &Value) -> bool {
    let status = &object["status"];
    match kind {
        "Pod" => !matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")),
        "Job" => !status["conditions"].as_array().into_iter().flatten().any(|condition| {
            condition["status"] == "True"
                && (condition["type"] == "Complete" || condition["type"] == "Failed")
        }),
        _ => false,
    }
}
