//! What the kind `job` reads of a function beside what all kinds have.

use runtime_core::{
    Error, Function, Result,
    cluster::{Agent, Cluster, Style},
    plan::program::Mode,
    serde_json::Value,
};

/// The fields that it adds to `spec`.
pub(crate) const FIELDS: [&str; 4] = ["agent", "wrapper", "queue_name", "ttl_seconds_after_finished"];

/// How long a Job that has ended is kept where nobody takes it away: a week.
const TTL: i32 = 7 * 24 * 3600;

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
    /// The queue of Kueue in which it waits (`spec.queue_name`); empty: none.
    pub queue_name: String,
    /// How long a Job that has ended is kept where nobody takes it away (`spec.ttl_seconds_after_finished`).
    pub ttl_seconds_after_finished: i32,
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
        let agent = Agent::of(function)?;
        let queue_name = match field("queue_name") {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                return Err(Error::invalid("spec.queue_name", format!("{other} is no name"))
                    .help("the name of a LocalQueue in the namespace"));
            }
        };
        if !queue_name.is_empty() {
            runtime_core::naming::check("spec.queue_name", &queue_name)?;
        }
        let ttl = field("ttl_seconds_after_finished");
        let seconds = |value: &Value| value.as_i64().and_then(|seconds| i32::try_from(seconds).ok());
        let ttl_seconds_after_finished = match ttl {
            None => TTL,
            Some(value) => seconds(value).filter(|seconds| *seconds >= 0).ok_or_else(|| {
                Error::invalid("spec.ttl_seconds_after_finished", format!("{value} is no number of seconds"))
                    .help("0 or more, such as 3600")
            })?,
        };
        Ok(Self { agent, mode: Mode::of(function)?, wrapper, queue_name, ttl_seconds_after_finished })
    }

    /// What carries the pod there.
    pub(crate) fn wrapper_on(&self, cluster: &Cluster) -> Wrapper {
        match cluster.style {
            Style::Mlrun => Wrapper::Pod,
            Style::Native => self.wrapper,
        }
    }
}
