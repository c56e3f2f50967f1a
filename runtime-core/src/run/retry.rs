//! Trying again: how often, after which wait, and whether it can help.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Cause, Reason, RunState, Verdict, parse_duration};
use crate::{Error, Result, error::did_you_mean, yaml};

/// The wait before the first retry, unless it is told otherwise. MLRun's default.
const BASE_DELAY: Duration = Duration::from_secs(30);

/// The longest wait, unless it is told otherwise.
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// More often nobody tries.
const MAX_COUNT: u32 = 1000;

/// Exceptions that come again as long as the code and what it is given stay the same.
const HOPELESS: [&str; 9] = [
    "HandlerError",
    "ParameterError",
    "InputError",
    "ReturnError",
    "SyntaxError",
    "IndentationError",
    "TabError",
    "ImportError",
    "ModuleNotFoundError",
];

/// How often a run that failed is tried again, and when. MLRun's `retry`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// How often, after the first attempt.
    #[serde(default)]
    pub count: u32,
    /// How long to wait before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Fields that are not known, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How long to wait before another attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait before the first retry: `30s`, or a number of seconds. 30 s where it is not given.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub base_delay: Option<String>,
    /// The longest wait; an hour where it is not given.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<String>,
    /// Whether waits grow; they double where this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<BackoffKind>,
    /// By which part of itself a wait is shortened or prolonged, so that many runs do not come back at once: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
    /// Fields that are not known, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whether waits grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackoffKind {
    /// They are all equal.
    Constant,
    /// Each is twice the one before.
    #[default]
    Exponential,
}

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which one, from 1.
    pub attempt: u32,
    /// How it ended.
    pub state: RunState,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The exit code of its main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When its work began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Timestamp,
    /// Where its part of the run's log ends, in bytes; it begins where the one before ends.
    pub log_end: u64,
}

/// A duration as text; a number is one of seconds.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    use serde::de::Error as _;
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(D::Error::custom(format!("expected a duration, found {}", yaml::kind_of(&other)))),
    }
}

impl Retry {
    /// So many times, after MLRun's waits.
    pub fn new(count: u32) -> Self {
        Self { count, ..Self::default() }
    }

    /// The function's own, as it stands in its `spec.retry`.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn of_function(function: &crate::Function) -> Result<Option<Self>> {
        let Some(value) = function.spec.extra.get("retry").filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let retry: Self = yaml::from_value(value, "spec.retry")?;
        retry.validate().map_err(|error| error.under("spec"))?;
        Ok(Some(retry))
    }

    /// Says what is wrong, with the path of the field.
    ///
    /// # Errors
    /// `Invalid`, for the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.count > MAX_COUNT {
            return Err(Error::invalid("retry.count", format!("{} is too often", self.count))
                .help(format!("at most {MAX_COUNT}")));
        }
        known("retry", &self.extra, &["count", "backoff"])?;
        let Some(backoff) = &self.backoff else { return Ok(()) };
        known("retry.backoff", &backoff.extra, &["base_delay", "max_delay", "kind", "jitter"])?;
        let (base, max) = (self.base_delay()?, self.max_delay()?);
        if max < base && backoff.max_delay.is_some() {
            return Err(Error::invalid(
                "retry.backoff.max_delay",
                format!("{max:?} is less than the base delay of {base:?}"),
            )
            .help("make it longer, or leave it out"));
        }
        match backoff.jitter {
            Some(jitter) if !(0.0..=1.0).contains(&jitter) => {
                Err(Error::invalid("retry.backoff.jitter", format!("{jitter} is no part of a wait"))
                    .help("0 to 1: 0.2 makes a wait of 10s one of 8s to 12s"))
            }
            _ => Ok(()),
        }
    }

    fn base_delay(&self) -> Result<Duration> {
        let text = self.backoff.as_ref().and_then(|backoff| backoff.base_delay.as_deref());
        Ok(delay("base_delay", text)?.unwrap_or(BASE_DELAY))
    }

    fn max_delay(&self) -> Result<Duration> {
        let text = self.backoff.as_ref().and_then(|backoff| backoff.max_delay.as_deref());
        Ok(delay("max_delay", text)?.unwrap_or(MAX_DELAY).max(if text.is_none() {
            self.base_delay()?
        } else {
            Duration::ZERO
        }))
    }

    /// How long to wait before the retry of this number, from 1. `seed` says how the jitter falls: the same for the
    /// same seed and number.
    pub fn wait(&self, number: u32, seed: &str) -> Duration {
        let base = self.base_delay().unwrap_or(BASE_DELAY);
        let max = self.max_delay().unwrap_or(MAX_DELAY);
        let backoff = self.backoff.clone().unwrap_or_default();
        let wait = match backoff.kind.unwrap_or_default() {
            BackoffKind::Constant => base,
            BackoffKind::Exponential => base.saturating_mul(2u32.saturating_pow(number.saturating_sub(1))),
        };
        let jitter = backoff.jitter.unwrap_or_default();
        let factor = 1.0 + jitter * (2.0 * fraction(seed, number) - 1.0);
        Duration::try_from_secs_f64(wait.min(max).as_secs_f64() * factor).unwrap_or(max)
    }
}

fn known(path: &str, extra: &Map<String, Value>, fields: &[&str]) -> Result<()> {
    let Some(name) = extra.keys().next() else { return Ok(()) };
    let error = Error::invalid(format!("{path}.{name}"), "unknown field");
    Err(match did_you_mean(name, fields.iter().copied()) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help(format!("known are {}", fields.join(", "))),
    })
}

fn delay(field: &str, text: Option<&str>) -> Result<Option<Duration>> {
    let Some(text) = text else { return Ok(None) };
    let path = format!("retry.backoff.{field}");
    match parse_duration(text).map_err(|error| error.at(path.clone()).help("write 30s, 5m or 1h"))? {
        Some(delay) => Ok(Some(delay)),
        None => Err(Error::invalid(path, "a wait must have an end").help("write 30s, 5m or 1h")),
    }
}

/// A number from 0 to 1 that follows from a text and a number.
fn fraction(seed: &str, number: u32) -> f64 {
    use sha1::{Digest, Sha1};
    let digest = Sha1::digest(format!("{seed}.{number}"));
    let first = digest.iter().take(4).fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte));
    f64::from(first) / f64::from(u32::MAX)
}

/// Whether another attempt can help: what may be an accident of time or machine is worth it; what the code, its
/// parameters or its limits bring about comes again.
pub fn can_help(verdict: &Verdict) -> bool {
    let Some(cause) = verdict.cause.as_ref().filter(|_| verdict.state == RunState::Error) else {
        return false;
    };
    match cause.reason {
        // Not executable, or not found.
        Reason::ExitCode => !matches!(verdict.exit_code, Some(126 | 127)),
        Reason::Exception => {
            let error = verdict.report.as_ref().and_then(|report| report.error.as_ref());
            error.is_none_or(|error| !HOPELESS.contains(&error.class.as_str()))
        }
        Reason::Signal | Reason::Panic | Reason::ServiceEnded | Reason::Lost => true,
        // Another node may keep it.
        Reason::NodeLost | Reason::Evicted | Reason::Preempted | Reason::Unreachable => true,
        // A storage that cannot be reached may be there again later.
        Reason::InputFailed | Reason::ArtifactFailed => true,
        // It would need as much, and take as long, again.
        Reason::OutOfMemory | Reason::DeadlineExceeded => false,
        Reason::Aborted | Reason::Environment | Reason::StartFailed | Reason::IterationsFailed => false,
        Reason::BuildFailed | Reason::ImagePush => false,
        // It waited for as long as it may, or it would be refused again.
        Reason::ImagePull | Reason::InvalidImageName | Reason::ContainerConfig | Reason::Mount => false,
        Reason::Unschedulable | Reason::Quota | Reason::AdmissionDenied | Reason::Forbidden => false,
        Reason::MissingKind => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{CodeError, Report};
    use serde_json::json;

    fn retry(value: Value) -> Result<Retry> {
        let retry: Retry = yaml::from_value(&value, "retry")?;
        retry.validate().map(|()| retry)
    }

    #[test]
    fn waits_grow_up_to_a_limit() {
        let waits = |backoff: Value| {
            let retry = retry(json!({"count": 5, "backoff": backoff})).unwrap();
            [1, 2, 3, 40].map(|number| retry.wait(number, "uid").as_secs())
        };
        assert_eq!(waits(json!({"base_delay": "10s", "max_delay": "1m"})), [10, 20, 40, 60]);
        assert_eq!(waits(json!({"base_delay": 10, "kind": "constant"})), [10, 10, 10, 10]);
        assert_eq!(waits(json!({})), [30, 60, 120, 3600]);
        assert_eq!(waits(json!({"base_delay": "2h", "kind": "constant"})), [7200; 4]);
    }

    #[test]
    fn jitter_stays_in_its_part_and_follows_from_the_run() {
        let retry = retry(json!({"count": 1, "backoff": {"base_delay": "100s", "jitter": 0.2}})).unwrap();
        let waits: Vec<_> = (0..50).map(|run| retry.wait(1, &run.to_string()).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (80.0..=120.0).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 95.0) && waits.iter().any(|wait| *wait > 105.0));
        assert_eq!(retry.wait(1, "7").as_secs_f64(), waits[7]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, location, part) in [
            (json!({"cuont": 3}), "retry.cuont", "`count`"),
            (json!({"count": 3, "backoff": {"base_delay": "soon"}}), "retry.backoff.base_delay", "30s"),
            (json!({"count": 3, "backoff": {"base_delay": "-1"}}), "retry.backoff.base_delay", "an end"),
            (json!({"count": 3, "backoff": {"jitter": 2}}), "retry.backoff.jitter", "0 to 1"),
            (json!({"count": 3, "backoff": {"max_delay": "1s"}}), "retry.backoff.max_delay", "longer"),
            (json!({"count": 100_000}), "retry.count", "1000"),
            (json!({"count": -1}), "retry.count", ""),
            (json!({"count": 1, "backoff": {"kind": "linear"}}), "retry.backoff.kind", "constant"),
        ] {
            let error = retry(value.clone()).unwrap_err();
            assert_eq!(error.location(), Some(location), "{value} {error}");
            assert!(error.to_string().contains(part), "{value} {error}");
        }
    }

    #[test]
    fn only_what_may_go_well_is_tried_again() {
        let verdict = |reason, exit_code, class: &str| Verdict {
            state: RunState::Error,
            cause: Some(Cause::new(reason, "")),
            exit_code,
            report: Some(Report {
                error: Some(CodeError { class: class.into(), ..CodeError::default() }),
                ..Report::default()
            }),
            ..Verdict::default()
        };
        for (reason, code, class, helps) in [
            (Reason::ExitCode, Some(1), "", true),
            (Reason::ExitCode, Some(127), "", false),
            (Reason::Exception, Some(1), "requests.ConnectionError", true),
            (Reason::Exception, Some(1), "ParameterError", false),
            (Reason::Exception, Some(1), "SyntaxError", false),
            (Reason::Signal, Some(137), "", true),
            (Reason::Lost, None, "", true),
            (Reason::OutOfMemory, Some(137), "", false),
            (Reason::DeadlineExceeded, None, "", false),
            (Reason::Environment, None, "", false),
        ] {
            assert_eq!(can_help(&verdict(reason, code, class)), helps, "{reason:?} {class}");
        }
        let aborted = Verdict { state: RunState::Aborted, ..verdict(Reason::ExitCode, Some(1), "") };
        assert!(!can_help(&aborted));
    }
}
