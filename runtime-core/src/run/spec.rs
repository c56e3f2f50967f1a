//! What was asked of a run.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{HyperParamOptions, Notification, Packages, Retry, SecretSources};
use crate::{Error, Result};

/// What was asked of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The function, with its exact version: `project/name@hash`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// The handler to call; empty: the function's default, or the whole program.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub handler: String,
    /// Parameters, given to the handler by name.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Inputs: a name, and where the data is (a path or URL).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// How the handler's return values are logged: `"accuracy"`, `"data:dataset"`, or an object with `key`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<Value>,
    /// Results that the user wants to see first.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Where artifacts go; empty: the orchestrator's choice.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub output_path: String,
    /// The folder against which inputs are read; empty: the base folder.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub input_path: String,
    /// `debug`, `info`, `warning` or `error`; empty: `info`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub log_level: String,
    /// How long it may stay in a state, by MLRun's names (`executing: 24h`); `-1`: for ever.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub state_thresholds: BTreeMap<String, String>,
    /// Type hints of inputs, by their names: what the code is given them as.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs_type_hints: BTreeMap<String, String>,
    /// Whether the code should say more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbose: Option<bool>,
    /// Whether a cluster collects metrics of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_metrics: Option<bool>,
    /// Whether it may go without resources where defaults are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_empty_resources: Option<bool>,
    /// Whether modules that the code imported are imported anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_on_run: Option<bool>,
    /// Labels that its node must have, over the function's own.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that it bears, in place of the function's own.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<core::Toleration>,
    /// Which nodes and neighbours it wants, in place of the function's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<core::Affinity>,
    /// The exact packages, in place of what the function requires: of a run that is to be as another was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// Whether, and when, it is tried again where it fails; in place of the function's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Hyper-parameters: a name, and the list of values to try. Each iteration is a run of its own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub hyperparams: Map<String, Value>,
    /// How iterations are made of hyper-parameters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hyper_param_options: HyperParamOptions,
    /// Who is told when it begins or ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// Secrets of this run, beside those of its project; their values are never written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_sources: Vec<SecretSources>,
    /// Fields of MLRun that are carried along, and those that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// MLRun writes null for what is not set.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl RunSpec {
    /// Says what is wrong with its thresholds, its retries or its hyper-parameters.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn validate(&self) -> Result<()> {
        for (state, threshold) in &self.state_thresholds {
            crate::pod::check_threshold(state, threshold).map_err(|error| error.under("run"))?;
        }
        if let Some(retry) = &self.retry {
            retry.validate().map_err(|error| error.under("run.spec"))?;
        }
        // What stands in a file is checked when it was read.
        match &self.hyper_param_options.param_file {
            Some(_) if self.hyperparams.is_empty() => Ok(()),
            _ => super::hyper::Sweep::of(self).map(drop),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a duration as MLRun and Kubernetes write them: `90s`, `5m`, `1h30m`, `2d`, `500ms`, a number of seconds,
/// or words (`60 minutes`). `-1` is for ever: `None`.
///
/// # Errors
/// `Invalid`, with an example that would be right. The caller adds the field.
pub fn parse_duration(text: &str) -> Result<Option<Duration>> {
    let wrong = || {
        Error::new(crate::ErrorKind::Invalid, format!("{text:?} is not a duration"))
            .help("write 90s, 5m, 1h30m, 2d or 500ms, or -1 for no limit")
    };
    let trimmed = text.trim();
    if trimmed == "-1" {
        return Ok(None);
    }
    if let Ok(seconds) = trimmed.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| wrong());
    }
    let mut total = 0f64;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ms" | "millisecond" | "milliseconds" => 0.001,
                "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
                "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
                "h" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                "w" | "week" | "weeks" => 604_800.0,
                _ => return Err(wrong()),
            };
        rest = rest[end..].trim_start();
    }
    if trimmed.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(total).map(Some).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text: &str| parse_duration(text).unwrap().map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("90"), Some(90.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("60 minutes"), Some(3600.0));
        assert_eq!(seconds("500ms"), Some(0.5));
        assert_eq!(seconds("-1"), None);
        for wrong in ["", "h", "5 parsecs", "-3s", "1e999", "5m!", "nan"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
