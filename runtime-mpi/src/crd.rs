//! Kubeflow's MPIJob, in both of its versions: what of it is made here.

use runtime_core::{
    Error, Result,
    k8s_openapi::{
        api::core::v1::{PodSpec, PodTemplateSpec},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    serde_json::{self, Map, Value},
};
use serde::Serialize;

use crate::config::{CleanPodPolicy, Implementation, LauncherCreation, Scheduling, Version};

/// The types of objects that are made.
pub(crate) const RESOURCES: [(&str, &str); 2] =
    [("kubeflow.org/v2beta1", "MPIJob"), ("kubeflow.org/v1", "MPIJob")];

/// The object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MpiJob {
    pub(crate) api_version: Version,
    pub(crate) kind: &'static str,
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: MpiJobSpec,
}

/// Its spec. What one of the versions does not have is left out there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MpiJobSpec {
    pub(crate) slots_per_worker: i64,
    /// Of v1 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clean_pod_policy: Option<CleanPodPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_policy: Option<RunPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) launcher_creation_policy: Option<LauncherCreation>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) run_launcher_as_worker: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mpi_implementation: Option<Implementation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ssh_auth_mount_path: Option<String>,
    pub(crate) mpi_replica_specs: Replicas,
}

/// How it is run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunPolicy {
    pub(crate) clean_pod_policy: CleanPodPolicy,
    pub(crate) backoff_limit: u32,
    pub(crate) ttl_seconds_after_finished: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active_deadline_seconds: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) suspend: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheduling_policy: Option<SchedulingPolicy>,
}

/// What the scheduler of groups is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SchedulingPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    min_available: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    min_resources: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_timeout_seconds: Option<u32>,
}

impl From<Scheduling> for SchedulingPolicy {
    fn from(from: Scheduling) -> Self {
        let Scheduling { min_available, queue, min_resources, priority_class, schedule_timeout_seconds } =
            from;
        Self { min_available, queue, min_resources, priority_class, schedule_timeout_seconds }
    }
}

/// Its pods.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Replicas {
    pub(crate) launcher: Replica,
    pub(crate) worker: Replica,
}

/// Pods of one sort.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replica {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replicas: Option<i64>,
    /// What happens to a container that failed. The pods' own field of that name is the operator's to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restart_policy: Option<&'static str>,
    pub(crate) template: PodTemplateSpec,
}

impl Replica {
    pub(crate) fn new(replicas: i64, metadata: ObjectMeta, mut pod: PodSpec) -> Self {
        pod.restart_policy = None;
        let template = PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) };
        Self { replicas: Some(replicas), restart_policy: Some("Never"), template }
    }
}

impl MpiJob {
    /// As a plan has it.
    pub(crate) fn into_value(self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::internal("an MPIJob cannot be written").source(error))
    }
}
