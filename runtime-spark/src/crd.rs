//! The SparkApplication of Spark's operator: what of it is made here.

use std::collections::BTreeMap;

use runtime_core::{
    Error, Result,
    k8s_openapi::{
        api::core::v1::{
            Affinity, EnvVar, PodSecurityContext, SecurityContext, Toleration, Volume, VolumeMount,
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    serde_json::{self, Value},
};
use serde::Serialize;

use crate::config::{Deps, DynamicAllocation, JobType, Restart, RestartPolicy};

/// Group and version.
pub(crate) const API_VERSION: &str = "sparkoperator.k8s.io/v1beta2";

/// The types of objects that are made.
pub(crate) const RESOURCES: [(&str, &str); 1] = [(API_VERSION, "SparkApplication")];

/// The object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SparkApplication {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: SparkSpec,
}

/// Its spec.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SparkSpec {
    #[serde(rename = "type")]
    pub(crate) job_type: JobType,
    pub(crate) mode: &'static str,
    pub(crate) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_pull_policy: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) image_pull_secrets: Vec<String>,
    pub(crate) main_application_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) main_class: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) arguments: Vec<String>,
    pub(crate) spark_version: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) spark_conf: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) hadoop_conf: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) deps: Deps,
    pub(crate) restart_policy: Retries,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_to_live_seconds: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) suspend: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dynamic_allocation: Option<DynamicAllocation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) monitoring: Option<Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_scheduler_options: Option<BatchScheduler>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<Volume>,
    pub(crate) driver: Part,
    pub(crate) executor: Part,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// When it is started again.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retries {
    #[serde(rename = "type")]
    restart: Restart,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure_retry_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_submission_failure_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_submission_failure_retry_interval: Option<u32>,
}

impl From<RestartPolicy> for Retries {
    fn from(from: RestartPolicy) -> Self {
        Self {
            restart: from.restart,
            on_failure_retries: Some(from.retries),
            // The operator's least is a second.
            on_failure_retry_interval: Some(from.retry_interval).filter(|seconds| *seconds > 0),
            on_submission_failure_retries: Some(from.submission_retries),
            on_submission_failure_retry_interval: Some(from.submission_retry_interval).filter(|it| *it > 0),
        }
    }
}

/// Metrics for Prometheus.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metrics {
    pub(crate) expose_driver_metrics: bool,
    pub(crate) expose_executor_metrics: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prometheus: Option<Prometheus>,
}

/// The exporter of metrics.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prometheus {
    pub(crate) jmx_exporter_jar: String,
}

/// What schedulers of batches read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchScheduler {
    pub(crate) priority_class_name: String,
}

/// A GPU.
#[derive(Serialize)]
pub(crate) struct Gpu {
    pub(crate) name: String,
    pub(crate) quantity: i64,
}

/// The driver, or the executors.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    pub(crate) cores: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) core_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) core_limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_overhead: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instances: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gpu: Option<Gpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) java_options: Option<String>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_account: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volume_mounts: Vec<VolumeMount>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) node_selector: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tolerations: Vec<Toleration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) affinity: Option<Affinity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority_class_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod_security_context: Option<PodSecurityContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) security_context: Option<SecurityContext>,
}

impl SparkApplication {
    /// As a plan has it.
    pub(crate) fn into_value(self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::internal("a SparkApplication cannot be written").source(error))
    }
}
