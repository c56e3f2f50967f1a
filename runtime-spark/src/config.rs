//! What the kind `spark` reads of a function beside what all kinds have.

use std::collections::BTreeMap;

use runtime_core::{
    Error, Function, Result,
    k8s_openapi::{
        api::core::v1::{Affinity, ResourceRequirements, Toleration, VolumeMount},
        apimachinery::pkg::api::resource::Quantity as Amount,
    },
    pod::Quantity,
    serde_json::{Map, Value},
    yaml,
};
use serde::{Deserialize, Serialize};

use crate::memory;

/// The fields that it adds to `spec`.
pub(crate) const FIELDS: [&str; 32] = [
    "agent",
    "job_type",
    "main_class",
    "python_version",
    "spark_version",
    "deps",
    "spark_conf",
    "hadoop_conf",
    "restart_policy",
    "dynamic_allocation",
    "monitoring",
    "use_default_image",
    "driver_resources",
    "executor_resources",
    "driver_cores",
    "executor_cores",
    "driver_java_options",
    "executor_java_options",
    "driver_memory_overhead",
    "executor_memory_overhead",
    "driver_node_selector",
    "executor_node_selector",
    "driver_tolerations",
    "executor_tolerations",
    "driver_affinity",
    "executor_affinity",
    "driver_preemption_mode",
    "executor_preemption_mode",
    "driver_volume_mounts",
    "executor_volume_mounts",
    "time_to_live_seconds",
    "suspend",
];

/// Those of them that only a cluster reads. MLRun writes the preemption modes into every function.
pub(crate) const OF_CLUSTERS: [&str; 15] = [
    "restart_policy",
    "monitoring",
    "driver_cores",
    "driver_memory_overhead",
    "executor_memory_overhead",
    "driver_node_selector",
    "executor_node_selector",
    "driver_tolerations",
    "executor_tolerations",
    "driver_affinity",
    "executor_affinity",
    "driver_volume_mounts",
    "executor_volume_mounts",
    "time_to_live_seconds",
    "suspend",
];

/// More executors, or cores of one, than anybody means.
const MOST: i64 = 10_000;

/// How many executors there may be on this machine where nobody says how many.
const UNBOUND: i64 = 4;

/// What the code is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobType {
    /// A Python file, or a handler in it.
    #[default]
    Python,
    /// A jar with a class of Java.
    Java,
    /// A jar with a class of Scala.
    Scala,
    /// A file of R.
    R,
}

/// What the application needs beside its code. Addresses are those that `spark-submit` takes: `local:///…` is in the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Deps {
    /// Jars on the class path of driver and executors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jars: Vec<String>,
    /// Files in the working folder of each executor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Python files and archives that can be imported.
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "py_files")]
    pub py_files: Vec<String>,
    /// Maven coordinates, `group:artifact:version`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Where these are looked for beside Maven Central.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Those of their own packages that are left out, `group:artifact`.
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "exclude_packages")]
    pub exclude_packages: Vec<String>,
}

/// When the operator starts the application again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// `OnFailure`, `Always` or `Never`.
    #[serde(rename = "type")]
    pub restart: Restart,
    /// How often, where it failed.
    pub retries: u32,
    /// After how many seconds.
    pub retry_interval: u32,
    /// How often, where it could not be submitted.
    pub submission_retries: u32,
    /// After how many seconds.
    pub submission_retry_interval: u32,
}

/// Whether it is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Where it failed.
    #[default]
    OnFailure,
    /// Whenever it ended.
    Always,
    /// Not.
    Never,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            restart: Restart::OnFailure,
            retries: 0,
            retry_interval: 10,
            submission_retries: 3,
            submission_retry_interval: 20,
        }
    }
}

/// As many executors as there is work for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DynamicAllocation {
    /// Whether it is so.
    pub enabled: bool,
    /// How many there are at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_executors: Option<u32>,
    /// At least so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_executors: Option<u32>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_executors: Option<u32>,
    /// For how long, in milliseconds, an executor is kept for what it shuffled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffle_tracking_timeout: Option<u64>,
}

/// Metrics for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Monitoring {
    /// Whether there are any.
    pub enabled: bool,
    /// The jar of the exporter, in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter_jar: Option<String>,
}

/// What the kind `spark` reads of a function. What is said of the driver or the executors alone counts more than what is said
/// of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SparkConfig {
    /// What the code is written in (`spec.job_type`).
    pub job_type: JobType,
    /// The class that is started (`spec.main_class`).
    pub main_class: Option<String>,
    /// The version of Python (`spec.python_version`), which is 3.
    pub python_version: Option<String>,
    /// The version of Spark (`spec.spark_version`).
    pub spark_version: Option<String>,
    /// What the application needs (`spec.deps`).
    pub deps: Deps,
    /// Settings of Spark (`spec.spark_conf`).
    pub spark_conf: BTreeMap<String, Value>,
    /// Settings of Hadoop (`spec.hadoop_conf`).
    pub hadoop_conf: BTreeMap<String, Value>,
    /// When the operator starts it again (`spec.restart_policy`).
    pub restart_policy: Option<RestartPolicy>,
    /// As many executors as there is work for (`spec.dynamic_allocation`).
    pub dynamic_allocation: DynamicAllocation,
    /// Metrics (`spec.monitoring`).
    pub monitoring: Monitoring,
    /// Whether MLRun's own image is taken where there is none (`spec.use_default_image`).
    pub use_default_image: bool,
    /// What the driver may use (`spec.driver_resources`).
    pub driver_resources: ResourceRequirements,
    /// What an executor may use (`spec.executor_resources`).
    pub executor_resources: ResourceRequirements,
    /// Threads of the driver (`spec.driver_cores`).
    pub driver_cores: Option<i64>,
    /// Tasks of an executor at a time (`spec.executor_cores`).
    pub executor_cores: Option<i64>,
    /// Options of the driver's Java (`spec.driver_java_options`).
    pub driver_java_options: Option<String>,
    /// Options of the executors' Java (`spec.executor_java_options`).
    pub executor_java_options: Option<String>,
    /// Memory of the driver's pod beside Java's (`spec.driver_memory_overhead`).
    pub driver_memory_overhead: Option<String>,
    /// Memory of an executor's pod beside Java's (`spec.executor_memory_overhead`).
    pub executor_memory_overhead: Option<String>,
    /// Labels of the driver's node (`spec.driver_node_selector`).
    pub driver_node_selector: Option<BTreeMap<String, String>>,
    /// Labels of the executors' nodes (`spec.executor_node_selector`).
    pub executor_node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the driver bears (`spec.driver_tolerations`).
    pub driver_tolerations: Option<Vec<Toleration>>,
    /// Taints that executors bear (`spec.executor_tolerations`).
    pub executor_tolerations: Option<Vec<Toleration>>,
    /// Where the driver is to be (`spec.driver_affinity`).
    pub driver_affinity: Option<Affinity>,
    /// Where executors are to be (`spec.executor_affinity`).
    pub executor_affinity: Option<Affinity>,
    /// Whether the driver goes to preemptible nodes (`spec.driver_preemption_mode`).
    pub driver_preemption_mode: Option<String>,
    /// Whether executors go to preemptible nodes (`spec.executor_preemption_mode`).
    pub executor_preemption_mode: Option<String>,
    /// Volumes of the driver (`spec.driver_volume_mounts`).
    pub driver_volume_mounts: Vec<VolumeMount>,
    /// Volumes of executors (`spec.executor_volume_mounts`).
    pub executor_volume_mounts: Vec<VolumeMount>,
    /// How long an application that has ended is kept where nobody takes it away (`spec.time_to_live_seconds`).
    pub time_to_live_seconds: Option<i64>,
    /// Whether it waits until somebody else lets it go on (`spec.suspend`).
    pub suspend: bool,
    /// How many executors there are (`spec.replicas`).
    #[serde(skip)]
    pub replicas: Option<i64>,
}

impl SparkConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn of(function: &Function) -> Result<Self> {
        let own = FIELDS.iter().filter(|name| **name != "agent");
        let set = own.filter_map(|name| Some((*name, function.spec.extra.get(*name)?)));
        // Empty is as good as absent in what MLRun writes.
        let set = set.filter(|(_, value)| !value.is_null() && *value != "");
        let fields: Map<_, _> = set.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let mut config: Self = yaml::from_value(&Value::Object(fields), "spec").map_err(with_help)?;
        config.replicas = function.spec.pod.replicas.map(i64::from);
        config.validate(function)?;
        Ok(config)
    }

    /// Settings as text, as Spark has them.
    ///
    /// # Errors
    /// `Invalid`, naming the one that is neither a text, a number nor a truth value.
    pub fn settings(&self, hadoop: bool) -> Result<BTreeMap<String, String>> {
        let (field, settings) =
            if hadoop { ("hadoop_conf", &self.hadoop_conf) } else { ("spark_conf", &self.spark_conf) };
        settings
            .iter()
            .map(|(name, value)| {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(value) => value.to_string(),
                    Value::Number(number) => number.to_string(),
                    other => {
                        let place = format!("spec.{field}.{name}");
                        return Err(Error::invalid(place, format!("{other} is no value of a setting"))
                            .help("a text, a number, true or false"));
                    }
                };
                Ok((name.clone(), text))
            })
            .collect()
    }

    /// How many executors there are, where their number is fixed.
    pub fn executors(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }

    /// How many executors there may be at a time.
    pub(crate) fn most_executors(&self) -> i64 {
        let DynamicAllocation { enabled, initial_executors, min_executors, max_executors, .. } =
            self.dynamic_allocation;
        let known =
            [initial_executors, min_executors].into_iter().flatten().map(i64::from).max().unwrap_or(0);
        match max_executors {
            _ if !enabled => self.executors(),
            Some(max) => max.into(),
            None => known.max(self.executors()).max(UNBOUND),
        }
    }

    /// The memory of one of the parts, in mebibytes of Java's: what is requested, or the limit.
    ///
    /// # Errors
    /// `Invalid`, where it is no memory, or too little.
    pub(crate) fn memory(&self, part: &str, resources: &ResourceRequirements) -> Result<Option<u64>> {
        let of = |list: &str, amounts: &Option<BTreeMap<String, Amount>>| {
            let text = amounts.as_ref()?.get("memory")?.0.clone();
            Some(memory::heap(&text, &format!("spec.{part}_resources.{list}.memory")))
        };
        of("requests", &resources.requests).or_else(|| of("limits", &resources.limits)).transpose()
    }

    fn validate(&self, function: &Function) -> Result<()> {
        for (name, number) in [
            ("replicas", self.replicas),
            ("driver_cores", self.driver_cores),
            ("executor_cores", self.executor_cores),
        ] {
            if let Some(number) = number.filter(|number| !(1..=MOST).contains(number)) {
                let what = if name == "replicas" { "executors" } else { "cores" };
                return Err(Error::invalid(
                    format!("spec.{name}"),
                    format!("{number} is no number of {what}"),
                )
                .help(format!("a whole number from 1 to {MOST}")));
            }
        }
        if let Some(name) =
            function.spec.pod.resources.limits.iter().flatten().map(|(name, _)| name).find(is_gpu)
        {
            return Err(Error::invalid(
                format!("spec.resources.limits.{name}"),
                "GPUs are the driver's or the executors'",
            )
            .help("write them into `driver_resources.limits` or `executor_resources.limits`"));
        }
        for (part, resources) in [("driver", &self.driver_resources), ("executor", &self.executor_resources)]
        {
            check_resources(part, resources)?;
        }
        if self.job_type != JobType::Python && self.job_type != JobType::R && self.main_class.is_none() {
            return Err(Error::invalid(
                "spec.main_class",
                format!("is missing: {:?} needs one", self.job_type),
            )
            .help("the class whose `main` is started: org.example.Train"));
        }
        if let Some(version) = self.python_version.as_ref().filter(|version| !version.starts_with('3')) {
            return Err(Error::invalid("spec.python_version", format!("{version:?} is none that Spark has"))
                .help("'3', or nothing"));
        }
        if let Some(max) = self.dynamic_allocation.max_executors
            && let Some(min) = self.dynamic_allocation.min_executors.filter(|min| *min > max)
        {
            return Err(Error::invalid(
                "spec.dynamic_allocation.minExecutors",
                format!("{min} is more than maxExecutors, {max}"),
            )
            .help("at most as many as maxExecutors"));
        }
        if let Some(name) = ["spark.master", "spark.submit.deployMode"]
            .into_iter()
            .find(|name| self.spark_conf.contains_key(*name))
        {
            return Err(Error::invalid(format!("spec.spark_conf.{name}"), "is not the function's to say")
                .help("leave it out: `replicas` and `executor_cores` say how much of this machine is used; a cluster has its own"));
        }
        self.settings(false)?;
        self.settings(true)?;
        Ok(())
    }
}

/// Whether a resource is a GPU, as Spark takes it: a name of a maker's own.
pub(crate) fn is_gpu(name: &&String) -> bool {
    name.contains("/gpu") || name.ends_with(".com/mig")
}

/// Requests are at most the limits, and the memory is enough for Java.
fn check_resources(part: &str, resources: &ResourceRequirements) -> Result<()> {
    let place = |list: &str, name: &str| format!("spec.{part}_resources.{list}.{name}");
    let amount = |list: &str, name: &str, text: &str| match name {
        "memory" => memory::heap(text, &place(list, name)).map(u128::from),
        _ => text
            .parse::<Quantity>()
            .map(|it| u128::from(it.millis()))
            .map_err(|error| error.at(place(list, name))),
    };
    for (name, limit) in resources.limits.iter().flatten() {
        amount("limits", name, &limit.0)?;
    }
    for (name, request) in resources.requests.iter().flatten() {
        let wanted = amount("requests", name, &request.0)?;
        if let Some(limit) = resources.limits.as_ref().and_then(|limits| limits.get(name))
            && wanted > amount("limits", name, &limit.0)?
        {
            return Err(Error::invalid(
                place("requests", name),
                format!("{} is more than its limit, {}", request.0, limit.0),
            )
            .help("at most as much as the limit"));
        }
    }
    Ok(())
}

/// Says what would be right, where only what is wrong was said.
fn with_help(error: Error) -> Error {
    let name = error.location().unwrap_or_default().split(['.', '[']).nth(1).unwrap_or_default();
    let right = match name {
        _ if error.help_text().is_some() => return error,
        "job_type" => "Python, Java, Scala or R",
        "deps" => "{jars: [...], files: [...], pyFiles: [...], packages: [group:artifact:version]}",
        "spark_conf" | "hadoop_conf" => "settings by their names: {spark.sql.shuffle.partitions: 8}",
        "restart_policy" => "{type: OnFailure, retries: 2, retry_interval: 10}",
        "dynamic_allocation" => "{enabled: true, minExecutors: 1, maxExecutors: 8}",
        "monitoring" => "{enabled: true, exporter_jar: /spark/jars/jmx_prometheus_javaagent.jar}",
        "driver_resources" | "executor_resources" => "{requests: {cpu: '1', memory: 2g}, limits: {cpu: '2'}}",
        "python_version" => "'3', or nothing",
        "driver_cores" | "executor_cores" => "a whole number, 1 or more",
        _ => return error,
    };
    error.help(right)
}
