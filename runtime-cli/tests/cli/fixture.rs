//! A folder with files, and the command in it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use runtimes::core::serde_json::{self, Value};

/// A folder of its own, in which everything is kept too.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with one file in it.
    pub(crate) fn with(name: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = Self::new();
        folder.write(name, text);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The command, not started yet.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runtimes"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        for name in ["RUNTIMES_HOME", "RUNTIMES_STORE", "NO_COLOR", "CLICOLOR_FORCE", "PYTHONPATH"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the command to its end; the arguments are separated by spaces.
    pub(crate) fn run(&self, args: &str) -> Done {
        Done::of(self.command(args.split_whitespace()).output().unwrap())
    }

    /// Starts the command, its output piped.
    pub(crate) fn start(&self, args: &str) -> Running {
        let mut command = self.command(args.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout }
    }

    /// All runs that are recorded.
    pub(crate) fn runs(&self) -> Vec<Value> {
        let done = self.run("runs --all -o json");
        done.ok();
        done.json().as_array().unwrap().clone()
    }

    /// The uid of a run of this name, waited for until it is recorded.
    pub(crate) fn recorded(&self, name: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let runs = self.runs();
            match runs.iter().find(|run| run["metadata"]["name"] == name) {
                Some(run) => return run["metadata"]["uid"].as_str().unwrap().to_owned(),
                None => assert!(Instant::now() < end, "no run {name} was recorded: {runs:?}"),
            }
        }
    }

    /// A file that is open for writing as long as any process of a run lives: its end is seen by reading it.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        self.code(0)
    }

    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The error has these parts, in this order.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) -> &Self {
        let mut rest = self.stderr.as_str();
        for part in parts {
            let Some(at) = rest.find(part) else { panic!("no {part:?} in its place: {self:#?}") };
            rest = &rest[at + part.len()..];
        }
        self
    }
}

/// A command that goes on.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// The next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads its stdout until this line.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: &str) {
        let mut seen = Vec::new();
        loop {
            let line = self.line();
            if line == wanted {
                return;
            }
            assert!(!line.is_empty(), "no line {wanted:?} after {seen:?}");
            seen.push(line);
        }
    }

    /// The next line of its stderr that contains this.
    #[track_caller]
    pub(crate) fn until_stderr(&mut self, wanted: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its end, with what it printed from now on.
    pub(crate) fn end(mut self) -> Done {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).unwrap();
        let mut output = self.child.wait_with_output().unwrap();
        output.stdout = stdout;
        Done::of(output)
    }

    /// Closes the reading end of its stdout, and waits for its end.
    pub(crate) fn end_unread(self) -> Done {
        drop(self.stdout);
        Done::of(self.child.wait_with_output().unwrap())
    }
}

/// Waits until nobody has this FIFO open for writing any more.
pub(crate) fn wait_for_end(fifo: impl FnOnce() -> std::fs::File) {
    let mut rest = Vec::new();
    fifo().read_to_end(&mut rest).unwrap();
}

/// Whether a name lies in a folder.
pub(crate) fn exists(folder: &Folder, name: &str) -> bool {
    Path::new(&folder.path(name)).exists()
}
