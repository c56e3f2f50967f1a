//! The kinds and the target of this crate do what every kind and every target does.
#![cfg(all(feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{path::Path, sync::Arc, time::Duration};

use runtime_core::{
    Function, Plan, Target,
    plan::{
        Code, EnvValue, EnvVar, HostPlan, Isolation, Limits, Process, PythonEnvironment, Readiness, Role,
        Work,
    },
    run::RunKey,
    serde_json::json,
    testkit::{Fixture, Program, Sample, kind_conformance, target_conformance},
};
use runtime_local::{
    HostTarget,
    handler::{self, Context, HandlerRuntime},
    local::{self, LocalRuntime},
};

const CODE: &str = "def fit(context, depth: int = 3):\n    context.log_result('depth', depth)\n";

#[test]
fn local_is_a_kind() {
    let function = |name: &str| Function::new(local::KIND, name);
    let plain = |function| Sample::new(function, |_| {});
    let mut pass = function("pass").with_command("python3").with_args(["-c", "print('{x}')"]);
    pass.spec.mode = "pass".to_owned();
    kind_conformance(
        &LocalRuntime,
        &[
            plain(function("whole-program").with_code(CODE)),
            Sample::new(function("its-handler").with_code(CODE).with_handler("fit"), |run| {
                run.spec.parameters.insert("depth".to_owned(), 4.into());
            }),
            Sample::new(function("file").with_command("train.py"), |run| run.spec.handler = "fit".to_owned()),
            plain(function("module").with_handler("package.module:fit")),
            plain(function("packages").with_code(CODE).with_requirements(["scikit-learn"])),
            plain(function("script").embed_code("report.sh", "echo hello\n").with_workdir("data")),
            Sample::new(function("program").with_command("echo").with_args(["--n={n}", "{{n}}"]), |run| {
                run.spec.parameters.insert("n".to_owned(), 3.into());
            }),
            Sample::new(pass, |run| {
                run.spec.parameters.insert("x".to_owned(), "y".into());
            }),
        ],
    );
}

#[derive(serde::Deserialize)]
struct Doubled {
    n: i64,
}

fn double(_: &Context, Doubled { n }: Doubled) -> Result<i64, String> {
    n.checked_mul(2).ok_or_else(|| "too large".to_owned())
}
runtime_local::handler!(double);

#[test]
fn handler_is_a_kind() {
    let function = |name: &str| Function::new(handler::KIND, name);
    let plain = |function| Sample::new(function, |_| {});
    let mut reuse = function("reuse").with_code(CODE).with_handler("fit");
    reuse.spec.extra.insert("reuse".to_owned(), true.into());
    kind_conformance(
        &HandlerRuntime,
        &[
            plain(function("carried").with_code(CODE).with_handler("fit")),
            plain(reuse),
            Sample::new(function("file").with_command("train.py"), |run| run.spec.handler = "fit".to_owned()),
            plain(function("module").with_handler("package.module:fit")),
            Sample::new(function("rust").with_handler("double"), |run| {
                run.spec.parameters.insert("n".to_owned(), 3.into());
            }),
        ],
    );
}

/// This machine, and how programs are run on it.
struct Machine {
    folder: tempfile::TempDir,
    work: fn(&str) -> Work,
}

/// A handler forked from a warm interpreter, which becomes a shell.
fn forked(script: &str) -> Work {
    let text =
        format!("import os\ndef run(context):\n    os.execv('/bin/sh', ['sh', '-c', {}])\n", json!(script));
    Work::Python {
        code: Code::Source { name: "become.py".into(), text },
        handler: Some("run".to_owned()),
        args: Vec::new(),
        pythonpath: Vec::new(),
        isolation: Isolation::Fork,
    }
}

impl Machine {
    fn new(work: fn(&str) -> Work) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), work }
    }

    fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("home")
    }
}

fn main_process(work: Work) -> Process {
    Process {
        name: "main".to_owned(),
        role: Role::Main,
        work,
        env: Vec::new(),
        workdir: None,
        limits: Limits::default(),
        ready: Readiness::Started,
        after: Vec::new(),
        imports: Vec::new(),
        launcher: None,
    }
}

fn program(command: &str, args: &[&str]) -> Work {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Work::Program { command: command.to_owned(), args, code: None }
}

fn plan_of(process: Process) -> HostPlan {
    HostPlan { processes: vec![process], grace: Duration::from_secs(30), ..HostPlan::default() }
}

impl Fixture for Machine {
    fn open(&self) -> Arc<dyn Target> {
        Arc::new(HostTarget::new(self.home()))
    }

    fn plan(&self, wanted: &Program, _: &RunKey, _: u32) -> Plan {
        let work = (self.work)(&wanted.script);
        let python = matches!(work, Work::Python { .. }).then(PythonEnvironment::default);
        let plan = plan_of(main_process(work));
        Plan::Host(HostPlan { python, deadline: wanted.deadline, grace: wanted.grace, ..plan })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn remains(&self, key: &RunKey) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.home()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                // Whole components: an iteration's key begins with its parent's.
                if path.components().any(|component| component.as_os_str() == key.to_string().as_str()) {
                    found.push(path.display().to_string());
                }
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        found
    }

    fn impossible(&self) -> Vec<(Plan, &'static str)> {
        let host = |process| Plan::Host(plan_of(process));
        let fine = || main_process(program("sh", &["-c", "exit 0"]));
        let secret = EnvValue::Secret { name: "db".to_owned(), key: "password".to_owned(), optional: false };
        let python = |code, interpreter: Option<&str>| {
            let (handler, args, pythonpath) = (Some("fit".to_owned()), Vec::new(), Vec::new());
            let isolation = Isolation::Process;
            let work = Work::Python { code, handler, args, pythonpath, isolation };
            let environment = PythonEnvironment {
                programs: Vec::new(),
                requirements: Vec::new(),
                interpreter: interpreter.map(str::to_owned),
                exactly: None,
            };
            Plan::Host(HostPlan { python: Some(environment), ..plan_of(main_process(work)) })
        };
        let carried = || Code::Source { name: "train.py".into(), text: CODE.to_owned() };
        vec![
            (host(main_process(program("no-such-program", &[]))), "no-such-program"),
            (host(main_process(program("./no-such-script.sh", &[]))), "no-such-script.sh"),
            (host(Process { workdir: Some("no-such-folder".to_owned()), ..fine() }), "no-such-folder"),
            (
                host(Process { env: vec![EnvVar { name: "PASSWORD".to_owned(), value: secret }], ..fine() }),
                "password",
            ),
            (python(carried(), Some("no-such-python")), "no-such-python"),
            (python(Code::File("no-such-file.py".into()), None), "no-such-file.py"),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_is_a_target() {
    target_conformance(&Machine::new(|script| program("sh", &["-c", script]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_is_a_target_for_what_is_forked() {
    target_conformance(&Machine::new(forked)).await;
}
