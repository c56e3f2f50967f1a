//! A function's command as one process on this machine: what the kinds `local` and `job` are there.

use super::{Code, HostPlan, Isolation, Process, Role, Work, host};
use crate::{Error, Function, Result, Run, run::runtime_env};

/// How a program is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A Python file is run by the agent, which gives it its context; other programs are started as they are.
    #[default]
    Agent,
    /// `pass`: the command is started exactly as it stands, whatever it is.
    Pass,
}

impl Mode {
    /// Reads `spec.mode`.
    ///
    /// # Errors
    /// `Invalid` where it is none.
    pub fn of(function: &Function) -> Result<Self> {
        match function.spec.mode.as_str() {
            "" | "args" => Ok(Self::Agent),
            "pass" => Ok(Self::Pass),
            other => Err(Error::invalid("spec.mode", format!("{other:?} is no mode"))
                .help("leave it out, or write `pass` to start the command exactly as it stands")),
        }
    }
}

/// Says what is wrong with the function's code, its handler, or its arguments.
///
/// # Errors
/// `Invalid`, naming the field, or file and line, and what would be right.
pub fn check(function: &Function, run: &Run) -> Result<()> {
    check_code(function, run)?;
    plan(function, run).map(drop)
}

/// Says what is wrong with the code that the function carries, or with the call of it.
///
/// # Errors
/// `Invalid`, with file and line, and what would be right.
pub fn check_code(function: &Function, run: &Run) -> Result<()> {
    if Mode::of(function)? == Mode::Agent
        && let Some(code) = function.code()?
        && code.name.ends_with(".py")
    {
        host::check_python(&code, host::handler(function, run), run)?;
    }
    Ok(())
}

/// Says what is wrong with the code that the function carries, whatever is called in it.
///
/// # Errors
/// `Invalid`, with file and line.
pub fn check_syntax(function: &Function) -> Result<()> {
    match function.code()? {
        Some(code) if code.name.ends_with(".py") => host::check_python(&code, None, &Run::default()),
        _ => Ok(()),
    }
}

/// The plan of a run.
///
/// # Errors
/// As [`check`].
pub fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let mut plan = host::base_plan(function, run)?;
    let work = work(function, run)?;
    let python = matches!(&work, Work::Python { .. }) || !function.spec.build.requirements.is_empty();
    plan.python = python.then(|| host::python(function, run));
    plan.processes.push(Process {
        env: runtime_env(function, run),
        workdir: Some(function.spec.workdir.clone()).filter(|workdir| !workdir.is_empty()),
        limits: host::limits(function)?,
        ..Process::new("main", Role::Main, work)
    });
    Ok(plan)
}

fn work(function: &Function, run: &Run) -> Result<Work> {
    let mode = Mode::of(function)?;
    let command = &function.spec.command;
    let handler = host::handler(function, run);
    let args = function.spec.args.iter().enumerate();
    let args = args.map(|(index, arg)| host::fill(arg, index, run)).collect::<Result<Vec<_>>>()?;
    let code = if mode == Mode::Pass { None } else { function.code()? };
    let is_python = |name: &str| name.ends_with(".py");
    let python = |code, handler: Option<&str>, args| Work::Python {
        code,
        handler: handler.map(str::to_owned),
        args,
        pythonpath: host::pythonpath(function),
        isolation: Isolation::Process,
    };
    match code {
        Some(code) if is_python(&code.name) => Ok(python(host::source(code), handler, args)),
        Some(code) => {
            refuse_handler(handler, &code.name)?;
            Ok(Work::Program { command: code.name.clone(), args, code: Some(host::source(code)) })
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
            let command = host::fill(command, 0, run).map_err(|error| error.at("spec.command"))?;
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
