//! Work of every sort that can be run here. Each appends its process id to `pids`, so that a second start is seen, and
//! prints numbered lines to both streams. While the scene holds it ([`Scene::hold`]), a program or a Python handler does
//! not end by itself.

use runtimes::{
    Function, Request,
    core::run::{Backoff, Retry},
    handler::Context,
};

use super::Scene;

/// How many lines each prints to each stream.
pub(crate) const LINES: usize = 40;

const SHELL: &str = "echo $$ >>pids; i=0; while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; i=$((i+1)); sleep 0.002; done; while [ -e hold ]; do sleep 0.01; done; exit 7";

const FLAKY: &str = "echo $$ >>pids; n=$(wc -l <pids); echo try $n; [ $n -ge 3 ]";

const ITERATION: &str = r#"
import time

def work(context, n):
    with open("pids", "a") as file:
        file.write("%d\n" % n)
    print("begin", n, flush=True)
    time.sleep(0.02)
    print("end")
    context.log_result("answer", n)
"#;

const ENDLESS: &str = "echo $$ >>pids; echo ready; while :; do sleep 1000; done";

const ONE_LINE: &str = "head -c 100000000 /dev/zero | tr '\\0' x";

const PYTHON: &str = r#"
import os, sys, time

def work(context):
    with open("pids", "a") as file:
        file.write("%d\n" % os.getpid())
    for i in range(40):
        print("out", i)
        print("err", i, file=sys.stderr)
        time.sleep(0.002)
    while os.path.exists("hold"):
        time.sleep(0.01)
    context.log_result("answer", 42)
"#;

const PROGRAM: &str = r#"
import os, sys, time
with open("pids", "a") as file:
    file.write("%d\n" % os.getpid())
for i in range(40):
    print("out", i)
    print("err", i, file=sys.stderr)
    time.sleep(0.002)
while os.path.exists("hold"):
    time.sleep(0.01)
sys.exit(7)
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A shell program.
    Shell,
    /// A whole Python program.
    Program,
    /// A Python handler as a process of its own.
    Handler,
    /// A Python handler forked from a warm template.
    Forked,
    /// A Python handler on one worker.
    Reuse,
    /// A Rust handler.
    Rust,
    /// A shell program that says `ready` and goes on until it is stopped.
    Endless,
    /// A shell program that prints one line of 100 MB.
    OneLine,
    /// A Python handler that needs a package.
    Packaged,
    /// A forked Python handler with hyper-parameters: six iterations, two at a time.
    Sweep,
    /// The same, with a process for each.
    Processes,
    /// A shell program that fails twice, and is tried again.
    Flaky,
}

impl Work {
    pub(crate) const ALL: [Self; 6] =
        [Self::Shell, Self::Program, Self::Handler, Self::Forked, Self::Reuse, Self::Rust];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn of(name: &str) -> Self {
        let more = [Self::Endless, Self::OneLine, Self::Packaged, Self::Sweep, Self::Processes, Self::Flaky];
        Self::ALL.into_iter().chain(more).find(|work| work.name() == name).unwrap()
    }

    pub(crate) fn function(self) -> Function {
        match self {
            Self::Shell => Function::new("local", "shell").with_command("sh").with_args(["-c", SHELL]),
            Self::Program => Function::new("local", "program").with_code(PROGRAM),
            Self::Packaged => Function::new("local", "packaged")
                .with_code(&format!("import thing{PYTHON}"))
                .with_handler("work"),
            Self::Handler => Function::new("local", "handler").with_code(PYTHON).with_handler("work"),
            Self::Forked => Function::new("handler", "forked").with_code(PYTHON).with_handler("work"),
            Self::Reuse => {
                let mut function = Function::new("handler", "reuse").with_code(PYTHON).with_handler("work");
                function.spec.extra.insert("reuse".to_owned(), true.into());
                function
            }
            Self::Endless => Function::new("local", "endless").with_command("sh").with_args(["-c", ENDLESS]),
            Self::OneLine => Function::new("local", "line").with_command("sh").with_args(["-c", ONE_LINE]),
            Self::Sweep => Function::new("handler", "sweep").with_code(ITERATION).with_handler("work"),
            Self::Processes => Function::new("local", "sweep").with_code(ITERATION).with_handler("work"),
            Self::Flaky => Function::new("local", "flaky").with_command("sh").with_args(["-c", FLAKY]),
            Self::Rust => Function::new("handler", "rust").with_handler("rust_work"),
        }
    }

    pub(crate) fn request(self, scene: &Scene) -> Request {
        let mut request = Request::new(self.function());
        request.base_dir = scene.path().to_owned();
        if self == Self::Packaged {
            request.function.spec.build.requirements = vec![format!("thing @ file://{}", wheel(scene))];
        }
        if matches!(self, Self::Sweep | Self::Processes) {
            request.spec.hyperparams.insert("n".to_owned(), (1..=6).collect());
            let options = &mut request.spec.hyper_param_options;
            (options.selector, options.parallel_runs) = (Some("max.answer".to_owned()), Some(2));
        }
        if self == Self::Flaky {
            let backoff = Backoff { base_delay: Some("20ms".to_owned()), ..Backoff::default() };
            request.spec.retry = Some(Retry { backoff: Some(backoff), ..Retry::new(2) });
        }
        if self == Self::Rust {
            request = request.parameter("path", scene.pids().display().to_string());
        }
        request
    }

    /// How it ends where nobody stops it.
    pub(crate) fn exit_code(self) -> i32 {
        if matches!(self, Self::Shell | Self::Program) { 7 } else { 0 }
    }
}

/// A wheel of one empty module.
fn wheel(scene: &Scene) -> String {
    let file = scene.path().join("thing-1.0-py3-none-any.whl").display().to_string();
    let code = format!(
        "import zipfile\nz = zipfile.ZipFile({file:?}, 'w')\nz.writestr('thing.py', '')\n\
         info = 'thing-1.0.dist-info/'\n\
         z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n')\n\
         z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
         z.writestr(info + 'RECORD', '')\nz.close()"
    );
    assert!(std::process::Command::new("python3").args(["-c", &code]).status().unwrap().success());
    file
}

#[derive(serde::Deserialize)]
struct Pids {
    path: std::path::PathBuf,
}

#[derive(serde::Serialize)]
struct Answer {
    answer: i32,
}

fn rust_work(context: &Context, Pids { path }: Pids) -> std::io::Result<Answer> {
    use std::io::Write;
    writeln!(std::fs::File::options().append(true).create(true).open(path)?, "{}", std::process::id())?;
    for i in 0..LINES {
        context.log(format!("out {i}"));
        std::thread::sleep(std::time::Duration::from_millis(2));
        if context.is_cancelled() {
            break;
        }
    }
    Ok(Answer { answer: 42 })
}
runtimes::local::handler!(rust_work);
