//! Stands for an operator, where there is none: makes what belongs to its objects.

#[cfg(feature = "mpijob")]
pub(crate) mod mpi;
#[cfg(feature = "spark")]
pub(crate) mod spark;

use futures_util::StreamExt;
use runtimes::{
    cluster::kube::{
        self, Api, Client, ResourceExt,
        api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
        runtime::{WatchStreamExt, watcher},
    },
    core::{
        k8s_openapi::api::core::v1::Pod,
        serde_json::{Value, from_value, json},
    },
};

/// The operator, until it is dropped.
pub(crate) struct Operator(tokio::task::JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Operator {
    /// Whenever one of these objects changes, or a pod does, all that `parts` says of it is made, where it is not there, and
    /// belongs to it.
    pub(crate) fn of(
        client: Client,
        namespace: &str,
        (api_version, kind): (&str, &str),
        parts: fn(&DynamicObject, &[Pod]) -> Vec<Value>,
    ) -> Self {
        let resource = resource(api_version, kind);
        let all: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        Self(tokio::spawn(async move {
            let config = watcher::Config::default;
            // Of what goes wrong at once, the next try waits.
            let changes = watcher(all.clone(), config()).default_backoff().touched_objects().map(|_| ());
            let of_pods = watcher(pods.clone(), config()).default_backoff().touched_objects().map(|_| ());
            let mut changes = std::pin::pin!(futures_util::stream::select(changes, of_pods));
            while changes.next().await.is_some() {
                let everything = ListParams::default();
                let (Ok(found), Ok(pods)) = (all.list(&everything).await, pods.list(&everything).await)
                else {
                    continue;
                };
                for object in found.items.iter().filter(|object| object.metadata.deletion_timestamp.is_none())
                {
                    let owner = json!({"apiVersion": resource.api_version, "kind": resource.kind,
                        "name": object.name_any(), "uid": object.uid(), "controller": true});
                    for mut part in parts(object, &pods.items) {
                        part["metadata"]["namespace"] = json!(object.namespace());
                        part["metadata"]["ownerReferences"] = json!([owner]);
                        create(&client, part).await;
                    }
                }
            }
        }))
    }
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

async fn create(client: &Client, object: Value) {
    let word = |place: &str| object.pointer(place).and_then(Value::as_str).unwrap().to_owned();
    let resource = resource(&word("/apiVersion"), &word("/kind"));
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &word("/metadata/namespace"), &resource);
    match api.create(&PostParams::default(), &from_value(object).unwrap()).await {
        // It is there, or all of it goes.
        Err(kube::Error::Api(status)) if [403, 404, 409].contains(&status.code) => {}
        made => _ = made.unwrap(),
    }
}

/// What a pod is to its run: `scheduler`, `worker`, or `main`.
pub(crate) fn part(pod: &Pod) -> String {
    pod.labels().get("runtimes/part").cloned().unwrap_or_else(|| "main".to_owned())
}
