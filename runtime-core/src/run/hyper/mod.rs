//! Hyper-parameters: one run that is many, each an iteration with parameters of its own.

mod combinations;
mod condition;
mod selector;
mod tally;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use combinations::MAX_ITERATIONS;
pub use condition::Condition;
pub use selector::Selector;
pub use tally::{Over, Row, Tally};

use super::{Run, RunSpec, RunStatus};
use crate::{Error, Result, error::did_you_mean};
use combinations::Combinations;

/// So many iterations a `random` strategy draws, unless it is told otherwise. MLRun's default.
const RANDOM_ITERATIONS: u32 = 10;

/// So many iterations may fail, unless it is told otherwise. MLRun's default.
const MAX_ERRORS: u32 = 3;

/// So many iterations may be asked to go on at a time.
const MAX_PARALLEL: u32 = 1024;

/// How the values of hyper-parameters become iterations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Every combination; the first parameter changes fastest.
    #[default]
    Grid,
    /// The first values of all, then the second ones: rows of a table.
    List,
    /// Combinations drawn at random, none twice.
    Random,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 3] = [Self::Grid, Self::List, Self::Random];

    /// Its name, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::List => "list",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::as_str);
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or_else(|| {
            let error = Error::invalid("strategy", format!("{text:?} is no strategy"));
            match did_you_mean(text, names) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error.help(format!("one of: {}", names.join(", "))),
            }
        })
    }
}

/// How iterations are made of hyper-parameters, compared and ended. MLRun's `hyper_param_options`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HyperParamOptions {
    /// A file of hyper-parameters, in place of `hyperparams`: csv, json or yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_file: Option<String>,
    /// The strategy; `grid` where there is none, `list` for a file of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Which result makes an iteration the best: `max.accuracy`, `min.loss`; `accuracy` is `max.accuracy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// When no further iteration is started: `accuracy > 0.9 and loss <= 0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_condition: Option<String>,
    /// How many iterations go on at a time; one where this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_runs: Option<u32>,
    /// The most iterations; 10 for `random` where this is not given, all for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u32>,
    /// How many iterations may fail before no further one is started; 3 where this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_errors: Option<u32>,
    /// What `random` begins with: the same seed draws the same iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Fields of MLRun that have no effect here (`dask_cluster_uri`, `teardown_dask`), kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

const FIELDS: [&str; 10] = [
    "param_file",
    "strategy",
    "selector",
    "stop_condition",
    "parallel_runs",
    "max_iterations",
    "max_errors",
    "seed",
    "dask_cluster_uri",
    "teardown_dask",
];

impl RunSpec {
    /// Whether it is asked for many iterations.
    pub fn is_hyper(&self) -> bool {
        !self.hyperparams.is_empty() || self.hyper_param_options.param_file.is_some()
    }
}

/// Many iterations, as they were asked for: checked, and the same whenever they are read from the same spec.
#[derive(Clone, Debug)]
pub struct Sweep {
    combinations: Combinations,
    /// Which iteration is the best.
    pub selector: Option<Selector>,
    /// When no further one is started.
    pub stop: Option<Condition>,
    /// How many go on at a time.
    pub parallel: usize,
    /// How many may fail.
    pub max_errors: u32,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Sweep {
    /// What the run was asked for; `None` for one run. A `param_file` was read into `hyperparams` by now.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn of(spec: &RunSpec) -> Result<Option<Self>> {
        if !spec.is_hyper() {
            return Ok(None);
        }
        let options = &spec.hyper_param_options;
        let field = |name: &str| format!("hyper_param_options.{name}");
        if let Some(file) = &options.param_file {
            return Err(if spec.hyperparams.is_empty() {
                Error::internal(format!("the parameter file {file} was not read"))
            } else {
                Error::invalid(field("param_file"), "hyper-parameters are given in a file and beside it")
                    .help("keep either `param_file` or `hyperparams`")
            });
        }
        let parallel = options.parallel_runs.unwrap_or(1);
        if parallel == 0 || parallel > MAX_PARALLEL {
            return Err(Error::invalid(
                field("parallel_runs"),
                format!("{parallel} iterations cannot go on at a time"),
            )
            .help(format!("1 to {MAX_PARALLEL}")));
        }
        if options.max_iterations == Some(0) {
            return Err(Error::invalid(field("max_iterations"), "0 iterations are none").help("1 or more"));
        }
        let under = |name: &'static str| move |error: Error| error.at(field(name));
        let parsed = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let selector = parsed(&options.selector).map(|text| text.parse()).transpose();
        let stop = parsed(&options.stop_condition).map(|text| text.parse()).transpose();
        let mut notes = Vec::new();
        for name in options.extra.keys() {
            notes.push(unknown_option(name)?);
        }
        let combinations = Combinations::of(spec)?;
        for name in combinations.names().filter(|name| spec.parameters.contains_key(*name)) {
            notes.push(format!("the parameter `{name}` has no effect: it is a hyper-parameter, too"));
        }
        Ok(Some(Self {
            combinations,
            selector: selector.map_err(under("selector"))?,
            stop: stop.map_err(under("stop_condition"))?,
            parallel: parallel as usize,
            max_errors: options.max_errors.unwrap_or(MAX_ERRORS),
            notes,
        }))
    }

    /// How many iterations there are at most.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> u32 {
        self.combinations.len()
    }

    /// The names of the hyper-parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.combinations.names()
    }

    /// What all iterations of a run have in common: the run, without its hyper-parameters and what became of it.
    pub fn base(parent: &Run) -> Run {
        let spec = RunSpec {
            hyperparams: Map::new(),
            hyper_param_options: HyperParamOptions::default(),
            ..parent.spec.clone()
        };
        Run { metadata: parent.metadata.clone(), spec, status: RunStatus::default() }
    }

    /// One iteration, from 1, as a run of its own: not started yet.
    pub fn child(&self, base: &Run, iteration: u32) -> Run {
        let mut child = base.clone();
        child.metadata.iteration = iteration;
        child.spec.parameters.extend(self.combinations.get(iteration.saturating_sub(1)));
        child.status.last_update = Some(jiff::Timestamp::now());
        child
    }
}

/// What is to be said about an option that is not read.
fn unknown_option(name: &str) -> Result<String> {
    let path = format!("hyper_param_options.{name}");
    match did_you_mean(name, FIELDS) {
        Some(known) if known != name => {
            Err(Error::invalid(path, "unknown field").help(format!("did you mean `{known}`?")))
        }
        _ => Ok(format!("{path} has no effect here")),
    }
}

#[cfg(test)]
mod tests;
