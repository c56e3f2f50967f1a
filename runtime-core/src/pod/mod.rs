//! What all kinds that run as pods share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};

/// What all kinds that run as pods share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodSpec {
    /// Environment.
    #[serde(default)]
    pub env: Vec<core::EnvVar>,
    /// Resources.
    #[serde(default)]
    pub resources: core::ResourceRequirements,
    /// State thresholds.
    #[serde(default)]
    pub state_thresholds: BTreeMap<String, String>,
}

/// `64Mi`: bytes in the largest binary unit that divides them.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, shift) in [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
        if bytes >= 1 << shift && bytes % (1 << shift) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
