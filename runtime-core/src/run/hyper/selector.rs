//! Which iteration is the best.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

use crate::{Error, Result};

/// The result by which iterations are compared, and which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Whether the largest is the best; otherwise the smallest.
    pub max: bool,
    /// The result's name.
    pub result: String,
}

impl Selector {
    /// The value by which an iteration with these results is compared.
    pub fn value(&self, results: &Map<String, Value>) -> Option<f64> {
        results.get(&self.result).and_then(number)
    }

    /// Whether `a` is better than `b`.
    pub fn is_better(&self, a: f64, b: f64) -> bool {
        if self.max { a > b } else { a < b }
    }
}

/// A result as a number; texts that are numbers count, as in MLRun.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| !number.is_nan())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", if self.max { "max" } else { "min" }, self.result)
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (max, result) = match text.split_once('.') {
            None => (true, text),
            Some(("max", result)) => (true, result),
            Some(("min", result)) => (false, result),
            Some((other, _)) => {
                return Err(Error::invalid(
                    "selector",
                    format!("{other:?} in {text:?} is neither max nor min"),
                )
                .help(format!("write `max.{text}` or `min.{text}` for the result {text:?}")));
            }
        };
        if result.is_empty() || result.contains(char::is_whitespace) {
            return Err(Error::invalid("selector", format!("{text:?} names no result"))
                .help("write `max.accuracy` or `min.loss`"));
        }
        Ok(Self { max, result: result.to_owned() })
    }
}
