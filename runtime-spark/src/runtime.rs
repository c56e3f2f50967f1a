//! The kind `spark`: how its parts come together.

use runtime_core::{
    Capability, Function, Plan, Result, Run, Runtime,
    cluster::{Agent, Cluster, check_handler},
    plan::{
        ClusterPlan,
        program::{self, Mode},
    },
    run::Verdict,
    target::Observation,
};

use crate::{KIND, config, config::SparkConfig, crd, host, render, status};

/// The kind `spark`.
pub struct SparkRuntime;

impl Runtime for SparkRuntime {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn summary(&self) -> &'static str {
        "an application of Apache Spark: a Python file, a handler in it, or a jar"
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
            scales: true,
            survives: true,
            ..Capability::default()
        }
    }

    fn fields(&self) -> &'static [&'static str] {
        &config::FIELDS
    }

    fn resources(&self) -> &'static [(&'static str, &'static str)] {
        &crd::RESOURCES
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        SparkConfig::of(function)?;
        Agent::of(function)?;
        check_handler(run, Mode::of(function)?)?;
        program::check_code(function, run)
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        host::plan(function, run).map(Plan::Host)
    }

    fn render(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        render::plan(function, run, cluster)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        status::observe(seen)
    }
}
