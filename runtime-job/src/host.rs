//! Pure: function and run -> one process on this machine.

use runtime_core::{
    Function, Result, Run,
    plan::{HostPlan, program},
};

use crate::config::JobConfig;

/// The plan of a run: the same command as on a cluster, as a process.
pub(crate) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let config = JobConfig::of(function)?;
    let mut plan = program::plan(function, run)?;
    let pod = &function.spec.pod;
    for (field, set) in [
        ("spec.node_selector", !pod.node_selector.is_empty()),
        ("spec.service_account", !pod.service_account.is_empty()),
        ("spec.priority_class_name", !pod.priority_class_name.is_empty()),
        ("spec.queue_name", !config.job.queue_name.is_empty()),
    ] {
        if set {
            plan.notes.push(format!("{field} has no effect on this machine"));
        }
    }
    Ok(plan)
}
