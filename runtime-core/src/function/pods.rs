//! Functions by methods that chain: resources, volumes, and where pods run.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::api::resource::Quantity as Text};

use super::Function;
use crate::{
    Result,
    pod::{GPU, SecurityContext, check_quantity},
};

impl Function {
    /// Sets how many GPUs it has, of this resource (`None`: `nvidia.com/gpu`).
    #[must_use]
    pub fn gpus(mut self, count: u32, gpu_type: Option<&str>) -> Self {
        let limits = self.spec.pod.resources.limits.get_or_insert_default();
        limits.insert(gpu_type.unwrap_or(GPU).to_owned(), Text(count.to_string()));
        self
    }

    /// Sets what it may use at most; what is `None` stays as it is.
    ///
    /// # Errors
    /// `Invalid`, where one of them is no quantity.
    pub fn with_limits(
        mut self,
        mem: Option<&str>,
        cpu: Option<&str>,
        gpus: Option<u32>,
        gpu_type: Option<&str>,
    ) -> Result<Self> {
        set(&mut self.spec.pod.resources.limits, "limits", mem, cpu)?;
        Ok(match gpus {
            Some(count) => self.gpus(count, gpu_type),
            None => self,
        })
    }

    /// Sets what is kept free for it; what is `None` stays as it is.
    ///
    /// # Errors
    /// `Invalid`, where one of them is no quantity.
    pub fn with_requests(mut self, mem: Option<&str>, cpu: Option<&str>) -> Result<Self> {
        set(&mut self.spec.pod.resources.requests, "requests", mem, cpu)?;
        Ok(self)
    }

    /// Sets how many of it run.
    #[must_use]
    pub fn with_replicas(mut self, replicas: u32) -> Self {
        self.spec.pod.replicas = Some(i32::try_from(replicas).unwrap_or(i32::MAX));
        self
    }

    /// Sets on which nodes it runs; what is `None` stays as it is.
    #[must_use]
    pub fn with_node_selection(
        mut self,
        node_name: Option<&str>,
        node_selector: Option<BTreeMap<String, String>>,
        affinity: Option<core::Affinity>,
        tolerations: Option<Vec<core::Toleration>>,
    ) -> Self {
        let pod = &mut self.spec.pod;
        if let Some(name) = node_name {
            pod.node_name = name.to_owned();
        }
        if let Some(selector) = node_selector {
            pod.node_selector = selector;
        }
        if affinity.is_some() {
            pod.affinity = affinity;
        }
        if let Some(tolerations) = tolerations {
            pod.tolerations = tolerations;
        }
        self
    }

    /// Sets its priority.
    #[must_use]
    pub fn with_priority_class(mut self, name: impl Into<String>) -> Self {
        self.spec.pod.priority_class_name = name.into();
        self
    }

    /// Sets whether it runs on preemptible nodes: `allow`, `constrain`, `prevent` or `none`.
    ///
    /// # Errors
    /// `Invalid`, where it is none of them.
    pub fn with_preemption_mode(mut self, mode: &str) -> Result<Self> {
        crate::pod::check_preemption_mode(mode)?;
        self.spec.pod.preemption_mode = mode.to_owned();
        Ok(self)
    }

    /// Sets its users and rights.
    #[must_use]
    pub fn with_security_context(mut self, context: impl Into<SecurityContext>) -> Self {
        self.spec.pod.security_context = Some(context.into());
        self
    }

    /// Sets how long its runs may stay in a state (`executing`, `24h`); the other states stay as they are.
    ///
    /// # Errors
    /// `Invalid`, for a state or a duration that is not known.
    pub fn with_state_thresholds<N: Into<String>, V: Into<String>>(
        mut self,
        thresholds: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self> {
        for (state, threshold) in thresholds {
            let (state, threshold) = (state.into(), threshold.into());
            crate::pod::check_threshold(&state, &threshold)?;
            self.spec.pod.state_thresholds.insert(state, threshold);
        }
        Ok(self)
    }

    /// Adds a volume, in place of one of that name.
    #[must_use]
    pub fn with_volume(mut self, volume: core::Volume) -> Self {
        let volumes = &mut self.spec.pod.volumes;
        match volumes.iter_mut().find(|other| other.name == volume.name) {
            Some(other) => *other = volume,
            None => volumes.push(volume),
        }
        self
    }

    /// Mounts a volume, in place of what was mounted at that path.
    #[must_use]
    pub fn with_volume_mount(mut self, mount: core::VolumeMount) -> Self {
        let mounts = &mut self.spec.pod.volume_mounts;
        match mounts.iter_mut().find(|other| other.mount_path == mount.mount_path) {
            Some(other) => *other = mount,
            None => mounts.push(mount),
        }
        self
    }

    /// Mounts a persistent volume claim. The volume has the claim's name.
    #[must_use]
    pub fn mount_pvc(self, claim: &str, path: &str) -> Self {
        let claim_source =
            core::PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: None };
        let volume = core::Volume { persistent_volume_claim: Some(claim_source), ..core::Volume::default() };
        self.mount(claim, volume, path)
    }

    /// Mounts the keys of a secret as files. The volume has the secret's name.
    #[must_use]
    pub fn mount_secret(self, secret: &str, path: &str) -> Self {
        let source = core::SecretVolumeSource { secret_name: Some(secret.to_owned()), ..Default::default() };
        self.mount(secret, core::Volume { secret: Some(source), ..core::Volume::default() }, path)
    }

    /// Mounts the keys of a config map as files. The volume has the map's name.
    #[must_use]
    pub fn mount_configmap(self, config_map: &str, path: &str) -> Self {
        let source = core::ConfigMapVolumeSource { name: config_map.to_owned(), ..Default::default() };
        self.mount(config_map, core::Volume { config_map: Some(source), ..core::Volume::default() }, path)
    }

    /// Mounts a folder of the node, by a volume of this name.
    #[must_use]
    pub fn mount_hostpath(self, name: &str, host_path: &str, path: &str) -> Self {
        let source = core::HostPathVolumeSource { path: host_path.to_owned(), type_: Some(String::new()) };
        self.mount(name, core::Volume { host_path: Some(source), ..core::Volume::default() }, path)
    }

    fn mount(self, name: &str, volume: core::Volume, path: &str) -> Self {
        // Names of volumes are labels; those of claims and secrets may have dots.
        let name = crate::naming::normalize(name);
        let mount =
            core::VolumeMount { name: name.clone(), mount_path: path.to_owned(), ..Default::default() };
        self.with_volume(core::Volume { name, ..volume }).with_volume_mount(mount)
    }
}

fn set(
    list: &mut Option<BTreeMap<String, Text>>,
    which: &str,
    mem: Option<&str>,
    cpu: Option<&str>,
) -> Result<()> {
    for (name, text) in [("memory", mem), ("cpu", cpu)] {
        if let Some(text) = text {
            check_quantity(name, text).map_err(|error| error.at(format!("spec.resources.{which}.{name}")))?;
            list.get_or_insert_default().insert(name.to_owned(), Text(text.to_owned()));
        }
    }
    Ok(())
}
