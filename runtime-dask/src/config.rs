//! What the kind `dask` reads of a function beside what all kinds have.

use runtime_core::{
    Error, Function, Result,
    cluster::{Agent, JobOptions},
    k8s_openapi::{
        api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Amount,
    },
    plan::Limits,
    pod::{Quantity, format_bytes},
    serde_json::Value,
};

/// The fields that it adds to `spec`.
pub(crate) const FIELDS: [&str; 12] = [
    "min_replicas",
    "max_replicas",
    "nthreads",
    "worker_resources",
    "scheduler_resources",
    "scheduler_timeout",
    "agent",
    "engine",
    "service_type",
    "node_port",
    "extra_pip",
    JobOptions::FIELDS[1],
];

/// The memory of a worker that has loaded Dask and nothing else is about 100 MB; with less than this it never works.
const LEAST_MEMORY: u64 = 200_000_000;

/// More workers than anybody means.
const MOST: u32 = 10_000;

/// Units of Dask's durations, without the plural's `s`.
const UNITS: [&str; 14] = [
    "",
    "s",
    "sec",
    "second",
    "ms",
    "millisecond",
    "us",
    "microsecond",
    "m",
    "min",
    "minute",
    "h",
    "hour",
    "day",
];

/// How many workers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// So many (`spec.replicas`).
    Fixed(u32),
    /// As many as there is work for.
    Adaptive {
        /// At least so many (`spec.min_replicas`).
        min: u32,
        /// At most so many (`spec.max_replicas`); `None`: as many as there are CPUs.
        max: Option<u32>,
    },
}

/// What makes scheduler and workers on a cluster (`spec.engine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Dask's operator: `operator`.
    Operator,
    /// The cluster itself, by Deployments: `plain`.
    Plain,
}

/// How the scheduler's Service is reached (`spec.service_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Inside of the cluster.
    #[default]
    ClusterIP,
    /// At a port of each node.
    NodePort,
    /// At an address of its own.
    LoadBalancer,
}

impl ServiceType {
    const ALL: [Self; 3] = [Self::ClusterIP, Self::NodePort, Self::LoadBalancer];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// What a part of the cluster may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// The limits, as a process of this machine has them.
    pub limits: Limits,
    /// All of them, as a container has them.
    pub requirements: ResourceRequirements,
}

/// What the kind `dask` reads of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct DaskConfig {
    /// How many workers there are.
    pub workers: Workers,
    /// Threads of a worker (`spec.nthreads`).
    pub nthreads: u32,
    /// What a worker may use (`spec.worker_resources`).
    pub worker: Resources,
    /// What the scheduler may use (`spec.scheduler_resources`).
    pub scheduler: Resources,
    /// After which time without work the scheduler ends, as Dask writes it (`spec.scheduler_timeout`: `60 minutes`).
    pub scheduler_timeout: Option<String>,
    /// Who runs the run's own code in its container (`spec.agent`: `runtimes` or `mlrun`).
    pub agent: Agent,
    /// What makes the cluster (`spec.engine`); `None`: Dask's operator where it is there.
    pub engine: Option<Engine>,
    /// How the scheduler's Service is reached (`spec.service_type`).
    pub service_type: ServiceType,
    /// The port of each node at which the dashboard is (`spec.node_port`).
    pub node_port: Option<i32>,
    /// Packages that images of Dask install when they start (`spec.extra_pip`).
    pub extra_pip: Option<String>,
    /// How the driver's Job is made (`spec.ttl_seconds_after_finished`).
    pub job: JobOptions,
}

impl DaskConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn of(function: &Function) -> Result<Self> {
        let field = |name: &str| function.spec.extra.get(name).filter(|value| !value.is_null());
        let count = |name: &str, least| field(name).map(|value| count(name, value, least)).transpose();
        let (min, max) = (count("min_replicas", 0)?, count("max_replicas", 1)?);
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            return Err(Error::invalid(
                "spec.min_replicas",
                format!("{min} is more than max_replicas, {max}"),
            )
            .help("at most as many as max_replicas"));
        }
        let workers = match function.spec.pod.replicas {
            Some(replicas) => Workers::Fixed(self::count("replicas", &replicas.into(), 1)?),
            None => Workers::Adaptive { min: min.unwrap_or(0), max },
        };
        let worker = resources("worker_resources", field("worker_resources"))?;
        if let Some(memory) = worker.limits.memory.filter(|memory| *memory < LEAST_MEMORY) {
            return Err(Error::invalid(
                "spec.worker_resources.limits.memory",
                format!("{} is less than a worker of Dask needs to begin", format_bytes(memory)),
            )
            .help("200M or more; 1Gi is a usual amount"));
        }
        Ok(Self {
            workers,
            nthreads: count("nthreads", 1)?.unwrap_or(1),
            worker,
            scheduler: resources("scheduler_resources", field("scheduler_resources"))?,
            scheduler_timeout: field("scheduler_timeout").map(timeout).transpose()?.flatten(),
            agent: Agent::of(function)?,
            engine: field("engine").map(engine).transpose()?,
            service_type: field("service_type").map_or(Ok(ServiceType::default()), service_type)?,
            node_port: field("node_port").map(node_port).transpose()?.flatten(),
            extra_pip: field("extra_pip").map(extra_pip).transpose()?.flatten(),
            job: JobOptions::of(function)?,
        })
    }
}

fn count(name: &str, value: &Value, least: u32) -> Result<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| (least..=MOST).contains(number)).ok_or_else(|| {
        let error = Error::invalid(format!("spec.{name}"), format!("{value} is no number of {}", of(name)));
        match name {
            "replicas" => error.help("1 or more; leave it out for as many as there is work for, between min_replicas and max_replicas"),
            _ => error.help(format!("a whole number from {least} to {MOST}")),
        }
    })
}

fn of(name: &str) -> &'static str {
    if name == "nthreads" { "threads" } else { "workers" }
}

/// Resources as Kubernetes has them.
fn resources(name: &str, value: Option<&Value>) -> Result<Resources> {
    let Some(value) = value else { return Ok(Resources::default()) };
    let place = format!("spec.{name}");
    let Some(parts) = value.as_object() else {
        return Err(
            Error::invalid(place, format!("{value} is no mapping")).help("{limits: {cpu: 1, memory: 2Gi}}")
        );
    };
    if let Some(odd) = parts.keys().find(|key| !matches!(key.as_str(), "limits" | "requests")) {
        return Err(
            Error::invalid(format!("{place}.{odd}"), "there is no such field").help("limits, or requests")
        );
    }
    let mut found = Resources::default();
    for part in ["requests", "limits"] {
        let amounts = match parts.get(part) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(amounts)) => amounts,
            Some(other) => {
                return Err(Error::invalid(format!("{place}.{part}"), format!("{other} is no mapping"))
                    .help("{cpu: 1, memory: 2Gi}"));
            }
        };
        for (resource, amount) in amounts {
            let at = |error: Error| error.at(format!("{place}.{part}.{resource}"));
            let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            let quantity: Quantity = text.parse().map_err(at)?;
            match (part, resource.as_str()) {
                ("limits", "memory") => found.limits.memory = Some(quantity.units()),
                ("limits", "cpu") => found.limits.cpu = Some(quantity.millis()),
                _ => {}
            }
            let all = match part {
                "limits" => &mut found.requirements.limits,
                _ => &mut found.requirements.requests,
            };
            all.get_or_insert_default().insert(resource.clone(), Amount(text));
        }
    }
    Ok(found)
}

fn engine(value: &Value) -> Result<Engine> {
    match value.as_str() {
        Some("operator") => Ok(Engine::Operator),
        Some("plain") => Ok(Engine::Plain),
        _ => Err(Error::invalid("spec.engine", format!("{value} makes no Dask cluster")).help(
            "`operator` for Dask's operator, `plain` for Deployments; without it, what the cluster has",
        )),
    }
}

fn service_type(value: &Value) -> Result<ServiceType> {
    let known = |text: &str| ServiceType::ALL.into_iter().find(|known| known.as_str() == text);
    match value.as_str() {
        Some("") => Ok(ServiceType::default()),
        text => text.and_then(known).ok_or_else(|| {
            Error::invalid("spec.service_type", format!("{value} is no type of Service"))
                .help("ClusterIP, NodePort or LoadBalancer")
        }),
    }
}

/// A port of nodes; MLRun writes 0 for none.
fn node_port(value: &Value) -> Result<Option<i32>> {
    let number = value.as_str().map_or_else(|| value.as_i64(), |text| text.trim().parse().ok());
    match number.and_then(|number| i32::try_from(number).ok()) {
        Some(0) => Ok(None),
        Some(port @ 1..=65535) => Ok(Some(port)),
        _ => Err(Error::invalid("spec.node_port", format!("{value} is no port"))
            .help("a port of nodes, which clusters have between 30000 and 32767 mostly")),
    }
}

/// Packages with spaces between them; MLRun writes the variable that carries them.
fn extra_pip(value: &Value) -> Result<Option<String>> {
    let text = match value {
        Value::String(text) => Some(text.as_str()),
        Value::Object(variable) => variable.get("value").and_then(Value::as_str),
        _ => None,
    };
    let text = text.filter(|text| !text.contains(char::is_control)).ok_or_else(|| {
        Error::invalid("spec.extra_pip", format!("{value} names no packages")).help("such as `pandas s3fs`")
    })?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// A duration as Dask writes it: a number of seconds, or a number and a unit. `None`, where it is empty.
fn timeout(value: &Value) -> Result<Option<String>> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let known =
        UNITS.contains(&unit.as_str()) || unit.strip_suffix('s').is_some_and(|unit| UNITS.contains(&unit));
    if !known || !number.parse::<f64>().is_ok_and(|number| number > 0.0) {
        return Err(Error::invalid("spec.scheduler_timeout", format!("{text:?} is no duration"))
            .help("such as `60 minutes`, `1h` or `90s`"));
    }
    Ok(Some(text))
}
