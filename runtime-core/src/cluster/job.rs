//! A `batch/v1` Job around the pod that is a run.

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{
            Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        },
        core::v1::{PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use crate::{Error, Function, Result, plan::Manifest, run::Thresholds};

/// What a queue's label is called.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// How long a Job that has ended is kept where nobody takes it away: a week.
const TTL: i32 = 7 * 24 * 3600;

/// A `batch/v1` Job around the pod that is a run: it takes the pod away after its time, keeps it in a queue, and makes it
/// again where its node was taken.
///
/// What fails is tried again by whoever keeps the run's record, as another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// The queue of Kueue in which it waits (`spec.queue_name`); empty: none.
    pub queue_name: String,
    /// How long a Job that has ended is kept where nobody takes it away (`spec.ttl_seconds_after_finished`).
    pub ttl_seconds_after_finished: i32,
}

impl JobOptions {
    /// The fields of `spec` that it reads.
    pub const FIELDS: [&'static str; 2] = ["queue_name", "ttl_seconds_after_finished"];

    /// Reads them.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    pub fn of(function: &Function) -> Result<Self> {
        let field = |name: &str| function.spec.extra.get(name).filter(|value| !value.is_null());
        let queue_name = match field("queue_name") {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                return Err(Error::invalid("spec.queue_name", format!("{other} is no name"))
                    .help("the name of a LocalQueue in the namespace"));
            }
        };
        if !queue_name.is_empty() {
            crate::naming::check("spec.queue_name", &queue_name)?;
        }
        let seconds = |value: &Value| value.as_i64().and_then(|seconds| i32::try_from(seconds).ok());
        let ttl_seconds_after_finished = match field("ttl_seconds_after_finished") {
            None => TTL,
            Some(value) => seconds(value).filter(|seconds| *seconds >= 0).ok_or_else(|| {
                Error::invalid("spec.ttl_seconds_after_finished", format!("{value} is no number of seconds"))
                    .help("0 or more, such as 3600")
            })?,
        };
        Ok(Self { queue_name, ttl_seconds_after_finished })
    }

    /// The Job around this pod. Where the run `repeats`, a pod that lost its node is made again.
    pub fn around(
        &self,
        mut metadata: ObjectMeta,
        mut pod: PodSpec,
        repeats: bool,
        thresholds: &Thresholds,
    ) -> Manifest {
        pod.active_deadline_seconds = backstop(thresholds);
        let mut template = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: metadata.labels.clone(),
                annotations: metadata.annotations.clone(),
                ..ObjectMeta::default()
            }),
            spec: Some(pod),
        };
        let queued = !self.queue_name.is_empty();
        if queued {
            metadata.labels.get_or_insert_default().insert(QUEUE.to_owned(), self.queue_name.clone());
            if let Some(template) = &mut template.metadata {
                template.labels.get_or_insert_default().insert(QUEUE.to_owned(), self.queue_name.clone());
            }
        }
        let spec = JobSpec {
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            pod_failure_policy: repeats.then(disruptions_do_not_count),
            suspend: queued.then_some(true),
            template,
            ttl_seconds_after_finished: Some(self.ttl_seconds_after_finished),
            ..JobSpec::default()
        };
        Manifest::Job(Box::new(Job { metadata, spec: Some(spec), ..Job::default() }))
    }
}

fn disruptions_do_not_count() -> PodFailurePolicy {
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
    };
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "Ignore".to_owned(),
            on_pod_conditions: Some(vec![disrupted]),
            ..PodFailurePolicyRule::default()
        }],
    }
}

/// When the cluster ends the pod by itself. The exact limit is kept by whoever follows the run; this one is for the case
/// that nobody does, and has room for the time that the image takes.
fn backstop(thresholds: &Thresholds) -> Option<i64> {
    let executing = thresholds.executing?;
    let waiting = thresholds.pending_scheduled?.max(thresholds.image_pull_backoff.unwrap_or(Duration::ZERO));
    i64::try_from((executing + waiting).as_secs()).ok().filter(|seconds| *seconds > 0)
}
