//! What the kind `job` reads of a function beside what all kinds have.

use runtime_core::{
    Error, Function, Result,
    cluster::{Agent, Cluster, JobOptions, Style},
    plan::program::Mode,
    serde_json::Value,
};

/// The fields that it adds to `spec`.
pub(crate) const FIELDS: [&str; 4] = ["agent", "wrapper", JobOptions::FIELDS[0], JobOptions::FIELDS[1]];

/// What carries the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrapper {
    /// A `batch/v1` Job.
    #[default]
    Job,
    /// Nothing: a bare Pod, as MLRun has it.
    Pod,
}

/// What the kind `job` reads of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobConfig {
    /// Who runs Python code in the container (`spec.agent`: `runtimes` or `mlrun`).
    pub agent: Agent,
    /// How the program is started (`spec.mode`).
    pub mode: Mode,
    /// What carries the pod (`spec.wrapper`: `job` or `pod`).
    pub wrapper: Wrapper,
    /// How the Job is made (`spec.queue_name`, `spec.ttl_seconds_after_finished`).
    pub job: JobOptions,
}

impl JobConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn of(function: &Function) -> Result<Self> {
        let field = |name: &str| function.spec.extra.get(name).filter(|value| !value.is_null());
        let wrapper = match field("wrapper") {
            None => Wrapper::default(),
            Some(Value::String(text)) if text == "job" || text.is_empty() => Wrapper::Job,
            Some(Value::String(text)) if text == "pod" => Wrapper::Pod,
            Some(other) => {
                return Err(Error::invalid("spec.wrapper", format!("{other} carries no pod"))
                    .help("`job` for a Job of Kubernetes, `pod` for a Pod alone"));
            }
        };
        let (agent, job) = (Agent::of(function)?, JobOptions::of(function)?);
        Ok(Self { agent, mode: Mode::of(function)?, wrapper, job })
    }

    /// What carries the pod there.
    pub(crate) fn wrapper_on(&self, cluster: &Cluster) -> Wrapper {
        match cluster.style {
            Style::Mlrun => Wrapper::Pod,
            Style::Native => self.wrapper,
        }
    }
}
