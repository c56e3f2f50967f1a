//! A real server that speaks S3, in a process of its own, and a gate before it that can stop a transfer half-way.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Condvar, LazyLock, Mutex, mpsc},
    thread,
};

use runtimes::core::serde_json::{self, Value, json};

const PACKAGE: &str = "moto[server,s3]==5.2.5";

/// The server, shared by all tests of this program; it ends with the program, which is its input.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    pipe: Mutex<(Child, BufReader<ChildStdout>)>,
}

/// The server; `None`, having said so, where the machine cannot have one.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: LazyLock<Result<Server, String>> = LazyLock::new(Server::start);
    match &*SERVER {
        Ok(server) => Some(server),
        Err(why) => {
            say(&format!("skipped: no S3 server: {why}"));
            None
        }
    }
}

/// Says something at once, also where the output of tests is kept back.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Server {
    fn start() -> Result<Self, String> {
        let python = environment()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/s3_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).map_err(|error| error.to_string())?;
        let [url, key, secret]: [String; 3] =
            serde_json::from_str(&line).map_err(|_| format!("it said {line:?}"))?;
        Ok(Self { url, key, secret, pipe: Mutex::new((child, stdout)) })
    }

    /// Asks a client of the server.
    pub(crate) fn ask(&self, method: &str, arguments: Value) -> Value {
        let mut pipe = self.pipe.lock().unwrap();
        let stdin = pipe.0.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", json!([method, arguments])).unwrap();
        let mut line = String::new();
        pipe.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn put(&self, key: &str, body: &str) {
        let done = self.ask("put_object", json!({"Key": key, "Body": body}));
        assert!(done["Error"].is_null(), "{done}");
    }

    pub(crate) fn body(&self, key: &str) -> Option<String> {
        self.ask("get_object", json!({"Key": key}))["Body"].as_str().map(str::to_owned)
    }

    /// The names of all objects below this prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let found = self.ask("list_objects_v2", json!({"Prefix": prefix}));
        let keys = found["Contents"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|object| object["Key"].as_str().unwrap().to_owned()).collect()
    }

    /// The environment in which this server is S3.
    pub(crate) fn env(&self, url: &str) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", url.to_owned()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

/// A virtual environment with the server, made once for all tests.
fn environment() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3-server");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let lock = std::fs::File::create(folder.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let python = folder.join("venv/bin/python");
    let done = folder.join(PACKAGE.replace(['[', ']', ',', '='], "-"));
    if !done.exists() {
        say(&format!("installing {PACKAGE}, the S3 server of the tests: once, it takes a minute"));
        let _ = std::fs::remove_dir_all(folder.join("venv"));
        run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
        run(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries=1",
            "--no-compile",
            "--disable-pip-version-check",
            PACKAGE,
        ]))?;
        std::fs::write(&done, "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let last: Vec<&str> = said.trim().lines().rev().take(2).collect();
            let program = command.get_program().to_string_lossy().into_owned();
            Err(format!("{program} failed: {}", last.into_iter().rev().collect::<Vec<_>>().join(" ")))
        }
    }
}

/// Which way bytes go that are counted.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// Stands before the server. Where it is told so it holds a transfer back after so many bytes, and says that it does.
pub(crate) struct Gate {
    pub(crate) url: String,
    held: mpsc::Receiver<()>,
    state: Arc<State>,
}

struct State {
    way: Way,
    /// Only what has this in its first line is counted, and held back.
    only: &'static str,
    /// Bytes that still pass before the gate closes; `None`: it is open.
    left: Mutex<Option<u64>>,
    opened: Condvar,
    requests: Mutex<Vec<String>>,
}

impl Gate {
    pub(crate) fn new(server: &Server, way: Way, only: &'static str, after: Option<u64>) -> Self {
        let upstream: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hold, held) = mpsc::channel();
        let state = Arc::new(State {
            way,
            only,
            left: Mutex::new(after),
            opened: Condvar::new(),
            requests: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(upstream).unwrap();
                let current = Arc::new(Mutex::new(String::new()));
                for (way, from, to) in [
                    (Way::Up, client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (Way::Down, server, client),
                ] {
                    let (state, hold, current) = (Arc::clone(&shared), hold.clone(), Arc::clone(&current));
                    thread::spawn(move || pass(way, from, to, &state, &hold, &current));
                }
            }
        });
        Self { url, held, state }
    }

    /// Waits until a transfer is held back.
    pub(crate) fn wait(&self) {
        self.held.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    }

    pub(crate) fn open(&self) {
        *self.state.left.lock().unwrap() = None;
        self.state.opened.notify_all();
    }

    /// The first line of each request that went through.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }
}

fn pass(
    way: Way,
    mut from: TcpStream,
    mut to: TcpStream,
    state: &State,
    hold: &mpsc::Sender<()>,
    current: &Mutex<String>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let chunk = &buffer[..count];
        if way == Way::Up
            && [&b"GET "[..], b"PUT ", b"POST ", b"HEAD ", b"DELETE "].iter().any(|m| chunk.starts_with(m))
        {
            let line = String::from_utf8_lossy(chunk).lines().next().unwrap_or_default().to_owned();
            current.lock().unwrap().clone_from(&line);
            state.requests.lock().unwrap().push(line);
        }
        if way == state.way && current.lock().unwrap().contains(state.only) {
            let mut left = state.left.lock().unwrap();
            match &mut *left {
                Some(bytes) if *bytes < count as u64 => {
                    let _ = hold.send(());
                    drop(state.opened.wait_while(left, |left| left.is_some()).unwrap());
                }
                Some(bytes) => *bytes -= count as u64,
                None => {}
            }
        }
        if to.write_all(chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
