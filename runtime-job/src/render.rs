//! Pure: function and run -> objects for a cluster.

use std::time::Duration;

use runtime_core::{
    Function, Result, Run,
    cluster::{Carry, Cluster, Program},
    k8s_openapi::{
        api::{
            batch::v1::{
                Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
            },
            core::v1::{Pod, PodSpec, PodTemplateSpec},
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    plan::{ClusterPlan, Manifest},
    run::{Retry, Thresholds},
};

use crate::config::{JobConfig, Wrapper};

/// What a queue's label is called.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// The objects of a run.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = JobConfig::of(function)?;
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    let who = (cluster.agent(config.agent), config.mode);
    let mut program = Program::new(function, run, cluster, who, Carry::Variable)?;
    let mut objects = std::mem::take(&mut program.objects);
    let metadata = program.metadata();
    let spec = program.pod_spec();
    objects.push(match config.wrapper_on(cluster) {
        Wrapper::Pod => Manifest::Pod(Box::new(Pod { metadata, spec: Some(spec), ..Pod::default() })),
        Wrapper::Job => {
            let repeats = may_repeat(function, run)?;
            Manifest::Job(Box::new(wrapped(metadata, spec, &config, repeats, &thresholds)))
        }
    });
    Ok(ClusterPlan { objects, deadline: thresholds.executing, notes: Vec::new() })
}

/// A Job around the pod. What fails is tried again by whoever keeps the run's record, as another attempt; here a pod is
/// made again only where its node was taken from it, and only where the run may be tried again at all.
fn wrapped(
    metadata: ObjectMeta,
    mut pod: PodSpec,
    config: &JobConfig,
    repeats: bool,
    thresholds: &Thresholds,
) -> Job {
    pod.active_deadline_seconds = backstop(thresholds);
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    };
    let mut metadata = metadata;
    let queued = !config.queue_name.is_empty();
    if queued {
        metadata.labels.get_or_insert_default().insert(QUEUE.to_owned(), config.queue_name.clone());
        if let Some(template) = &mut template.metadata {
            template.labels.get_or_insert_default().insert(QUEUE.to_owned(), config.queue_name.clone());
        }
    }
    let spec = JobSpec {
        backoff_limit: Some(0),
        completions: Some(1),
        parallelism: Some(1),
        pod_failure_policy: repeats.then(disruptions_do_not_count),
        suspend: queued.then_some(true),
        template,
        ttl_seconds_after_finished: Some(config.ttl_seconds_after_finished),
        ..JobSpec::default()
    };
    Job { metadata, spec: Some(spec), ..Job::default() }
}

/// Whether the run may begin again: by its own policy, else by its function's.
fn may_repeat(function: &Function, run: &Run) -> Result<bool> {
    let policy = match &run.spec.retry {
        Some(retry) => Some(retry.clone()),
        None => Retry::of_function(function)?,
    };
    Ok(policy.is_some_and(|retry| retry.count > 0))
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
