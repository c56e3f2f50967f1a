//! What kinds that run on this machine need to describe a run there.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Code, HostPlan, Limits, PythonEnvironment, Work};
use crate::{
    Error, Function, Result, Run,
    function::SourceCode,
    pod::Quantity,
    python::Module,
    run::{from_cluster, parse_duration},
};

/// How long a process may take to end after it was asked to: Kubernetes' default.
const GRACE: Duration = Duration::from_secs(30);

/// The plan without its processes: deadline, notes.
///
/// # Errors
/// `Invalid`, where a threshold is no duration.
pub fn base_plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let build = &function.spec.build;
    let mut notes = Vec::new();
    for (field, set) in [
        ("spec.image", !function.spec.image.is_empty()),
        ("spec.build.base_image", !build.base_image.is_empty()),
        ("spec.build.commands", !build.commands.is_empty()),
        ("spec.volumes", !function.spec.pod.volumes.is_empty()),
    ] {
        if set {
            notes.push(format!("{field} has no effect on this machine"));
        }
    }
    for var in &function.spec.pod.env {
        if let Some(source) = from_cluster(var) {
            notes.push(format!(
                "spec.env ({}): {source} is known on a cluster only; the variable is not set here",
                var.name
            ));
        }
    }
    Ok(HostPlan { deadline: deadline(function, run)?, grace: GRACE, notes, ..HostPlan::default() })
}

/// The environment for Python code with the function's packages.
pub fn python(function: &Function, run: &Run) -> PythonEnvironment {
    let requirements = function.spec.build.requirements.clone();
    PythonEnvironment {
        requirements,
        interpreter: None,
        exactly: run.spec.packages.clone(),
        programs: Vec::new(),
    }
}

/// Whether one of the requirements is of this package, whatever it says of its version: `dask[dataframe]>=2024`.
pub fn requires(requirements: &[String], package: &str) -> bool {
    requirements.iter().any(|requirement| {
        let end = requirement.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        requirement[..end.unwrap_or(requirement.len())].eq_ignore_ascii_case(package)
    })
}

/// How long the run may execute: the run's own threshold before the function's; `-1` is for ever. MLRun's pages call
/// it `running`, too.
fn deadline(function: &Function, run: &Run) -> Result<Option<Duration>> {
    for (thresholds, place) in
        [(&run.spec.state_thresholds, "run.spec"), (&function.spec.pod.state_thresholds, "spec")]
    {
        for name in ["executing", "running"] {
            if let Some(text) = thresholds.get(name) {
                let field = format!("{place}.state_thresholds.{name}");
                return parse_duration(text).map_err(|error| error.at(field));
            }
        }
    }
    Ok(None)
}

/// `resources.limits` of the main process.
///
/// # Errors
/// `Invalid`, where one of them is no quantity.
pub fn limits(function: &Function) -> Result<Limits> {
    let limits = function.spec.pod.resources.limits.clone().unwrap_or_default();
    let amount = |name: &str| {
        let quantity = limits.get(name).map(|quantity| quantity.0.parse::<Quantity>());
        quantity.transpose().map_err(|error| error.at(format!("spec.resources.limits.{name}")))
    };
    Ok(Limits { memory: amount("memory")?.map(Quantity::units), cpu: amount("cpu")?.map(Quantity::millis) })
}

/// The code that a function carries, as a plan's code.
pub fn source(code: SourceCode) -> Code {
    Code::Source { name: PathBuf::from(code.name), text: code.text }
}

/// The handler of this run: the run's own before the function's default.
pub fn handler<'a>(function: &'a Function, run: &'a Run) -> Option<&'a str> {
    [run.spec.handler.as_str(), function.spec.default_handler.as_str()]
        .into_iter()
        .find(|handler| !handler.is_empty())
}

/// The code of the main process, which workers import as it does.
pub fn imports(plan: &HostPlan, function: &Function) -> Vec<Code> {
    let main = plan.main().map(|main| &main.work);
    let own = match main {
        Some(Work::Python { code, .. }) => Some(code.clone()),
        _ => None,
    };
    // What lies in a folder stands for it.
    let folders = pythonpath(function);
    let folders = folders.iter().map(|folder| Code::File(Path::new(folder).join("__init__.py")));
    own.into_iter().chain(folders).collect()
}

/// Folders of `spec.pythonpath`.
pub fn pythonpath(function: &Function) -> Vec<String> {
    function.spec.pythonpath.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect()
}

/// Checks that the handler is in the code and takes what the run gives it.
///
/// # Errors
/// `Invalid`, with file and line, where the code has a syntax error, or the call does not fit it.
pub fn check_python(code: &SourceCode, handler: Option<&str>, run: &Run) -> Result<()> {
    let module = parsed(code)?;
    handler.map_or(Ok(()), |handler| module.check_call(handler, &run.spec.parameters, &run.spec.inputs))
}

/// The code's module; what was read last is not read again.
fn parsed(code: &SourceCode) -> Result<Arc<Module>> {
    const KEPT: usize = 16;
    static LAST: Mutex<VecDeque<(SourceCode, Arc<Module>)>> = Mutex::new(VecDeque::new());
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = last().iter().find(|(known, _)| known == code) {
        return Ok(Arc::clone(module));
    }
    let module = Arc::new(Module::parse(&code.name, &code.text)?);
    let mut last = last();
    last.truncate(KEPT - 1);
    last.push_front((code.clone(), Arc::clone(&module)));
    Ok(module)
}

/// Fills `{name}` in an argument with the run's parameter of that name; `{{name}}` stays `{name}`, and braces around
/// anything else stay as they are.
///
/// # Errors
/// `Invalid`, at `spec.args[index]`, where the run has no parameter of that name.
pub fn fill(argument: &str, index: usize, run: &Run) -> Result<String> {
    let mut filled = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let (literal, inner) = match rest.strip_prefix("{{") {
            Some(inner) => (true, inner),
            None => (false, &rest[1..]),
        };
        let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let (name, after) = inner.split_at(end);
        let closing = if literal { "}}" } else { "}" };
        match after.strip_prefix(closing) {
            Some(after) if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) => {
                if literal {
                    filled.push_str(&format!("{{{name}}}"));
                } else {
                    filled.push_str(&parameter(name, index, run)?);
                }
                rest = after;
            }
            _ => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn parameter(name: &str, index: usize, run: &Run) -> Result<String> {
    use serde_json::Value;
    match run.spec.parameters.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value) => Ok(value.to_string()),
        None => {
            let given: Vec<_> = run.spec.parameters.keys().map(String::as_str).collect();
            let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
            Err(Error::invalid(format!("spec.args[{index}]"), format!("the run has no parameter `{name}`"))
                .help(format!(
                    "parameters given: {given}; write {{{{{name}}}}} for the text {{{name}}} itself"
                )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_cluster_knows_is_noted() {
        let text = "kind: local\nspec: {env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k}}}]}";
        let function = Function::from_yaml(text, "f.yaml").unwrap();
        let run = Run::default();
        let notes = base_plan(&function, &run).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("spec.env (A): configMapKeyRef")), "{notes:?}");
        assert!(!crate::run::runtime_env(&function, &run).iter().any(|var| var.name == "A"));
    }

    #[test]
    fn parameters_are_filled_in_and_other_braces_stay() {
        let mut run = Run::default();
        run.spec.parameters.insert("n".into(), 3.into());
        run.spec.parameters.insert("name".into(), "x y".into());
        let filled = |text: &str| fill(text, 0, &run).unwrap();
        assert_eq!(filled("--n={n} {name}{n}"), "--n=3 x y3");
        assert_eq!(
            filled(r#"{"a": {"b": {n}}} {{n}} {print $1} {0} {"#),
            r#"{"a": {"b": 3}} {n} {print $1} {0} {"#
        );
        let error = fill("{m}", 2, &run).unwrap_err();
        assert_eq!(error.location(), Some("spec.args[2]"));
        assert!(error.help_text().unwrap().contains("n, name"), "{error}");
    }
}
