//! The kind `handler`: how its parts come together.

use runtime_core::{
    Capability, Error, Function, Plan, Result, Run, Runtime,
    plan::{Work, host as describe},
    run::{Verdict, observe_main},
    target::Observation,
};

use super::{KIND, config::HandlerConfig, host, rust::Handlers};

/// The kind `handler`.
pub struct HandlerRuntime;

impl Runtime for HandlerRuntime {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn summary(&self) -> &'static str {
        "a Rust function in this process, or a Python function forked from a warm interpreter"
    }

    fn capability(&self) -> Capability {
        Capability { batch: true, abortable: true, logs: true, host: true, ..Capability::default() }
    }

    fn fields(&self) -> &'static [&'static str] {
        HandlerConfig::FIELDS
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        let plan = host::plan(function, run)?;
        match plan.main().map(|main| &main.work) {
            Some(Work::Call { handler }) => {
                let handler = Handlers::linked().get(handler)?;
                (handler.check)(&run.spec.parameters).map_err(|message| {
                    Error::invalid(
                        format!("handler {}", handler.name),
                        format!("its parameters do not fit: {message}"),
                    )
                    .help("give each parameter as `-p name=value` or `Request::parameter(name, value)`")
                })
            }
            _ => match function.code()? {
                Some(code) => describe::check_python(&code, describe::handler(function, run), run),
                None => Ok(()),
            },
        }
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        host::plan(function, run).map(Plan::Host)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        observe_main(seen)
    }
}
