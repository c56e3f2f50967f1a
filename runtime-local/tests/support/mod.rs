//! What the tests of environments need: wheels, other processes, and a package index under control.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use runtime_core::plan::PythonEnvironment;
use runtime_local::host::environment::{Environments, Progress};
use tokio::sync::mpsc;

const HOME: &str = "RUNTIMES_TEST_HOME";
const LINES: &str = "RUNTIMES_TEST_REQUIREMENTS";

/// A build in a process of its own.
pub(crate) struct Builder(Child);

impl Builder {
    pub(crate) fn start(home: &Path, requirements: &[&str], variables: &[(&str, &str)]) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "builder", "--nocapture"])
            .env(HOME, home)
            .env(LINES, requirements.join("\n"))
            .env("PIP_RETRIES", "0")
            .env("NO_PROXY", "127.0.0.1")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits for its end; what it printed.
    pub(crate) fn finish(self) -> String {
        String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap()
    }

    /// `kill -9`, of it alone.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// In a [`Builder`]: builds, and prints what happens.
pub(crate) fn build_if_asked() {
    let (Some(home), Ok(lines)) = (env::var_os(HOME), env::var(LINES)) else { return };
    let wanted = PythonEnvironment {
        requirements: lines.lines().map(str::to_owned).collect(),
        ..PythonEnvironment::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    println!();
    let built = runtime.block_on(Environments::new(home).build(&wanted, |progress| match progress {
        Progress::Step { what } => println!("step: {what}"),
        Progress::Line(line) => println!("line: {line}"),
        _ => {}
    }));
    match built {
        Ok(environment) => println!("ready: {}", environment.python.display()),
        Err(error) => println!("error: {error}"),
    }
}

/// Collects the steps of builds.
pub(crate) fn steps() -> (impl Fn(Progress) + Sync + Send, impl Fn() -> Vec<String>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = steps.clone();
    let tell = move |progress| {
        if let Progress::Step { what } = progress {
            told.lock().unwrap().push(what);
        }
    };
    (tell, move || steps.lock().unwrap().clone())
}

/// Writes a shell script.
pub(crate) fn script(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a Python prints.
pub(crate) fn python(program: &Path, code: &str) -> String {
    let output = Command::new(program).args(["-c", code]).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes a wheel of one module.
pub(crate) fn wheel(folder: &Path, name: &str, version: &str, module: &str) -> PathBuf {
    let file = folder.join(format!("{name}-{version}-py3-none-any.whl"));
    let code = format!(
        "import zipfile\n\
         z = zipfile.ZipFile({file:?}, 'w')\n\
         z.writestr('{name}.py', {module:?})\n\
         info = '{name}-{version}.dist-info/'\n\
         z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')\n\
         z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
         z.writestr(info + 'RECORD', '')\n\
         z.close()"
    );
    python(Path::new("python3"), &code);
    file
}

/// A package index that answers nobody until it is told what to serve.
pub(crate) struct Index {
    port: u16,
    wheel: Arc<Mutex<Option<PathBuf>>>,
    asked: mpsc::UnboundedReceiver<TcpStream>,
    waiting: Vec<TcpStream>,
}

impl Index {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wheel = Arc::new(Mutex::new(None::<PathBuf>));
        let (sender, asked) = mpsc::unbounded_channel();
        let served = wheel.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ready = served.lock().unwrap().clone();
                match ready {
                    Some(wheel) => answer(stream, &wheel),
                    None if sender.send(stream).is_err() => return,
                    None => {}
                }
            }
        });
        Self { port, wheel, asked, waiting: Vec::new() }
    }

    /// The line that makes pip ask here.
    pub(crate) fn option(&self) -> String {
        format!("--index-url http://127.0.0.1:{}/simple", self.port)
    }

    /// Somebody asks, and waits for an answer.
    pub(crate) async fn asked(&mut self) {
        self.waiting.extend(self.asked.recv().await);
    }

    /// Those that wait are gone.
    pub(crate) async fn asker_ended(&mut self) {
        for mut stream in self.waiting.drain(..) {
            let end = tokio::task::spawn_blocking(move || std::io::copy(&mut stream, &mut std::io::sink()));
            drop(end.await.unwrap());
        }
    }

    /// From now on this wheel is served; those that waited are sent away.
    pub(crate) fn serve(&mut self, wheel: &Path) {
        *self.wheel.lock().unwrap() = Some(wheel.to_owned());
        self.waiting.clear();
    }
}

fn answer(mut stream: TcpStream, wheel: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let mut body = Vec::new();
    let kind = if first.contains(".whl") {
        fs::File::open(wheel).unwrap().read_to_end(&mut body).unwrap();
        "application/octet-stream"
    } else {
        let name = wheel.file_name().unwrap().to_str().unwrap();
        write!(body, "<!DOCTYPE html><html><body><a href=\"/{name}\">{name}</a></body></html>").unwrap();
        "text/html"
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
}
