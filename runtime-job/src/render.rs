//! Pure: function and run -> objects for a cluster.

use runtime_core::{
    Function, Result, Run,
    cluster::{Carry, Cluster, Program},
    k8s_openapi::api::core::v1::Pod,
    plan::{ClusterPlan, Manifest},
    run::{Retry, Thresholds},
};

use crate::config::{JobConfig, Wrapper};

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
            config.job.around(metadata, spec, repeats, &thresholds)
        }
    });
    Ok(ClusterPlan { objects, deadline: thresholds.executing, ..ClusterPlan::default() })
}

/// Whether the run may begin again: by its own policy, else by its function's.
fn may_repeat(function: &Function, run: &Run) -> Result<bool> {
    let policy = match &run.spec.retry {
        Some(retry) => Some(retry.clone()),
        None => Retry::of_function(function)?,
    };
    Ok(policy.is_some_and(|retry| retry.count > 0))
}
