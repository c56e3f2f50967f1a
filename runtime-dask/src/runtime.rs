//! The kind `dask`: how its parts come together.

use runtime_core::{
    Capability, Function, Plan, Result, Run, Runtime, plan::program, run::Verdict, target::Observation,
};

use crate::{KIND, config, config::DaskConfig, host, status};

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
            scales: true,
            survives: true,
            ..Capability::default()
        }
    }

    fn fields(&self) -> &'static [&'static str] {
        &config::FIELDS
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        DaskConfig::of(function)?;
        program::check_code(function, run)
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        host::plan(function, run).map(Plan::Host)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        status::observe(seen)
    }
}
