//! The kind `job`: how its parts come together.

use runtime_core::{
    Capability, Function, Plan, Result, Run, Runtime,
    cluster::{Cluster, build, check_handler},
    plan::{ClusterPlan, program},
    run::Verdict,
    target::Observation,
};

use crate::{KIND, config, config::JobConfig, host, render, status};

/// The kind `job`.
pub struct JobRuntime;

impl Runtime for JobRuntime {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn summary(&self) -> &'static str {
        "a Python file, a handler in it, or any program: a process here, a Job or a Pod on a cluster"
    }

    fn capability(&self) -> Capability {
        Capability {
            batch: true,
            abortable: true,
            logs: true,
            host: true,
            cluster: true,
            renders: true,
            needs_image: true,
            survives: true,
            ..Capability::default()
        }
    }

    fn fields(&self) -> &'static [&'static str] {
        &config::FIELDS
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        check_handler(run, JobConfig::of(function)?.mode)?;
        // What lies in an image is not known; whether this machine has it, its plan says.
        program::check_code(function, run)
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        host::plan(function, run).map(Plan::Host)
    }

    fn render(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        render::plan(function, run, cluster)
    }

    fn deploy(&self, function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
        build::deploy(function, cluster)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        status::observe(seen)
    }
}
