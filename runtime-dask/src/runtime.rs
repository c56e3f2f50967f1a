//! The kind `dask`: how its parts come together.

use runtime_core::{
    Capability, Function, Plan, Result, Run, Runtime,
    cluster::{Cluster, build, check_handler},
    plan::{
        ClusterPlan, Image,
        program::{self, Mode},
    },
    run::Verdict,
    target::Observation,
};

use crate::{KIND, config, config::DaskConfig, crd, host, render, status};

/// The kind `dask`.
pub struct DaskRuntime;

impl Runtime for DaskRuntime {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn summary(&self) -> &'static str {
        "a Python file, or a handler in it, beside a Dask cluster of its own"
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
            deploys: true,
            scales: true,
            survives: true,
        }
    }

    fn fields(&self) -> &'static [&'static str] {
        &config::FIELDS
    }

    fn resources(&self) -> &'static [(&'static str, &'static str)] {
        &crd::RESOURCES
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        DaskConfig::of(function)?;
        check_handler(run, Mode::of(function)?)?;
        program::check_code(function, run)
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        host::plan(function, run).map(Plan::Host)
    }

    fn render(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        render::plan(function, run, cluster)
    }

    fn deploy(&self, function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
        render::deploy(function, cluster)
    }

    fn plan_deployment(&self, function: &Function, run: &Run) -> Result<Plan> {
        program::check_syntax(function)?;
        host::deployment(function, run).map(Plan::Host)
    }

    fn render_deployment(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        program::check_syntax(function)?;
        render::deployment(function, run, cluster)
    }

    fn image(&self, function: &Function, cluster: &Cluster) -> Result<Option<Image>> {
        build::image(&host::with_dask(function), cluster)
    }

    fn build(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        build::plan(&host::with_dask(function), run, cluster)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        status::observe(seen)
    }
}
