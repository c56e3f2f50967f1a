//! Horovod's settings, by the names that it reads.

use runtime_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// What MLRun calls settings of Horovod in the environment, and what Horovod does.
pub(crate) const RENAMED: [(&str, &str); 4] = [
    ("autotune-warmup-samples", WARMUP_SAMPLES),
    ("autotune-steps-per-sample", STEPS_PER_SAMPLE),
    ("autotune-bayes-opt-max-samples", MAX_SAMPLES),
    ("autotune-gaussian-process-noise", NOISE),
];

const WARMUP_SAMPLES: &str = "HOROVOD_AUTOTUNE_WARMUP_SAMPLES";
const STEPS_PER_SAMPLE: &str = "HOROVOD_AUTOTUNE_STEPS_PER_SAMPLE";
const MAX_SAMPLES: &str = "HOROVOD_AUTOTUNE_BAYES_OPT_MAX_SAMPLES";
const NOISE: &str = "HOROVOD_AUTOTUNE_GAUSSIAN_PROCESS_NOISE";

/// Horovod's timeline: what it does when, as a file for a browser's tracing page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The file, where rank 0 is.
    pub path: String,
    /// Whether the begin of each cycle is marked.
    #[serde(default)]
    pub mark_cycles: bool,
}

/// Horovod's tuning of itself while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autotune {
    /// The file with what was tried, where rank 0 is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How many samples are thrown away at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_samples: Option<u32>,
    /// How many steps make a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps_per_sample: Option<u32>,
    /// How many samples are tried at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bayes_opt_max_samples: Option<u32>,
    /// How noisy samples are taken to be, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_process_noise: Option<f64>,
}

impl Tracing {
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let mark = u8::from(self.mark_cycles).to_string();
        vec![("HOROVOD_TIMELINE", self.path.clone()), ("HOROVOD_TIMELINE_MARK_CYCLES", mark)]
    }
}

impl Autotune {
    pub(crate) fn validate(&self) -> Result<()> {
        match self.gaussian_process_noise.filter(|noise| !(0.0..=1.0).contains(noise)) {
            Some(noise) => {
                let place = "spec.autotune.gaussian_process_noise";
                Err(Error::invalid(place, format!("{noise} is no share")).help("from 0 to 1, such as 0.8"))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let set = [
            ("HOROVOD_AUTOTUNE_LOG", self.log.clone()),
            (WARMUP_SAMPLES, self.warmup_samples.map(|number| number.to_string())),
            (STEPS_PER_SAMPLE, self.steps_per_sample.map(|number| number.to_string())),
            (MAX_SAMPLES, self.bayes_opt_max_samples.map(|number| number.to_string())),
            (NOISE, self.gaussian_process_noise.map(|noise| noise.to_string())),
        ];
        let set = set.into_iter().filter_map(|(name, value)| Some((name, value?)));
        std::iter::once(("HOROVOD_AUTOTUNE", "1".to_owned())).chain(set).collect()
    }
}
