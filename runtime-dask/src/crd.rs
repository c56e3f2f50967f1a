//! `DaskCluster` and `DaskAutoscaler`, which Dask's operator acts on (kubernetes.dask.org).

use std::collections::BTreeMap;

use runtime_core::{
    Result,
    k8s_openapi::{
        api::core::v1::{PodSpec, ServiceSpec},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    plan::{Manifest, Role},
};
use serde::Serialize;

use crate::render::{Parts, custom};

/// The group and version of the operator's objects.
pub const API_VERSION: &str = "kubernetes.dask.org/v1";

/// The types that are made for runs.
pub(crate) const RESOURCES: [(&str, &str); 3] = [
    (API_VERSION, "DaskAutoscaler"),
    (API_VERSION, "DaskCluster"),
    // Where there is no operator.
    ("apps/v1", "Deployment"),
];

/// A scheduler, its Service, and a group of workers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DaskCluster {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    /// What it is.
    pub spec: DaskClusterSpec,
}

/// What a `DaskCluster` is.
#[derive(Clone, Debug, Serialize)]
pub struct DaskClusterSpec {
    /// Its scheduler.
    pub scheduler: SchedulerSpec,
    /// Its workers.
    pub worker: WorkerSpec,
}

/// The scheduler of a `DaskCluster`.
#[derive(Clone, Debug, Serialize)]
pub struct SchedulerSpec {
    /// Labels of what is made for it.
    pub metadata: Labels,
    /// Its pod.
    pub spec: PodSpec,
    /// Its Service.
    pub service: ServiceSpec,
}

/// The workers of a `DaskCluster`.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerSpec {
    /// How many.
    pub replicas: u32,
    /// Labels of what is made for them.
    pub metadata: Labels,
    /// The pod of each.
    pub spec: PodSpec,
}

/// Labels that the operator adds to what it makes.
#[derive(Clone, Debug, Serialize)]
pub struct Labels {
    /// Names and values.
    pub labels: BTreeMap<String, String>,
}

/// How many workers a `DaskCluster` has, as there is work for them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DaskAutoscaler {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    /// Of which cluster, and between which numbers.
    pub spec: DaskAutoscalerSpec,
}

/// What a `DaskAutoscaler` is.
#[derive(Clone, Debug, Serialize)]
pub struct DaskAutoscalerSpec {
    /// The name of the `DaskCluster`.
    pub cluster: String,
    /// At least so many workers.
    pub minimum: u32,
    /// At most so many.
    pub maximum: u32,
}

/// How a part of a Dask cluster is found.
pub(crate) fn selector(cluster: &str, component: &str) -> BTreeMap<String, String> {
    let labels = [("dask.org/cluster-name", cluster), ("dask.org/component", component)];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The objects for the operator.
pub(crate) fn objects(
    parts: &Parts<'_>,
    (replicas, between): (u32, Option<(u32, u32)>),
) -> Result<Vec<Manifest>> {
    let metadata = || parts.workload.metadata(parts.name.clone());
    // What all of a cluster has, its operator puts on its parts.
    let own = |part, role| Labels { labels: parts.workload.part_labels(part, role) };
    let cluster = DaskCluster {
        api_version: API_VERSION,
        kind: "DaskCluster",
        metadata: metadata(),
        spec: DaskClusterSpec {
            scheduler: SchedulerSpec {
                metadata: own("scheduler", parts.scheduler),
                spec: parts.scheduler(),
                service: parts.service().spec.unwrap_or_default(),
            },
            worker: WorkerSpec {
                replicas,
                metadata: own("worker", Role::Worker),
                spec: parts.worker(Vec::new()),
            },
        },
    };
    let autoscaler = between.map(|(minimum, maximum)| DaskAutoscaler {
        api_version: API_VERSION,
        kind: "DaskAutoscaler",
        metadata: metadata(),
        spec: DaskAutoscalerSpec { cluster: parts.name.clone(), minimum, maximum },
    });
    let all = [custom(cluster)].into_iter().chain(autoscaler.map(custom));
    match parts.scheduler {
        // The last one is the deployment.
        Role::Main => all.rev().collect(),
        _ => all.collect(),
    }
}
