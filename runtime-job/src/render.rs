//! Pure: function and run -> objects for a cluster.

use std::{sync::Arc, time::Duration};

use runtime_core::{
    Error, ErrorKind, Function, Result, Run,
    cluster::{Cluster, Workload, object_name, variable, verbatim},
    k8s_openapi::{
        api::{
            batch::v1::{
                Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
            },
            core::v1::{Container, Pod, PodSpec, PodTemplateSpec},
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    plan::{ClusterPlan, Manifest},
    run::{Retry, SecretSources, Thresholds},
};

use crate::{
    agent, command,
    config::{Agent, JobConfig, Wrapper},
};

/// What a queue's label is called.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// The objects of a run.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = JobConfig::of(function)?;
    run.spec.validate()?;
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    let mut workload = Workload::new(function, run, cluster)?;
    let mut objects = std::mem::take(&mut workload.secrets);
    let agent = config.agent_on(cluster);
    if agent == Agent::Runtimes {
        check_sources(run)?;
    }
    let (started, ours) = match agent {
        Agent::Mlrun => (command::of_mlrun(&workload.function, run, config.mode)?, false),
        Agent::Runtimes => agent::of(&workload.function, run, config.mode)?,
    };

    let name = object_name(run, cluster.attempt, 5);
    if let Some(file) = started.file {
        let (map, volume, mount) = command::code_file(file, workload.metadata(format!("{name}-code")));
        workload.function = workload.function.with_volume(volume).with_volume_mount(mount);
        objects.push(Manifest::ConfigMap(Arc::new(map)));
    }
    if ours {
        let (map, volume, mount) = agent::files(workload.metadata(String::new()).namespace);
        workload.function = workload.function.with_volume(volume).with_volume_mount(mount);
        objects.insert(0, Manifest::ConfigMap(map));
    }
    let mut env = workload.run_env()?;
    if ours {
        env.extend(agent::env());
    }
    if !function.spec.pythonpath.is_empty() {
        env.push(variable("PYTHONPATH", function.spec.pythonpath.as_str()));
    }
    env.extend(started.code.map(|code| variable("MLRUN_EXEC_CODE", code)));
    let mut env = workload.env(env);
    if agent == Agent::Mlrun {
        env = workload.with_mlrun_secrets(env);
    }
    let metadata = workload.metadata(name);
    let container = Container {
        name: "base".to_owned(),
        env: Some(env),
        command: words(started.command, agent),
        args: words(started.args, agent),
        working_dir: started.workdir,
        ..Container::default()
    };
    let spec = workload.pod_spec(container);
    objects.push(match config.wrapper_on(cluster) {
        Wrapper::Pod => Manifest::Pod(Box::new(Pod { metadata, spec: Some(spec), ..Pod::default() })),
        Wrapper::Job => {
            let repeats = may_repeat(function, run)?;
            Manifest::Job(Box::new(wrapped(metadata, spec, &config, repeats, &thresholds)))
        }
    });
    Ok(ClusterPlan { objects, deadline: thresholds.executing, notes: Vec::new() })
}

/// What is started. Under our agent its words are those that it has on any machine; MLRun leaves them to the cluster.
fn words(words: Vec<String>, agent: Agent) -> Option<Vec<String>> {
    let words = match agent {
        Agent::Runtimes => words.into_iter().map(verbatim).collect(),
        Agent::Mlrun => words,
    };
    Some(words).filter(|words| !words.is_empty())
}

/// Our agent reads no vault.
fn check_sources(run: &Run) -> Result<()> {
    for (index, source) in run.spec.secret_sources.iter().enumerate() {
        if matches!(source, SecretSources::Vault { .. }) {
            let message = format!("secrets of the kind `{}` are read by MLRun alone", source.kind());
            return Err(Error::new(ErrorKind::Unsupported, message)
                .at(format!("spec.secret_sources[{index}]"))
                .help(
                    "write `agent: mlrun` and an image with MLRun, or keep them: runtimes secret set NAME",
                ));
        }
    }
    Ok(())
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
