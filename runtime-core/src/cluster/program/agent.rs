//! Our own agent in a container: any image with Python 3.9 or later will do.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, ConfigMapVolumeSource, EnvVar, Volume, VolumeMount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::{
    CODE_DIR, Carry,
    command::{Command, carried, check_handler, passed, workdir},
};
use crate::{
    Error, Function, Result, Run, agent,
    cluster::variable,
    labels,
    plan::{
        host::{fill, handler},
        program::Mode,
    },
};

/// The folder of the agent's package.
const AGENT_DIR: &str = "/runtimes/agent";
/// The name of its volume.
const AGENT_VOLUME: &str = "runtimes-agent";
/// The variable with the code, where it fits into one.
const CODE: &str = "MLRUN_EXEC_CODE";

/// What our agent starts for the run; for what is no Python and passed as it is, the program itself. The second value
/// says whether the agent is needed.
pub(super) fn of(function: &Function, run: &Run, mode: Mode, carry: Carry) -> Result<(Command, bool)> {
    check_handler(run, mode)?;
    let spec = &function.spec;
    let build = &spec.build;
    let source = fetched(function)?;
    let workdir = workdir(function, source.is_some());
    let has_code = !build.function_source_code.is_empty();
    if mode == Mode::Pass && !has_code && source.is_none() {
        return passed(function, run, workdir).map(|command| (command, false));
    }
    let (code, file) = if has_code { carried(function, carry)? } else { (None, None) };
    let args = spec.args.iter().enumerate().map(|(index, arg)| fill(arg, index, run));
    let args = args.collect::<Result<Vec<_>>>()?;
    let handler = handler(function, run).filter(|_| mode == Mode::Agent);
    let folders = spec.pythonpath.split(':').filter(|folder| !folder.is_empty()).collect::<Vec<_>>();
    let mut what = match place(function, run, handler, file.as_ref(), code.is_some())? {
        Place::Code(code, handler) => {
            json!({"code": code, "handler": handler, "args": args, "pythonpath": folders})
        }
        Place::Script(code) => json!({"script": code, "args": args}),
        Place::Program(program) => {
            let program: Vec<_> = std::iter::once(program).chain(args).collect();
            json!({"program": program})
        }
    };
    if let Some(source) = source {
        what["source"] = source;
    }
    let started = agent::BOOT.to_owned();
    let command = ["python3".to_owned(), "-c".to_owned(), started, AGENT_DIR.to_owned()].to_vec();
    Ok((Command { command, args: vec!["pod".to_owned(), what.to_string()], code, file, workdir }, true))
}

/// What is fetched before anything is started, if anything is.
fn fetched(function: &Function) -> Result<Option<Value>> {
    let (spec, build) = (&function.spec, &function.spec.build);
    let address = build.source.as_str();
    if !build.load_source_on_run || address.is_empty() {
        return Ok(None);
    }
    let wrong = |what: &str| {
        Error::invalid("spec.build.source", what).help(
            "write an archive (https://….tar.gz, .tgz, .tar, .zip; or an absolute path of the image), or a repository \
             (git://host/owner/repo.git#branch); `agent: mlrun`, in an image with MLRun, knows more",
        )
    };
    let url = address.split('#').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let user = rest.split('/').next().and_then(|host| host.rsplit_once('@')).map(|(user, _)| user);
    if scheme.starts_with("http") | scheme.starts_with("git") && !scheme.ends_with("ssh") && user.is_some() {
        return Err(Error::invalid(
            "spec.build.source",
            "the address has credentials, which all who see the pod can read",
        )
        .help(
            "leave them out, and give the run a GIT_TOKEN (or GIT_USERNAME and GIT_PASSWORD) by a secret",
        ));
    }
    let is_archive = [".tar.gz", ".tgz", ".tar", ".zip"]
        .iter()
        .any(|ending| rest.split('?').next().is_some_and(|path| path.to_ascii_lowercase().ends_with(ending)));
    match scheme {
        "git" | "git+https" | "git+http" | "git+ssh" | "git+file" | "ssh" => {}
        "http" | "https" if is_archive || rest.trim_end_matches('/').ends_with(".git") => {}
        "http" | "https" => return Err(wrong("this is neither an archive nor a repository by its name")),
        "" | "file" if rest.starts_with('/') => {}
        "" if rest.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/')) => {}
        "" | "file" => return Err(wrong(&format!("{address:?} is a path of this machine"))),
        _ => return Err(wrong(&format!("pods cannot fetch from {scheme}://"))),
    }
    let roots = [&spec.clone_target_dir, &build.source_code_target_dir];
    let target = roots.into_iter().find(|root| !root.is_empty());
    Ok(Some(json!({"address": address, "target": target, "workdir": spec.workdir})))
}

/// What the agent starts.
enum Place<'a> {
    /// Python code, and the handler in it.
    Code(Value, Option<&'a str>),
    /// A script that the function carries.
    Script(Value),
    /// A program of the image.
    Program(String),
}

fn place<'a>(
    function: &Function,
    run: &Run,
    handler: Option<&'a str>,
    file: Option<&(String, String)>,
    in_variable: bool,
) -> Result<Place<'a>> {
    let spec = &function.spec;
    if file.is_some() || in_variable {
        let name = function.code()?.map(|code| code.name).unwrap_or_default();
        let name = Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or("main.py");
        let code = match file {
            Some((name, _)) => json!({"path": format!("{CODE_DIR}/{name}")}),
            None => json!({"variable": CODE, "name": name}),
        };
        return match (name.ends_with(".py"), handler) {
            (true, handler) => Ok(Place::Code(code, handler)),
            (false, None) => Ok(Place::Script(code)),
            (false, Some(handler)) => Err(no_handler(name, handler)),
        };
    }
    let command = fill(&spec.command, 0, run).map_err(|error| error.at("spec.command"))?;
    match (command.as_str(), handler.and_then(|handler| handler.split_once(':'))) {
        ("", Some((module, name))) if !name.starts_with(':') => {
            Ok(Place::Code(json!({"module": module}), Some(name)))
        }
        ("", _) => Err(Error::invalid("spec.command", "there is nothing to run").help(
            "write a program or a Python file of the image (`command: train.py`), put the code into \
             `build.functionSourceCode`, or name a handler `module:function`",
        )),
        (file, _) if file.ends_with(".py") => Ok(Place::Code(json!({"path": file}), handler)),
        (program, _) => match handler {
            None => Ok(Place::Program(program.to_owned())),
            Some(handler) => Err(no_handler(program, handler)),
        },
    }
}

fn no_handler(program: &str, handler: &str) -> Error {
    Error::invalid("handler", format!("{program} is not Python: it has no handler `{handler}`"))
        .help("leave the handler out, or give a `.py` file")
}

/// The variables that Python in a container needs.
pub(super) fn env() -> [EnvVar; 2] {
    // Whoever waits for the log wants each line when it is printed; what is mounted cannot be written.
    [variable("PYTHONUNBUFFERED", "1"), variable("PYTHONDONTWRITEBYTECODE", "1")]
}

/// The config map itself: it is large, so the one that was made last is kept for the next run.
fn config_map(name: &str, namespace: Option<String>) -> Arc<ConfigMap> {
    static LAST: Mutex<Option<Arc<ConfigMap>>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(map) = last.as_ref().filter(|map| map.metadata.namespace == namespace) {
        return Arc::clone(map);
    }
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace,
        labels: Some([(labels::SHARED.to_owned(), "true".to_owned())].into()),
        ..ObjectMeta::default()
    };
    let data = agent::FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let map = Arc::new(ConfigMap { metadata, data: Some(data.collect()), ..ConfigMap::default() });
    *last = Some(Arc::clone(&map));
    map
}

/// The config map with the agent, which all runs of a namespace share; its volume, and where it is mounted.
pub(super) fn files(namespace: Option<String>) -> (Arc<ConfigMap>, Volume, VolumeMount) {
    let name = format!("runtimes-agent-{}", agent::version());
    let map = config_map(&name, namespace);
    let source = ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() };
    let volume = Volume { name: AGENT_VOLUME.to_owned(), config_map: Some(source), ..Volume::default() };
    let mount = VolumeMount {
        name: AGENT_VOLUME.to_owned(),
        // The package itself: its keys are files.
        mount_path: format!("{AGENT_DIR}/runtimes"),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (map, volume, mount)
}
