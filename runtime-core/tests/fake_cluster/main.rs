//! The API server in this process, as kube's client sees it.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod causes;
mod deployments;
mod jobs;
mod objects;
mod pods;
mod servers;

use std::time::Duration;

use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::{
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, ContainerState, Event, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch,
        PatchParams, PostParams,
    },
    runtime::{WatchStreamExt, watcher},
};
use runtime_core::testkit::cluster::{FakeCluster, Fault, Forbid, Life, Resource};
use serde_json::json;

fn client(cluster: &FakeCluster) -> Client {
    Client::new(cluster.clone(), "default")
}

fn pods_of(cluster: &FakeCluster) -> Api<Pod> {
    Api::default_namespaced(client(cluster))
}

fn pod(name: &str) -> Pod {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3"}]});
    let metadata = json!({"name": name, "labels": {"app": name}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

async fn create(pods: &Api<Pod>, name: &str) -> Pod {
    pods.create(&PostParams::default(), &pod(name)).await.unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not refused by the server: {other}"),
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn api<K>(cluster: &FakeCluster) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::default_namespaced(client(cluster))
}

fn apply<T: serde::Serialize>(value: T) -> Patch<T> {
    Patch::Apply(value)
}
