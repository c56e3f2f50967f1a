//! Objects as they are sent: labelled, so that they are found again, and owned, so that one delete removes all.

use std::time::Duration;

use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, Request, ValidationDirective},
};
use runtime_core::{
    Error, ErrorKind, Result,
    k8s_openapi::{
        api::{batch::v1::Job, core::v1::Pod},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    labels,
    plan::Manifest,
    serde_json::{Value, json},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Link, error::Ask};

/// Who has written the fields that we write.
pub(super) const MANAGER: &str = "runtimes";

/// How long the cluster may be away before a run that is to start is given up.
pub(super) const START: Duration = Duration::from_secs(300);

/// How long it may be away while somebody waits to be told that all is well.
pub(super) const CHECK: Duration = Duration::from_secs(8);

/// An object, ready to be sent.
pub(super) struct Sent {
    pub(super) resource: ApiResource,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) value: Value,
}

/// What an object of this kind is called in addresses and rules.
pub(super) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = format!("{}s", kind.to_ascii_lowercase());
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural,
    }
}

/// Whether a type is an operator's: the groups of all else that runs are made of have no dot. Operators' may end as some of
/// Kubernetes itself do (`sparkoperator.k8s.io`).
pub(super) fn is_custom(resource: &ApiResource) -> bool {
    resource.group.contains('.')
}

/// An object that the server has made.
pub(super) enum Made {
    Pod(Box<Pod>),
    Job(Box<Job>),
    /// An object of an operator.
    Custom(Box<DynamicObject>),
    Other(Box<Other>),
}

/// What is read of an object of which only the name matters.
#[derive(Deserialize)]
pub(super) struct Other {
    metadata: ObjectMeta,
}

impl Made {
    /// Its own name among all objects that ever were.
    pub(super) fn uid(&self) -> String {
        let metadata = match self {
            Self::Pod(pod) => &pod.metadata,
            Self::Job(job) => &job.metadata,
            Self::Custom(object) => &object.metadata,
            Self::Other(other) => &other.metadata,
        };
        metadata.uid.clone().unwrap_or_default()
    }
}

impl Sent {
    /// The object with our labels: whose it is, and of which attempt. What is shared belongs to no run.
    ///
    /// # Errors
    /// `Internal`, where it is no object.
    pub(super) fn new(manifest: &Manifest, namespace: &str, run: &str, attempt: u32) -> Result<Self> {
        let mut value = runtime_core::serde_json::to_value(manifest)
            .map_err(|error| Error::internal("an object cannot be written").source(error))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = resource(&text(&value["apiVersion"]), &text(&value["kind"]));
        let own = json!({labels::MANAGED_BY: labels::RUNTIMES, labels::RUN: run, labels::ATTEMPT: attempt.to_string()});
        put_labels(&mut value["metadata"], &own);
        if resource.kind == "Job" {
            put_labels(&mut value["spec"]["template"]["metadata"], &own);
        }
        let namespace = match value["metadata"]["namespace"].as_str() {
            Some(own) if !own.is_empty() => own.to_owned(),
            _ => namespace.to_owned(),
        };
        Ok(Self { resource, namespace, name: manifest.name().to_owned(), value })
    }

    /// Whether it is of a type that an operator has brought, as their groups are named.
    pub(super) fn is_custom(&self) -> bool {
        is_custom(&self.resource)
    }

    pub(super) fn ask(&self, verb: &'static str) -> Ask<'_> {
        Ask { verb, resource: &self.resource.plural, name: &self.name, namespace: &self.namespace }
    }
}

fn put_labels(metadata: &mut Value, own: &Value) {
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    if let (Some(labels), Some(own)) = (metadata["labels"].as_object_mut(), own.as_object()) {
        labels.extend(own.clone());
    }
}

impl Link {
    pub(super) fn api(&self, sent: &Sent) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &sent.namespace, &sent.resource)
    }

    /// Whether the cluster would take the object; nothing is changed.
    pub(super) async fn try_out(&self, sent: &Sent) -> Result<()> {
        let params = PatchParams {
            dry_run: true,
            force: true,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let api = self.api(sent);
        let patch = Patch::Apply(&sent.value);
        self.calls.ask(sent.ask("patch"), CHECK, || api.patch(&sent.name, &params, &patch)).await.map(drop)
    }

    /// Makes the object, or leaves it as it is where it is there.
    ///
    /// What is new is created, under our name: the server needs half of the time that it needs to apply it. What is there
    /// (the answer to an earlier request was lost, or it is shared) is applied.
    pub(super) async fn apply(&self, sent: &Sent) -> Result<Made> {
        Ok(match sent.resource.kind.as_str() {
            "Pod" => Made::Pod(self.put(sent).await?),
            "Job" => Made::Job(self.put(sent).await?),
            _ if sent.is_custom() => Made::Custom(self.put(sent).await?),
            _ => Made::Other(self.put(sent).await?),
        })
    }

    async fn put<T: DeserializeOwned>(&self, sent: &Sent) -> Result<T> {
        let requests = Request::new(self.api(sent).resource_url());
        let object = runtime_core::serde_json::to_vec(&sent.value)
            .map_err(|error| Error::internal("an object cannot be written").source(error))?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let create = || async {
            let request = requests.create(&params, object.clone());
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        };
        match self.calls.ask(sent.ask("create"), START, create).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created,
        }
        let params = PatchParams::apply(MANAGER).force();
        let apply = || async {
            let request = requests.patch(&sent.name, &params, &Patch::Apply(&sent.value));
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        };
        self.calls.ask(sent.ask("patch"), START, apply).await
    }

    /// Says that an object belongs to another: it goes with that one.
    pub(super) async fn own(&self, sent: &Sent, owner: &Sent, uid: &str) -> Result<()> {
        let reference = json!({
            "apiVersion": owner.resource.api_version,
            "kind": owner.resource.kind,
            "name": owner.name,
            "uid": uid,
        });
        let patch = Patch::Merge(json!({"metadata": {"ownerReferences": [reference]}}));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(sent);
        self.calls.ask(sent.ask("patch"), START, || api.patch(&sent.name, &params, &patch)).await.map(drop)
    }
}
