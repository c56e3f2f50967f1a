//! Containers that are processes on this machine.

use std::{
    fmt,
    io::{self, BufRead, BufReader, PipeReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{self, Child, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use serde_json::Value;
use tokio::runtime::Handle;

use super::server::Server;
use crate::cluster::expand;

/// The variable by which all processes of a container are known.
const MARK: &str = "FAKE_CLUSTER_POD";

/// How many containers this program has started.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Container runtimes cut longer lines into pieces.
const PIECE: usize = 16 * 1024;

/// How long what a container has left behind is looked for.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(2);

/// A container's command.
pub(super) struct Command {
    command: process::Command,
    mark: String,
}

impl Command {
    /// The command of a container.
    ///
    /// # Errors
    /// What it needs that a process does not have.
    pub(super) fn of(container: &Value, pod: &str) -> Result<Self, String> {
        let list = |field: &str| container[field].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(mount) = list("volumeMounts").first() {
            return Err(format!("there is no file system of its own to mount volume {} in", mount["name"]));
        }
        if !list("envFrom").is_empty() {
            return Err("a process is not given variables by `envFrom`".to_owned());
        }
        let mut env: Vec<(String, String)> = Vec::new();
        for variable in list("env") {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            if !variable["valueFrom"].is_null() {
                return Err(format!("a process is not given variable {name} by `valueFrom`"));
            }
            let value = filled(variable["value"].as_str().unwrap_or_default(), &env);
            env.push((name, value));
        }
        let words = list("command").iter().chain(list("args")).filter_map(Value::as_str);
        let mut words = words.map(|word| filled(word, &env));
        let (false, Some(program)) = (list("command").is_empty(), words.next()) else {
            return Err("there is no image whose entrypoint could be run: `command` is missing".to_owned());
        };
        // Pods of two clusters may have the same uid.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", process::id());
        let mut command = process::Command::new(program);
        command.args(words).env_clear().env("HOSTNAME", pod).env(MARK, &mark);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(env);
        if let Some(folder) = container["workingDir"].as_str() {
            command.current_dir(folder);
        }
        Ok(Self { command, mark: format!("{MARK}={mark}") })
    }

    /// Starts it; what becomes of it is told to the server.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) fn start(mut self, uid: &str, container: &str, server: Server) -> Result<Process, String> {
        let started = || {
            let (output, writer) = io::pipe()?;
            self.command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
            let child = self.command.process_group(0).spawn()?;
            // Its ends of the pipe are kept until here.
            drop(self.command);
            Ok::<_, io::Error>((child, output))
        };
        let (child, output) = started().map_err(|error| error.to_string())?;
        let main = Arc::new(Mutex::new(i32::try_from(child.id()).ok().and_then(Pid::from_raw)));
        let attended = Attended {
            uid: uid.to_owned(),
            container: container.to_owned(),
            mark: self.mark,
            main: Arc::clone(&main),
            server: Arc::new(server),
            runtime: Handle::try_current().ok(),
        };
        thread::spawn(move || attended.attend(child, output));
        Ok(Process { main })
    }
}

/// Text with these variables in their places.
fn filled(text: &str, env: &[(String, String)]) -> String {
    expand(text, |name| env.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str()))
}

/// A process that runs for a pod. It is killed when this is dropped.
pub(super) struct Process {
    /// None, once it has ended: another one may have its number.
    main: Arc<Mutex<Option<Pid>>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

impl Process {
    /// Asks it to end, as a kubelet does: its first process alone.
    pub(super) fn ask(&self) {
        self.with(|main| kill_process(main, Signal::TERM));
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        self.with(|main| kill_process_group(main, Signal::KILL));
    }

    /// Where it is on the point to end anyway, there is nothing to be done.
    fn with(&self, act: impl FnOnce(Pid) -> rustix::io::Result<()>) {
        let main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(main) = *main {
            let _ = act(main);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a thread must know that looks after a process.
struct Attended {
    uid: String,
    container: String,
    mark: String,
    main: Arc<Mutex<Option<Pid>>>,
    server: Arc<Server>,
    /// In which the server's clock goes.
    runtime: Option<Handle>,
}

impl Attended {
    fn attend(self, mut child: Child, output: PipeReader) {
        let runtime = self.runtime.clone();
        let _entered = runtime.as_ref().map(Handle::enter);
        let printer = Printer {
            uid: self.uid.clone(),
            container: self.container.clone(),
            server: Arc::clone(&self.server),
        };
        let printing = thread::spawn(move || {
            let _entered = runtime.as_ref().map(Handle::enter);
            printer.print(output);
        });
        let main = *self.main.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(main) = main {
            // It keeps its number until nobody uses that any more.
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(main), ended) {}
            let mut known = self.main.lock().unwrap_or_else(PoisonError::into_inner);
            // In its own group, all go with it, as in a container of its own.
            let _ = kill_process_group(main, Signal::KILL);
            *known = None;
        }
        let status = child.wait();
        // Whatever is left holds the other end of the pipe.
        let patience = Instant::now() + PATIENCE;
        while (kill_marked(&self.mark) || !printing.is_finished()) && Instant::now() < patience {
            thread::sleep(PAUSE);
        }
        self.server.tell(|world| world.exited(&self.uid, status.map_or(255, code)));
    }
}

/// As container runtimes tell it: who was ended by a signal has 128 and its number.
fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Kills all processes that have this variable; whether there was any. Other systems than Linux do not tell.
fn kill_marked(mark: &str) -> bool {
    let mut found = false;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found |= kill_process(pid, Signal::KILL).is_ok();
        }
    }
    found
}

/// Where what is printed goes.
struct Printer {
    uid: String,
    container: String,
    server: Arc<Server>,
}

impl Printer {
    /// Tells what is printed, line by line, until nobody can print any more.
    fn print(&self, output: PipeReader) {
        let mut output = BufReader::with_capacity(4 * PIECE, output);
        let mut line = Vec::new();
        loop {
            let read = match output.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if read.is_empty() {
                break;
            }
            let count = read.len();
            let mut pieces = Vec::new();
            for part in read.split_inclusive(|byte| *byte == b'\n') {
                let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
                line.extend_from_slice(text);
                while line.len() > PIECE {
                    let rest = line.split_off(PIECE);
                    pieces.push((Bytes::from(std::mem::replace(&mut line, rest)), false));
                }
                if ends {
                    pieces.push((Bytes::from(std::mem::take(&mut line)), true));
                }
            }
            output.consume(count);
            self.tell(pieces);
        }
        if !line.is_empty() {
            self.tell(vec![(Bytes::from(line), false)]);
        }
    }

    fn tell(&self, pieces: Vec<(Bytes, bool)>) {
        self.server.tell(|world| {
            for (bytes, ends) in pieces {
                world.printed(&self.uid, &self.container, bytes, ends);
            }
        });
    }
}
