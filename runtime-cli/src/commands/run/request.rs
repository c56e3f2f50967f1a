//! From the command line to a request: which function, changed how, called with what.

use std::path::{Path, PathBuf};

use runtimes::{
    Error, Orchestrator, Request, Result,
    core::{error::did_you_mean, serde_json::Value},
    hub::{Hub, Reference},
};

use super::{Args, CallArgs, FunctionArgs, RecordArgs, hyper, watch};
use crate::{commands::hub, home::Home, parse};

/// The endings of files that can be run.
const ENDINGS: [&str; 6] = ["yaml", "yml", "json", "py", "ipynb", "sh"];

/// Where the function comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file, or a folder with a `function.yaml`.
    File(PathBuf),
    /// The store: `[PROJECT/]NAME[:TAG|@HASH]`.
    Stored(String),
    /// Elsewhere: a hub, a URL, a repository.
    Address(String),
}

impl Source {
    /// What looks like a file is one, also where it is missing: `train.py` is no function's name.
    pub(crate) fn of(target: String) -> Self {
        if target.starts_with("db://") {
            return Self::Stored(target);
        }
        if let Some(path) = target.strip_prefix("file://") {
            return Self::File(path.into());
        }
        if Reference::is_address(&target) {
            return Self::Address(target);
        }
        let path = Path::new(&target);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_path = path.is_absolute() || target.starts_with("./") || target.starts_with("../");
        if is_path || ENDINGS.contains(&ending) || path.is_file() || path.join("function.yaml").is_file() {
            Self::File(target.into())
        } else {
            Self::Stored(target)
        }
    }
}

/// The function that a text names, wherever it is.
pub(crate) async fn load(target: &str, home: &Home) -> Result<Request> {
    match Source::of(target.to_owned()) {
        Source::File(path) => from_file(&path, None),
        Source::Address(address) => from_address(&address, home).await,
        Source::Stored(uri) => {
            let orchestrator = open_for(home, &uri).await?;
            stored(&orchestrator, &uri).await
        }
    }
}

/// A function from elsewhere; it runs in the current folder, as a program does that is called by its name.
pub(crate) async fn from_address(address: &str, home: &Home) -> Result<Request> {
    let imported = Hub::open(home.path())?.import(address, &hub::progress).await?;
    hub::notes(&imported.notes);
    let mut request = Request::new(imported.function);
    request.base_dir = imported.base_dir.unwrap_or_default();
    request.work_dir = std::env::current_dir().map_err(|error| Error::io("find", ".", error))?;
    Ok(request)
}

/// The function in a file.
pub(crate) fn from_file(path: &Path, name: Option<&str>) -> Result<Request> {
    if path.is_dir() {
        let inside = path.join("function.yaml");
        if inside.is_file() {
            return Request::from_file_as(inside, name);
        }
        return Err(Error::not_found(format!("the folder {} has no function.yaml", path.display()))
            .help("name the file in it that is to be run"));
    }
    if !path.exists() {
        return Err(missing(path));
    }
    Request::from_file_as(path, name)
}

fn missing(path: &Path) -> Error {
    let error = Error::not_found(format!("there is no file {}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return error.help(format!("there is no folder {} either", folder.display()));
    };
    let names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match did_you_mean(name, names.iter().map(String::as_str)) {
        Some(close) => error.help(format!("did you mean {}?", path.with_file_name(close).display())),
        None => error.help("paths are relative to the current folder"),
    }
}

/// The store, for a function in it: looking does not make one.
pub(crate) async fn open_for(home: &Home, target: &str) -> Result<Orchestrator> {
    if home.exists() {
        return home.open().await;
    }
    Err(Error::not_found(format!(
        "there is no file `{target}`, and no function is stored in {}",
        home.path().display()
    ))
    .help("name a function.yaml, or a .py, .ipynb or .sh file"))
}

/// A function of the store.
pub(crate) async fn stored(orchestrator: &Orchestrator, uri: &str) -> Result<Request> {
    match orchestrator.function(uri).await {
        Ok(record) => Ok(Request::stored(record)),
        // Without a version it may be the name of a file that is not there.
        Err(error) if error.kind() == runtimes::ErrorKind::NotFound && !uri.contains([':', '@']) => {
            let help = error.help_text().unwrap_or("`runtimes functions` lists what is stored").to_owned();
            Err(Error::not_found(format!("there is neither a file nor a stored function `{uri}`")).help(help))
        }
        Err(error) => Err(error),
    }
}

/// Puts what the command line says over what the function says.
pub(super) fn build(mut request: Request, args: Args) -> Result<Request> {
    request = change(request, args.function)?;
    request.target = args.place.on.unwrap_or_default();
    request.auto_build = args.auto_build;
    if let Some(image) = args.image {
        request.function.spec.image = image;
    }
    request.function.spec.args.extend(args.args);
    if let Some(path) = &args.call.param_file {
        hyper::param_file(&mut request, path, &args.hyper)?;
    }
    request = call(request, args.call)?;
    hyper::hyper(&mut request, args.hyper, args.parallel)?;
    hyper::retry(&mut request, args.retry)?;
    if args.count.is_some() && request.spec.is_hyper() {
        return Err(Error::invalid("--count", "it cannot go together with hyper-parameters")
            .help("iterations are many runs already; leave one of the two out"));
    }
    if args.parallel.is_some() && args.count.is_none() && !request.spec.is_hyper() {
        return Err(Error::invalid("--parallel", "there is one run only")
            .help("it says how many runs of --count, or iterations, go on at a time"));
    }
    watch::notify(&mut request, args.notify)?;
    record(request, args.record)
}

fn change(mut request: Request, args: FunctionArgs) -> Result<Request> {
    let mut function = request.function;
    if let Some(kind) = args.kind {
        function.kind = kind;
    }
    if let Some(path) = args.env_file {
        function = function.set_envs_file(path)?;
    }
    for (name, value) in parse::unique("--env", args.env)? {
        function = function.set_env(name, value);
    }
    if let Some(limits) = args.limits {
        let (memory, cpu) = (limits.memory.as_deref(), limits.cpu.as_deref());
        function =
            function.with_limits(memory, cpu, limits.gpus, None).map_err(|error| error.under("--limits"))?;
    }
    for requirement in args.requirements {
        if !function.spec.build.requirements.contains(&requirement) {
            function.spec.build.requirements.push(requirement);
        }
    }
    request.function = function;
    request.tag = args.tag.unwrap_or_default();
    Ok(request)
}

fn call(mut request: Request, args: CallArgs) -> Result<Request> {
    let spec = &mut request.spec;
    for (name, text) in parse::unique("--param", args.params)? {
        spec.parameters.insert(name, parse::value(&text));
    }
    for (name, path) in parse::unique("--input", args.inputs)? {
        let path = parse::location(&path).map_err(|error| error.at(format!("--input {name}")))?;
        spec.inputs.insert(name, path);
    }
    spec.returns.extend(args.returns.into_iter().map(Value::String));
    spec.handler = args.handler.unwrap_or_default();
    spec.log_level = args.log_level.unwrap_or_default();
    if let Some(path) = args.artifact_path {
        spec.output_path = parse::location(&path).map_err(|error| error.at("--artifact-path"))?;
    }
    Ok(match args.timeout {
        Some(limit) => request.timeout(limit),
        None => request,
    })
}

fn record(mut request: Request, args: RecordArgs) -> Result<Request> {
    request.labels = parse::unique("--label", args.labels)?;
    request.name = args.name.unwrap_or_default();
    request.project = args.project.unwrap_or_default();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use runtimes::{Function, core::serde_json::json};

    fn args(line: &[&str]) -> Args {
        let line = ["runtimes", "run", "f.py"].into_iter().chain(line.iter().copied());
        match crate::cli::Cli::try_parse_from(line).unwrap().command {
            crate::cli::Command::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn request(line: &[&str]) -> Result<Request> {
        build(Request::new(Function::new("local", "f")), args(line))
    }

    #[test]
    fn files_and_stored_functions_are_told_apart() {
        for file in ["train.py", "train.ipynb", "./train", "/x/train", "a/function.yaml", "../x"] {
            assert_eq!(Source::of(file.into()), Source::File(file.into()));
        }
        for stored in ["train", "train:v1.2", "p/train@0123abc", "db://p/train"] {
            assert_eq!(Source::of(stored.into()), Source::Stored(stored.into()));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.py"), "").unwrap();
        let error = from_file(&folder.path().join("trian.py"), None).unwrap_err();
        assert!(error.help_text().unwrap().ends_with("/train.py?"), "{error}");
        assert!(from_file(folder.path(), None).unwrap_err().message().ends_with("has no function.yaml"));
    }

    #[test]
    fn the_command_line_goes_over_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, "epochs: 1\nrate: 0.5\n").unwrap();
        let file = file.to_str().unwrap();
        let line = [
            "--param-file",
            file,
            "-p",
            "epochs=3",
            "-p",
            "name=adam",
            "--returns",
            "a",
            "--returns",
            "b:plot",
        ];
        let request = request(&line).unwrap();
        assert_eq!(Value::Object(request.spec.parameters), json!({"epochs": 3, "rate": 0.5, "name": "adam"}));
        assert_eq!(request.spec.returns, [json!("a"), json!("b:plot")]);
    }

    #[test]
    fn everything_reaches_the_request() {
        let line = [
            "--handler",
            "fit",
            "--kind",
            "handler",
            "--requirement",
            "numpy",
            "--requirement",
            "numpy",
            "--name",
            "n",
            "--project",
            "p",
            "--label",
            "a=b",
            "--timeout",
            "10m",
            "--log-level",
            "debug",
            "--tag",
            "v1",
            "--input",
            "data=x.csv",
            "--artifact-path",
            "out",
            "--",
            "--lr",
            "0.1",
        ];
        let request = request(&line).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(request.function.kind, "handler");
        assert_eq!(request.function.spec.build.requirements, ["numpy"]);
        assert_eq!(request.function.spec.args, ["--lr", "0.1"]);
        assert_eq!((request.name.as_str(), request.project.as_str(), request.tag.as_str()), ("n", "p", "v1"));
        assert_eq!(request.labels["a"], "b");
        assert_eq!(request.spec.handler, "fit");
        assert_eq!(request.spec.log_level, "debug");
        assert_eq!(request.spec.state_thresholds["executing"], "600000ms");
        assert_eq!(Path::new(&request.spec.inputs["data"]), here.join("x.csv"));
        assert_eq!(Path::new(&request.spec.output_path), here.join("out"));
    }

    #[test]
    fn twice_is_an_error() {
        for (line, option) in [
            (["-p", "a=1", "-p", "a=1"], "--param"),
            (["--env", "a=1", "--env", "a=2"], "--env"),
            (["--input", "a=1", "--input", "a=2"], "--input"),
            (["--label", "a=1", "--label", "a=2"], "--label"),
        ] {
            assert_eq!(request(&line).unwrap_err().location(), Some(option));
        }
    }
}
