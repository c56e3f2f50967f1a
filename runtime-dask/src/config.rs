//! What the kind `dask` reads of a function beside what all kinds have.

use runtime_core::{
    Error, Function, Result,
    plan::Limits,
    pod::{Quantity, format_bytes},
    serde_json::{self, Value},
};

/// The fields that it adds to `spec`.
pub(crate) const FIELDS: [&str; 6] = [
    "min_replicas",
    "max_replicas",
    "nthreads",
    "worker_resources",
    "scheduler_resources",
    "scheduler_timeout",
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

/// What the kind `dask` reads of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaskConfig {
    /// How many workers there are.
    pub workers: Workers,
    /// Threads of a worker (`spec.nthreads`).
    pub nthreads: u32,
    /// What a worker may use (`spec.worker_resources.limits`).
    pub worker: Limits,
    /// What the scheduler may use (`spec.scheduler_resources.limits`).
    pub scheduler: Limits,
    /// After which time without work the scheduler ends, as Dask writes it (`spec.scheduler_timeout`: `60 minutes`).
    pub scheduler_timeout: Option<String>,
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
        let worker = limits("worker_resources", field("worker_resources"))?;
        if let Some(memory) = worker.memory.filter(|memory| *memory < LEAST_MEMORY) {
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
            scheduler: limits("scheduler_resources", field("scheduler_resources"))?,
            scheduler_timeout: field("scheduler_timeout").map(timeout).transpose()?.flatten(),
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

/// `limits` of resources as Kubernetes has them. What is asked for (`requests`) is a matter of clusters.
fn limits(name: &str, value: Option<&Value>) -> Result<Limits> {
    let Some(value) = value else { return Ok(Limits::default()) };
    let place = format!("spec.{name}");
    let Some(resources) = value.as_object() else {
        return Err(
            Error::invalid(place, format!("{value} is no mapping")).help("{limits: {cpu: 1, memory: 2Gi}}")
        );
    };
    if let Some(odd) = resources.keys().find(|key| !matches!(key.as_str(), "limits" | "requests" | "claims"))
    {
        return Err(
            Error::invalid(format!("{place}.{odd}"), "there is no such field").help("limits, or requests")
        );
    }
    let amounts = |part: &str| match resources.get(part) {
        None | Some(Value::Null) => Ok(serde_json::Map::new()),
        Some(Value::Object(amounts)) => Ok(amounts.clone()),
        Some(other) => Err(Error::invalid(format!("{place}.{part}"), format!("{other} is no mapping"))
            .help("{cpu: 1, memory: 2Gi}")),
    };
    let mut found = Limits::default();
    for part in ["requests", "limits"] {
        for (resource, amount) in amounts(part)? {
            let at = |error: Error| error.at(format!("{place}.{part}.{resource}"));
            let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            let quantity: Quantity = text.parse().map_err(at)?;
            match (part, resource.as_str()) {
                ("limits", "memory") => found.memory = Some(quantity.units()),
                ("limits", "cpu") => found.cpu = Some(quantity.millis()),
                _ => {}
            }
        }
    }
    Ok(found)
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
