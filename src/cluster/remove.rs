//! Taking away what a run made: the object that owns the others, and where that is not known, all with its label.

use std::{collections::BTreeSet, time::Duration};

use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PropagationPolicy},
    core::PartialObjectMeta,
};
use runtime_core::{Result, k8s_openapi::api::core::v1::Pod, labels, run::RunKey};

use super::{
    Link,
    apply::{Sent, resource},
    error::Ask,
};

/// How long the cluster may be away before an object is left for later.
const PATIENCE: Duration = Duration::from_secs(60);

/// The types of objects that runs make.
const TYPES: [(&str, &str); 5] =
    [("batch/v1", "Job"), ("v1", "Pod"), ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "Service")];

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
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                other => other.map(drop),
            }
        };
        self.calls.ask(ask, PATIENCE, delete).await
    }

    /// Deletes all that has the label of this run, of whatever attempt. Returns how many objects that were.
    pub(super) async fn delete_all(&self, key: &RunKey) -> Result<usize> {
        let mut count = 0;
        for (api_version, kind) in TYPES {
            let resource = resource(api_version, kind);
            for (namespace, name, _) in self.labelled(&resource, &format!("{}={key}", labels::RUN)).await? {
                let value = runtime_core::serde_json::Value::Null;
                self.delete(&Sent { resource: resource.clone(), namespace, name, value }).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// The runs of which there is an object in the namespace.
    pub(super) async fn runs(&self) -> Result<Vec<RunKey>> {
        let selector = format!("{}={},{}", labels::MANAGED_BY, labels::RUNTIMES, labels::RUN);
        let mut keys = BTreeSet::new();
        for (api_version, kind) in TYPES {
            let found = self.labelled(&resource(api_version, kind), &selector).await?;
            keys.extend(found.into_iter().filter_map(|(_, _, key)| key));
        }
        Ok(keys.into_iter().filter_map(|key| key.parse().ok()).collect())
    }

    /// Namespace, name and run of the objects that a selector chooses.
    async fn labelled(
        &self,
        resource: &ApiResource,
        selector: &str,
    ) -> Result<Vec<(String, String, Option<String>)>> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, resource);
        let ask = Ask { verb: "list", resource: &resource.plural, name: "", namespace: &self.namespace };
        let mut found = Vec::new();
        let mut params = ListParams::default().labels(selector).limit(500);
        loop {
            let page = self.calls.ask(ask, PATIENCE, || api.list_metadata(&params)).await?;
            let next = page.metadata.continue_.filter(|next| !next.is_empty());
            found.extend(page.items.into_iter().map(|object: PartialObjectMeta<DynamicObject>| {
                let metadata = object.metadata;
                let run = metadata.labels.and_then(|labels| labels.get(labels::RUN).cloned());
                (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default(), run)
            }));
            match next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(found),
            }
        }
    }
}
