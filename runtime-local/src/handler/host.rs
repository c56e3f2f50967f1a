//! Pure: function and run -> a call in this process, or a Python handler on a warm interpreter.

use runtime_core::{
    Error, Function, Result, Run,
    plan::{Code, HostPlan, Isolation, Limits, Process, Readiness, Role, Work, host as describe},
    run::runtime_env,
};

use super::config::HandlerConfig;

/// The plan of a run.
pub(super) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let mut plan = describe::base_plan(function, run)?;
    let work = work(function, run)?;
    let python = matches!(work, Work::Python { .. });
    if describe::limits(function)? != Limits::default() {
        plan.notes
            .push("spec.resources.limits has no effect on a handler: it shares a warm process".to_owned());
    }
    if python {
        plan.python = Some(describe::python(function, run));
    } else if !function.spec.build.requirements.is_empty() {
        plan.notes.push("spec.build.requirements has no effect on a Rust handler".to_owned());
    }
    plan.processes.push(Process {
        name: "main".to_owned(),
        role: Role::Main,
        work,
        env: if python { runtime_env(function, run) } else { Vec::new() },
        workdir: Some(function.spec.workdir.clone()).filter(|workdir| !workdir.is_empty()),
        limits: Limits::default(),
        ready: Readiness::Started,
        after: Vec::new(),
        imports: Vec::new(),
        launcher: None,
    });
    Ok(plan)
}

fn work(function: &Function, run: &Run) -> Result<Work> {
    let config = HandlerConfig::of(function)?;
    let handler = describe::handler(function, run).ok_or_else(|| {
        Error::invalid("handler", "a function of the kind `handler` needs one")
            .help("name a function: `default_handler` in the spec, `--handler`, or `Request::handler`")
    })?;
    let python = |code, handler: &str| Work::Python {
        code,
        handler: Some(handler.to_owned()),
        args: Vec::new(),
        pythonpath: describe::pythonpath(function),
        isolation: if config.reuse { Isolation::Reuse } else { Isolation::Fork },
    };
    if let Some(code) = function.code()? {
        return Ok(python(describe::source(code), handler));
    }
    if function.spec.command.ends_with(".py") {
        return Ok(python(Code::File(function.spec.command.as_str().into()), handler));
    }
    // `module:function` is Python; `Class::method` alone would be of no module.
    match handler.split_once(':') {
        Some((module, name)) if !name.starts_with(':') => Ok(python(Code::Module(module.to_owned()), name)),
        _ => Ok(Work::Call { handler: handler.to_owned() }),
    }
}
