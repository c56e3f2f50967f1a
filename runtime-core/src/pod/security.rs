//! Users and rights.

use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Result,
    function::fields::{Field, without_nulls},
    yaml,
};

/// Users and rights of a function's pods. MLRun writes the fields of a container and of a pod into one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecurityContext {
    /// What a container may have.
    #[serde(flatten)]
    pub container: core::SecurityContext,
    /// The group that owns the volumes; a pod's.
    #[serde(default, rename = "fsGroup", skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// When the owner of the volumes is changed; a pod's.
    #[serde(default, rename = "fsGroupChangePolicy", skip_serializing_if = "Option::is_none")]
    pub fs_group_change_policy: Option<String>,
    /// Further groups of the first process; a pod's.
    #[serde(default, rename = "supplementalGroups", skip_serializing_if = "Option::is_none")]
    pub supplemental_groups: Option<Vec<i64>>,
    /// Kernel parameters; a pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<Vec<core::Sysctl>>,
}

impl Field for Option<SecurityContext> {
    /// Both parts by themselves: a flattened one loses the path of what is wrong.
    fn read(value: &Value, path: &str) -> Result<Self> {
        let value = without_nulls(value, &[]);
        let container: core::SecurityContext = yaml::from_value(&value, path)?;
        let pod: core::PodSecurityContext = yaml::from_value(&value, path)?;
        Ok(Some(SecurityContext {
            container,
            fs_group: pod.fs_group,
            fs_group_change_policy: pod.fs_group_change_policy,
            supplemental_groups: pod.supplemental_groups,
            sysctls: pod.sysctls,
        }))
    }
}

impl From<core::SecurityContext> for SecurityContext {
    fn from(container: core::SecurityContext) -> Self {
        Self { container, ..Self::default() }
    }
}

impl SecurityContext {
    /// The part of it that only a container can have; `None` where there is none.
    pub fn to_container(&self) -> Option<core::SecurityContext> {
        let container = core::SecurityContext {
            allow_privilege_escalation: self.container.allow_privilege_escalation,
            capabilities: self.container.capabilities.clone(),
            privileged: self.container.privileged,
            proc_mount: self.container.proc_mount.clone(),
            read_only_root_filesystem: self.container.read_only_root_filesystem,
            ..core::SecurityContext::default()
        };
        (container != core::SecurityContext::default()).then_some(container)
    }

    /// The part of it that a pod can have.
    pub fn to_pod(&self) -> core::PodSecurityContext {
        core::PodSecurityContext {
            app_armor_profile: self.container.app_armor_profile.clone(),
            fs_group: self.fs_group,
            fs_group_change_policy: self.fs_group_change_policy.clone(),
            run_as_group: self.container.run_as_group,
            run_as_non_root: self.container.run_as_non_root,
            run_as_user: self.container.run_as_user,
            se_linux_options: self.container.se_linux_options.clone(),
            seccomp_profile: self.container.seccomp_profile.clone(),
            supplemental_groups: self.supplemental_groups.clone(),
            sysctls: self.sysctls.clone(),
            windows_options: self.container.windows_options.clone(),
            ..core::PodSecurityContext::default()
        }
    }
}
