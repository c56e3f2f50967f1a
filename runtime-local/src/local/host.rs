//! Pure: function and run -> one process on this machine.

use runtime_core::{
    Error, Function, Result, Run,
    plan::{Code, HostPlan, Isolation, Process, Readiness, Role, Work},
    run::runtime_env,
};

use super::config::{LocalConfig, Mode};
use crate::shared;

/// The plan of a run.
pub(super) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let mut plan = shared::base_plan(function, run)?;
    let work = work(function, run)?;
    let python = matches!(&work, Work::Python { .. }) || !function.spec.build.requirements.is_empty();
    plan.python = python.then(|| shared::python(function, run));
    plan.processes.push(Process {
        name: "main".to_owned(),
        role: Role::Main,
        work,
        env: runtime_env(function, run),
        workdir: Some(function.spec.workdir.clone()).filter(|workdir| !workdir.is_empty()),
        limits: shared::limits(function)?,
        ready: Readiness::Started,
        after: Vec::new(),
    });
    Ok(plan)
}

fn work(function: &Function, run: &Run) -> Result<Work> {
    let LocalConfig { mode } = LocalConfig::of(function)?;
    let command = &function.spec.command;
    let handler = shared::handler(function, run);
    let args = function.spec.args.iter().enumerate();
    let args = args.map(|(index, arg)| shared::fill(arg, index, run)).collect::<Result<Vec<_>>>()?;
    let code = if mode == Mode::Pass { None } else { function.code()? };
    let is_python = |name: &str| name.ends_with(".py");
    let python = |code, handler: Option<&str>, args| Work::Python {
        code,
        handler: handler.map(str::to_owned),
        args,
        pythonpath: shared::pythonpath(function),
        isolation: Isolation::Process,
    };
    match code {
        Some(code) if is_python(&code.name) => Ok(python(shared::source(code), handler, args)),
        Some(code) => {
            refuse_handler(handler, &code.name)?;
            Ok(Work::Program { command: code.name.clone(), args, code: Some(shared::source(code)) })
        }
        None if mode == Mode::Agent && is_python(command) => {
            Ok(python(Code::File(command.into()), handler, args))
        }
        None if mode == Mode::Agent && command.is_empty() => {
            match handler.and_then(|handler| handler.split_once(':')) {
                Some((module, name)) if !name.starts_with(':') => {
                    Ok(python(Code::Module(module.to_owned()), Some(name), args))
                }
                _ => Err(nothing()),
            }
        }
        None if command.is_empty() => Err(nothing()),
        None => {
            if mode == Mode::Agent {
                refuse_handler(handler, command)?;
            }
            let command = shared::fill(command, 0, run).map_err(|error| error.at("spec.command"))?;
            Ok(Work::Program { command, args, code: None })
        }
    }
}

fn nothing() -> Error {
    Error::invalid("spec.command", "there is nothing to run").help(
        "write a program or a Python file (`command: train.py`), put the code into \
         `build.functionSourceCode`, or name a handler `module:function`",
    )
}

fn refuse_handler(handler: Option<&str>, program: &str) -> Result<()> {
    match handler {
        None => Ok(()),
        Some(handler) => {
            Err(Error::invalid("handler", format!("{program} is not Python: it has no handler `{handler}`"))
                .help("leave the handler out, or give a `.py` file"))
        }
    }
}
