//! The kind `local`: how its parts come together.

use runtime_core::{
    Capability, Function, Plan, Result, Run, Runtime,
    plan::program,
    run::{Verdict, observe_main},
    target::Observation,
};

use super::KIND;

/// The kind `local`.
pub struct LocalRuntime;

impl Runtime for LocalRuntime {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn summary(&self) -> &'static str {
        "a Python file, a handler in it, or any program, as a process of its own"
    }

    fn capability(&self) -> Capability {
        Capability {
            batch: true,
            abortable: true,
            logs: true,
            host: true,
            survives: true,
            ..Capability::default()
        }
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        program::check(function, run)
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        program::plan(function, run).map(Plan::Host)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        observe_main(seen)
    }
}
