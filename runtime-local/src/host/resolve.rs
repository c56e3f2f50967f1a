//! From a process as a plan describes it to a program that can be started here.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use runtime_core::{
    Error, ErrorKind, Result,
    cluster::expand,
    plan::{Code, EnvValue, EnvVar, HostPlan, Launcher, Needed, Process, Work},
    run::exec_config,
    secret::SecretSource,
    serde_json,
    target::Job,
};

use super::{
    agent::{self, Load, Spec},
    given,
    layout::{Layout, write_atomically},
    process::{strays::MARK, supervisor::Invocation},
};

/// Linux takes at most 128 KiB for one variable; code that needs more finds the run in its file.
const LONGEST_VARIABLE: usize = 127 * 1024;

/// What a run's processes are resolved with.
pub(crate) struct Resolver<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) job: &'a Job,
    pub(crate) attempt: &'a Path,
    /// The interpreter of the run's environment, where it has one.
    pub(crate) python: Option<&'a Path>,
    /// The virtual environment's folder, where there is one.
    pub(crate) environment: Option<&'a Path>,
    pub(crate) ports: &'a BTreeMap<String, u16>,
    pub(crate) secrets: &'a dyn SecretSource,
    /// The folder with the secrets that its code reads by name, where it has any.
    pub(crate) given: Option<&'a Path>,
}

impl Resolver<'_> {
    /// The program to start for this process; writes what it will read.
    pub(crate) fn invocation(&self, process: &Process, limits: &str) -> Result<Invocation> {
        let mut env = self.env(process)?;
        if matches!(process.work, Work::Program { .. }) || process.launcher.is_some() {
            // A program without an agent may write its own report; what starts several writes that of all.
            env.insert("RUNTIMES_REPORT".to_owned(), self.report_file(process).display().to_string());
        }
        let workdir = self.workdir(process);
        let (program, args) = match &process.work {
            Work::Program { command, args, code } => {
                let path = self.program(command, code.as_ref(), &workdir, env.get("PATH"))?;
                let args = args.iter().map(|arg| HostPlan::fill_ports(arg, self.ports).into());
                runnable(path, args.collect())
            }
            Work::Python { .. } => {
                let load = Some(self.load(process)?);
                let spec = self.spec(process, load, Some(self.report_file(process)));
                let file = self.spec_file(process);
                let text = serde_json::to_vec(&spec)
                    .map_err(|error| Error::internal("a run cannot be written").source(error))?;
                write_atomically(&file, &text)?;
                let agent = self.layout.agent()?;
                let args = [
                    "-c".into(),
                    runtime_core::agent::BOOT.into(),
                    agent.into_os_string(),
                    "run".into(),
                    file.into_os_string(),
                ];
                (self.interpreter()?.to_owned(), args.to_vec())
            }
            work => return Err(Error::internal(format!("{work:?} is no program"))),
        };
        let (program, args) = self.launched(process, program, args)?;
        Ok(Invocation { program, args, env, workdir, limits: limits.to_owned() })
    }

    /// The program with its arguments, or what starts it.
    fn launched(
        &self,
        process: &Process,
        program: PathBuf,
        args: Vec<OsString>,
    ) -> Result<(PathBuf, Vec<OsString>)> {
        let Some(Launcher { mode, options }) = &process.launcher else { return Ok((program, args)) };
        // Not on the command line, which all can read: some settings are secrets.
        let file = self.attempt.join(format!("{}.launch.json", process.name));
        write_atomically(&file, HostPlan::fill_ports(&options.to_string(), self.ports).as_bytes())?;
        let own = [
            "-c".into(),
            runtime_core::agent::BOOT.into(),
            self.layout.agent()?.into_os_string(),
            mode.into(),
            file.into_os_string(),
            program.into_os_string(),
        ];
        Ok((self.interpreter()?.to_owned(), own.into_iter().chain(args).collect()))
    }

    /// The command of a warm template.
    pub(crate) fn template(&self, process: &Process) -> Result<Invocation> {
        let args = [
            "-c".into(),
            runtime_core::agent::BOOT.into(),
            self.layout.agent()?.into_os_string(),
            "template".into(),
        ];
        Ok(Invocation {
            program: self.interpreter()?.to_owned(),
            args: args.to_vec(),
            env: self.shared_env(process)?,
            workdir: self.workdir(process),
            limits: String::new(),
        })
    }

    /// What the agent is told of the code.
    pub(crate) fn load<'a>(&'a self, process: &'a Process) -> Result<Load<'a>> {
        let Work::Python { code, handler, args, pythonpath, .. } = &process.work else {
            return Err(Error::internal("only Python has an agent"));
        };
        let code = match code {
            Code::Module(module) => agent::Place::Module { module },
            code => {
                let (path, name) = self.code_file(code)?;
                agent::Place::File { path, name }
            }
        };
        Ok(Load {
            code,
            handler: handler.as_deref(),
            args: args.iter().map(|arg| HostPlan::fill_ports(arg, self.ports)).collect(),
            pythonpath: pythonpath.iter().map(|folder| self.job.base_dir.join(folder)).collect(),
            base_dir: &self.job.base_dir,
        })
    }

    /// What the agent is told of the run.
    pub(crate) fn spec<'a>(
        &'a self,
        process: &'a Process,
        load: Option<Load<'a>>,
        report: Option<PathBuf>,
    ) -> Spec<'a> {
        Spec {
            load,
            run: &self.job.run,
            report,
            artifact_path: &self.job.artifact_path,
            inputs: &self.job.inputs,
            meta_tmpfile: self.meta_file(process),
        }
    }

    /// Where the code's report is written.
    pub(crate) fn report_file(&self, process: &Process) -> PathBuf {
        self.attempt.join(format!("{}.report.json", process.name))
    }

    fn spec_file(&self, process: &Process) -> PathBuf {
        self.attempt.join(format!("{}.run.json", process.name))
    }

    fn meta_file(&self, process: &Process) -> PathBuf {
        self.attempt.join(format!("{}.meta.json", process.name))
    }

    /// The whole environment of a process, secrets resolved: for a process alone, never to be kept.
    pub(crate) fn env(&self, process: &Process) -> Result<BTreeMap<String, String>> {
        let mut env = self.shared_env(process)?;
        env.extend(self.run_env(process));
        Ok(env)
    }

    /// The variables that are the same for all runs of a function.
    pub(crate) fn shared_env(&self, process: &Process) -> Result<BTreeMap<String, String>> {
        // Whoever waits for the log wants each line when it is printed.
        let mut env = BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]);
        if let Some(environment) = self.environment {
            env.insert("VIRTUAL_ENV".to_owned(), environment.display().to_string());
        }
        if let Some(bin) = self.python.and_then(Path::parent) {
            let path = std::env::var("PATH").unwrap_or_default();
            env.insert("PATH".to_owned(), format!("{}:{path}", bin.display()));
        }
        // As in a container, a variable can have others in it that come before.
        let mut own = BTreeMap::new();
        for EnvVar { name, value } in &process.env {
            let value = match value {
                EnvValue::Value(value) => {
                    let value = expand(value, |name| own.get(name).map(String::as_str));
                    Some(HostPlan::fill_ports(&value, self.ports))
                }
                EnvValue::Secret { name: secret, key, optional } => {
                    find_secret(self.secrets, name, secret, key, *optional)?
                }
            };
            own.extend(value.map(|value| (name.clone(), value)));
        }
        env.extend(own);
        self.imports(process, &mut env)?;
        Ok(env)
    }

    /// Puts the folders of code that is to be imported in front of its Python's path.
    fn imports(&self, process: &Process, env: &mut BTreeMap<String, String>) -> Result<()> {
        let mut folders = Vec::new();
        for code in &process.imports {
            let folder = match code {
                Code::Module(_) => self.job.base_dir.clone(),
                code => {
                    let (file, _) = self.code_file(code)?;
                    file.parent().unwrap_or(&self.job.base_dir).to_owned()
                }
            };
            folders.push(folder);
        }
        if folders.is_empty() {
            return Ok(());
        }
        let inherited = std::env::var("PYTHONPATH").unwrap_or_default();
        let known = env.get("PYTHONPATH").unwrap_or(&inherited);
        folders.extend(std::env::split_paths(known).filter(|folder| !folder.as_os_str().is_empty()));
        let path = std::env::join_paths(folders).map_err(|error| {
            Error::invalid(
                "spec.command",
                "the folder of its code has a `:` in its name, and cannot be on Python's path",
            )
            .source(error)
        })?;
        env.insert("PYTHONPATH".to_owned(), path.to_string_lossy().into_owned());
        Ok(())
    }

    /// The variables of this run alone.
    pub(crate) fn run_env(&self, process: &Process) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([(MARK.to_owned(), self.job.key.to_string())]);
        env.insert("RUNTIMES_RUN_FILE".to_owned(), self.spec_file(process).display().to_string());
        env.insert("MLRUN_META_TMPFILE".to_owned(), self.meta_file(process).display().to_string());
        if let Some(given) = self.given {
            env.insert(given::VARIABLE.to_owned(), given.display().to_string());
        }
        let config = exec_config(&self.job.run, &self.job.artifact_path, &self.job.inputs);
        if config.len() <= LONGEST_VARIABLE {
            env.insert("MLRUN_EXEC_CONFIG".to_owned(), config);
        }
        env
    }

    pub(crate) fn workdir(&self, process: &Process) -> PathBuf {
        match &process.workdir {
            Some(workdir) => self.job.base_dir.join(workdir),
            None => self.job.work_dir.clone(),
        }
    }

    pub(crate) fn interpreter(&self) -> Result<&Path> {
        self.python.ok_or_else(|| Error::internal("the plan has Python work and no environment"))
    }

    /// The file to run, and what it is called.
    fn code_file(&self, code: &Code) -> Result<(PathBuf, PathBuf)> {
        match code {
            Code::File(path) => {
                let path = self.job.base_dir.join(path);
                Ok((path.clone(), path))
            }
            Code::Source { name, text } => {
                let original = self.job.base_dir.join(name);
                // The file itself, where it is still what the function carries: its neighbours can be imported.
                if fs::read(&original).is_ok_and(|content| content == text.as_bytes()) {
                    return Ok((original.clone(), original));
                }
                Ok((self.layout.code(name, text)?, original))
            }
            Code::Module(module) => Err(Error::internal(format!("{module} is no file"))),
        }
    }

    fn program(
        &self,
        command: &str,
        code: Option<&Code>,
        workdir: &Path,
        path: Option<&String>,
    ) -> Result<PathBuf> {
        if let Some(code) = code {
            return Ok(self.code_file(code)?.0);
        }
        if let (true, Some(python)) = (matches!(command, "python" | "python3"), self.python) {
            return Ok(python.to_owned());
        }
        let own = std::env::var("PATH").unwrap_or_default();
        find_program(command, &[workdir, &self.job.base_dir], path.unwrap_or(&own))
    }
}

/// A program by its name on `path`, or by its path below one of `folders`.
///
/// # Errors
/// `NotFound`, saying where it was looked for.
pub(crate) fn find_program(command: &str, folders: &[&Path], path: &str) -> Result<PathBuf> {
    if command.contains('/') {
        let found = folders.iter().map(|folder| folder.join(command)).find(|path| path.is_file());
        return found.ok_or_else(|| {
            let mut folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            folders.dedup();
            Error::not_found(format!("there is no file {command:?} in {}", folders.join(" or ")))
                .at("spec.command")
                .help("paths are read against the function's folder")
        });
    }
    let on_path =
        std::env::split_paths(path).map(|folder| folder.join(command)).find(|path| executable(path));
    let beside = || folders.iter().map(|folder| folder.join(command)).find(|path| path.is_file());
    on_path.or_else(beside).ok_or_else(|| {
        Error::not_found(format!(
            "there is no program {command:?} on PATH, and no such file beside the function"
        ))
        .at("spec.command")
        .help("install it, or write the path of a program or a script")
    })
}

/// Whether the machine has this program: where its variable says, or on `PATH`.
pub(crate) fn is_installed(needed: &Needed) -> bool {
    let home = needed.home.as_ref().and_then(std::env::var_os).map(|home| Path::new(&home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    home.into_iter()
        .chain(std::env::split_paths(&path))
        .any(|folder| executable(&folder.join(&needed.program)))
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A script that nobody made executable is given to a shell, as people do by hand.
fn runnable(path: PathBuf, mut args: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
    if executable(&path) {
        return (path, args);
    }
    args.insert(0, path.into_os_string());
    (PathBuf::from("/bin/sh"), args)
}

/// A secret for a variable; none where it is absent and optional.
pub(crate) fn find_secret(
    secrets: &dyn SecretSource,
    variable: &str,
    name: &str,
    key: &str,
    optional: bool,
) -> Result<Option<String>> {
    let place = || format!("spec.env ({variable})");
    match secrets.get(name, key).map_err(|error| error.under(&place()))? {
        Some(secret) => Ok(Some(secret.expose().to_owned())),
        None if optional => Ok(None),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!("the secret {name:?} has no key {key:?}, or there is no such secret"),
        )
        .at(place())
        .help(secrets.how_to_set(name, key))),
    }
}
