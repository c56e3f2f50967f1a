//! What all kinds that run as pods share.

mod check;
mod env_file;
mod quantity;
mod resources;
mod security;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use serde_json::{Map, Value};

use crate::{
    Result,
    function::fields::{Field, Fields, fields, object_fields, value_of},
};

pub(crate) use check::{check_preemption_mode, check_threshold};
pub use env_file::parse_env_file;
pub use quantity::Quantity;
pub use resources::GPU;
pub(crate) use resources::check as check_quantity;
pub use security::SecurityContext;

object_fields!(
    Vec<core::EnvVar>,
    Vec<core::Volume>,
    Vec<core::VolumeMount>,
    Vec<core::Toleration>,
    Option<core::Affinity>,
    core::ResourceRequirements,
);

fields! {
    /// What all kinds that run as pods share. The objects are those of Kubernetes.
    pub struct PodSpec {
        /// Environment.
        env: Vec<core::EnvVar> = "env",
        /// What it may use, and what is kept free for it.
        resources: core::ResourceRequirements = "resources",
        /// How many of it run, where the kind has replicas.
        replicas: Option<i32> = "replicas",
        /// Volumes.
        volumes: Vec<core::Volume> = "volumes",
        /// Where the volumes are mounted.
        volume_mounts: Vec<core::VolumeMount> = "volume_mounts",
        /// `Always`, `IfNotPresent`, `Never`, or empty for the cluster's default.
        image_pull_policy: String = "image_pull_policy",
        /// The secret with the registry's credentials.
        image_pull_secret: String = "image_pull_secret",
        /// The account by which it talks to the cluster.
        service_account: String = "service_account",
        /// The node on which it must run.
        node_name: String = "node_name",
        /// Labels that its node must have.
        node_selector: BTreeMap<String, String> = "node_selector",
        /// Which nodes and neighbours it wants.
        affinity: Option<core::Affinity> = "affinity",
        /// Taints of nodes that it bears.
        tolerations: Vec<core::Toleration> = "tolerations",
        /// Its priority.
        priority_class_name: String = "priority_class_name",
        /// Whether it runs on preemptible nodes: `allow`, `constrain`, `prevent`, `none`, or empty.
        preemption_mode: String = "preemption_mode",
        /// Users and rights.
        security_context: Option<SecurityContext> = "security_context",
        /// How long a run may stay in a state: `pending_scheduled`, `pending_not_scheduled`, `image_pull_backoff`,
        /// `executing`; `-1` is for ever.
        state_thresholds: BTreeMap<String, String> = "state_thresholds",
    }
}

impl PodSpec {
    pub(crate) fn read(from: &mut Fields<'_>) -> Result<Self> {
        Self::take(from)
    }

    pub(crate) fn write(&self, to: &mut Map<String, Value>, but: Option<&Self>) {
        self.put(to, but);
    }

    /// The objects of Kubernetes in it as they would be written, each with its field's name, empty ones too.
    pub(crate) fn objects(&self) -> Vec<(&'static str, Value)> {
        fn object<T: Field>(name: &'static str, field: &T) -> (&'static str, Value) {
            (name, value_of(field))
        }
        vec![
            object("env", &self.env),
            object("resources", &self.resources),
            object("volumes", &self.volumes),
            object("volume_mounts", &self.volume_mounts),
            object("affinity", &self.affinity),
            object("tolerations", &self.tolerations),
            object("security_context", &self.security_context),
        ]
    }
}

/// `64Mi`: bytes in the largest binary unit that divides them.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, shift) in [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
