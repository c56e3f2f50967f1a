//! What the kind `mpijob` reads of a function beside what all kinds have.

use runtime_core::{
    Error, ErrorKind, Function, Result, Run,
    cluster::Cluster,
    k8s_openapi::api::core::v1::ResourceRequirements,
    naming,
    serde_json::{Map, Value},
    yaml,
};
use serde::{Deserialize, Serialize};

use crate::horovod::{Autotune, Tracing};

/// The fields that it adds to `spec`.
pub(crate) const FIELDS: [&str; 17] = [
    "agent",
    "slots_per_worker",
    "mpi_args",
    "clean_pod_policy",
    "api_version",
    "launcher_resources",
    "launcher_creation_policy",
    "run_launcher_as_worker",
    "mpi_implementation",
    "ssh_auth_mount_path",
    "backoff_limit",
    "ttl_seconds_after_finished",
    "suspend",
    "queue_name",
    "scheduling_policy",
    "tracing",
    "autotune",
];

/// Those of them that only a cluster reads. `clean_pod_policy` is one, too; MLRun writes it into every function.
pub(crate) const OF_CLUSTERS: [&str; 11] = [
    "api_version",
    "launcher_resources",
    "launcher_creation_policy",
    "run_launcher_as_worker",
    "mpi_implementation",
    "ssh_auth_mount_path",
    "backoff_limit",
    "ttl_seconds_after_finished",
    "suspend",
    "queue_name",
    "scheduling_policy",
];

/// More workers, or slots of one, than anybody means.
const MOST: i64 = 10_000;

/// Where a run says how many slots a worker has.
const OF_RUN: &str = "run.spec.parameters.slots_per_worker";

/// How long an MPIJob that has ended is kept where nobody takes it away: a week.
const TTL: i32 = 7 * 24 * 3600;

/// The version of Kubeflow's MPIJob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The one of today, whose ranks are reached by SSH.
    #[serde(rename = "kubeflow.org/v2beta1", alias = "v2beta1")]
    V2beta1,
    /// The older one, which MLRun sends.
    #[serde(rename = "kubeflow.org/v1", alias = "v1")]
    V1,
}

impl Version {
    /// Group and version, as an object has them.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V2beta1 => "kubeflow.org/v2beta1",
            Self::V1 => "kubeflow.org/v1",
        }
    }
}

/// Which pods go when the job has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CleanPodPolicy {
    /// All of the workers.
    All,
    /// Those that still run.
    #[default]
    Running,
    /// None.
    None,
}

/// When the launcher is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LauncherCreation {
    /// With the workers, which it then looks for.
    AtStartup,
    /// When all workers are there.
    #[default]
    WaitForWorkersReady,
}

/// Whose MPI is in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// Open MPI.
    #[default]
    OpenMPI,
    /// Intel MPI.
    Intel,
    /// MPICH.
    MPICH,
}

/// What the cluster's scheduler of groups is told (`schedulingPolicy`): all pods, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduling {
    /// How many pods must find a place, so that any is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<u32>,
    /// The scheduler's queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// How much must be free, by resource: `{cpu: "8"}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub min_resources: Map<String, Value>,
    /// The group's priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// After how many seconds without a place it is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_timeout_seconds: Option<u32>,
}

/// What the kind `mpijob` reads of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MpiConfig {
    /// How many workers there are (`spec.replicas`).
    pub replicas: i64,
    /// How many ranks each of them has (`spec.slots_per_worker`, or the run's parameter of that name).
    pub slots_per_worker: i64,
    /// What `mpirun` is told beside what it is told here (`spec.mpi_args`).
    pub mpi_args: Vec<String>,
    /// Which pods go when the job has ended (`spec.clean_pod_policy`).
    pub clean_pod_policy: CleanPodPolicy,
    /// Which MPIJob is made (`spec.api_version`); `None`: the newest that the cluster serves.
    pub api_version: Option<Version>,
    /// What the launcher may use, which only starts the others (`spec.launcher_resources`).
    pub launcher_resources: Option<ResourceRequirements>,
    /// When the launcher is made (`spec.launcher_creation_policy`).
    pub launcher_creation_policy: LauncherCreation,
    /// Whether ranks run beside the launcher, too (`spec.run_launcher_as_worker`).
    pub run_launcher_as_worker: bool,
    /// Whose MPI is in the image (`spec.mpi_implementation`).
    pub mpi_implementation: Implementation,
    /// Where the keys for SSH are mounted, below the home of the image's user (`spec.ssh_auth_mount_path`).
    pub ssh_auth_mount_path: Option<String>,
    /// How often the cluster starts the launcher again (`spec.backoff_limit`). Whoever keeps the run's record tries again
    /// by the run's own policy.
    pub backoff_limit: u32,
    /// How long a job that has ended is kept where nobody takes it away (`spec.ttl_seconds_after_finished`).
    pub ttl_seconds_after_finished: i32,
    /// Whether it waits until somebody else lets it go on (`spec.suspend`).
    pub suspend: bool,
    /// The queue of Kueue in which it waits (`spec.queue_name`); empty: none.
    pub queue_name: String,
    /// What the cluster's scheduler of groups is told (`spec.scheduling_policy`).
    pub scheduling_policy: Option<Scheduling>,
    /// Horovod's timeline (`spec.tracing`).
    pub tracing: Option<Tracing>,
    /// Horovod's tuning of itself (`spec.autotune`).
    pub autotune: Option<Autotune>,
}

impl Default for MpiConfig {
    fn default() -> Self {
        Self {
            replicas: 1,
            slots_per_worker: 1,
            mpi_args: Vec::new(),
            clean_pod_policy: CleanPodPolicy::default(),
            api_version: None,
            launcher_resources: None,
            launcher_creation_policy: LauncherCreation::default(),
            run_launcher_as_worker: false,
            mpi_implementation: Implementation::default(),
            ssh_auth_mount_path: None,
            backoff_limit: 0,
            ttl_seconds_after_finished: TTL,
            suspend: false,
            queue_name: String::new(),
            scheduling_policy: None,
            tracing: None,
            autotune: None,
        }
    }
}

impl MpiConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn of(function: &Function, run: &Run) -> Result<Self> {
        let own = FIELDS.iter().filter(|name| **name != "agent");
        let set = own.filter_map(|name| Some((*name, function.spec.extra.get(*name)?)));
        // Empty is as good as absent in what MLRun writes.
        let set = set.filter(|(_, value)| !value.is_null() && *value != "");
        let fields: Map<_, _> = set.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let mut config: Self = yaml::from_value(&Value::Object(fields), "spec").map_err(with_help)?;
        config.replicas = function.spec.pod.replicas.map_or(1, i64::from);
        config.validate()?;
        // MLRun's users write it among the parameters of a run.
        if let Some(slots) = run.spec.parameters.get("slots_per_worker").filter(|slots| !slots.is_null()) {
            let slots = slots.as_i64().ok_or_else(|| wrong_count(OF_RUN, slots, "slots"))?;
            config.slots_per_worker = counted(OF_RUN, slots, "slots")?;
        }
        Ok(config)
    }

    fn validate(&self) -> Result<()> {
        for (name, number, of) in
            [("replicas", self.replicas, "workers"), ("slots_per_worker", self.slots_per_worker, "slots")]
        {
            counted(&format!("spec.{name}"), number, of)?;
        }
        if let Some(path) = self.ssh_auth_mount_path.as_deref().filter(|path| !path.starts_with('/')) {
            return Err(Error::invalid("spec.ssh_auth_mount_path", format!("{path:?} is no absolute path"))
                .help("such as /home/mpiuser/.ssh"));
        }
        if self.ttl_seconds_after_finished < 0 {
            let what = format!("{} is no number of seconds", self.ttl_seconds_after_finished);
            return Err(
                Error::invalid("spec.ttl_seconds_after_finished", what).help("0 or more, such as 3600")
            );
        }
        if !self.queue_name.is_empty() {
            naming::check("spec.queue_name", &self.queue_name)?;
        }
        let pods = self.replicas + 1;
        if let Some(least) = self.scheduling_policy.as_ref().and_then(|policy| policy.min_available)
            && i64::from(least) > pods
        {
            return Err(Error::invalid(
                "spec.scheduling_policy.min_available",
                format!("{least} is more than there are pods, {pods}"),
            )
            .help("at most one for each worker, and one for the launcher"));
        }
        self.autotune.as_ref().map_or(Ok(()), Autotune::validate)
    }

    /// Which MPIJob is made there.
    ///
    /// # Errors
    /// `Unsupported`, where the cluster has none of this version, or none at all.
    pub(crate) fn version(&self, cluster: &Cluster) -> Result<Version> {
        let is_missing = |version: &Version| cluster.serves(version.as_str()) == Some(false);
        let wanted = match self.api_version {
            Some(version) => vec![version],
            None => vec![Version::V2beta1, Version::V1],
        };
        if let Some(version) = wanted.iter().find(|version| !is_missing(version)) {
            return Ok(*version);
        }
        let names: Vec<_> = wanted.iter().map(|version| version.as_str()).collect();
        let message = format!("this cluster knows no MPIJob of {}", names.join(" or "));
        Err(Error::new(ErrorKind::Unsupported, message)
            .at(if self.api_version.is_some() { "spec.api_version" } else { "kind" })
            .help(match self.api_version {
                // The training operator has it.
                Some(Version::V1) => {
                    "install Kubeflow's training operator \
                     (kubectl apply -k github.com/kubeflow/training-operator/manifests/overlays/standalone?ref=v1.8.1), \
                     or leave `api_version` out"
                }
                _ => {
                    "install the MPI operator (kubectl apply --server-side -f \
                     https://raw.githubusercontent.com/kubeflow/mpi-operator/v0.6.0/deploy/v2beta1/mpi-operator.yaml)"
                }
            }))
    }
}

fn counted(place: &str, number: i64, of: &str) -> Result<i64> {
    if (1..=MOST).contains(&number) { Ok(number) } else { Err(wrong_count(place, &number.into(), of)) }
}

fn wrong_count(place: &str, number: &Value, of: &str) -> Error {
    Error::invalid(place, format!("{number} is no number of {of}"))
        .help(format!("a whole number from 1 to {MOST}"))
}

/// Says what would be right, where only what is wrong was said.
fn with_help(error: Error) -> Error {
    let name = error.location().unwrap_or_default().split(['.', '[']).nth(1).unwrap_or_default();
    let right = match name {
        _ if error.help_text().is_some() => return error,
        "mpi_args" => "a list of what mpirun is told, one word each: [-x, NCCL_DEBUG, --map-by, core]",
        "slots_per_worker" => "a whole number of ranks for each worker, 1 or more",
        "clean_pod_policy" => "All, Running or None",
        "api_version" => "kubeflow.org/v2beta1 or kubeflow.org/v1",
        "launcher_resources" => "{limits: {cpu: 1, memory: 1Gi}}",
        "launcher_creation_policy" => "WaitForWorkersReady or AtStartup",
        "mpi_implementation" => "OpenMPI, Intel or MPICH",
        "backoff_limit" | "ttl_seconds_after_finished" => "a whole number, 0 or more",
        "tracing" => "{path: /tmp/timeline.json, mark_cycles: true}",
        "autotune" => "{log: /tmp/autotune.csv, warmup_samples: 3}",
        "scheduling_policy" => "{min_available: 3, queue: training}",
        _ => return error,
    };
    error.help(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_it_is_read() {
        let text = "slots_per_worker: 2\nmpi_args: [-x, A]\napi_version: v1\nautotune: {log: /l, steps_per_sample: 4}\n\
                    scheduling_policy: {min_available: 2, min_resources: {cpu: '8'}}\nlauncher_resources: {limits: {cpu: '1'}}\n";
        let config: MpiConfig = yaml::from_str(text, "config.yaml").unwrap();
        assert_eq!((config.slots_per_worker, config.api_version), (2, Some(Version::V1)));
        let again = yaml::to_string(&config).unwrap();
        assert_eq!(yaml::from_str::<MpiConfig>(&again, "again.yaml").unwrap(), config);
    }

    #[test]
    fn the_newest_that_is_served() {
        let config = MpiConfig::default();
        let mut cluster = Cluster::default();
        assert_eq!(config.version(&cluster).unwrap(), Version::V2beta1);
        cluster.api_versions = Some(["kubeflow.org/v1".to_owned()].into());
        assert_eq!(config.version(&cluster).unwrap(), Version::V1);
        let named = MpiConfig { api_version: Some(Version::V2beta1), ..config.clone() };
        let error = named.version(&cluster).unwrap_err();
        assert_eq!((error.kind(), error.location()), (ErrorKind::Unsupported, Some("spec.api_version")));
        cluster.api_versions = Some(["apps/v1".to_owned()].into());
        let error = config.version(&cluster).unwrap_err();
        assert!(error.message().contains("kubeflow.org/v2beta1 or kubeflow.org/v1"), "{error}");
        assert!(error.help_text().unwrap().contains("kubectl apply"), "{error:?}");
    }
}
