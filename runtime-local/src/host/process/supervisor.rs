//! Starting a program below a supervisor: a few lines of POSIX shell that outlive the orchestrator.
//!
//! The supervisor leads a process group of its own, writes its process id and the program's exit code into the state
//! file that is its standard input, and at the end kills what is left of the group. Stopping the run is a signal to
//! the group: the supervisor notes it and waits for the program.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
};

use runtime_core::{Error, Result};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// A program, ready to start.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Added to the orchestrator's own environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) workdir: PathBuf,
    /// Lines of shell that limit what the supervisor, and so the program, may use.
    pub(crate) limits: String,
}

/// The files to which a process prints.
pub(crate) fn output_paths(attempt: &Path, process: &str) -> (PathBuf, PathBuf) {
    (attempt.join(format!("{process}.stdout")), attempt.join(format!("{process}.stderr")))
}

/// Opens the files to which a process prints, to append.
pub(crate) fn open_outputs(attempt: &Path, process: &str) -> Result<(File, File)> {
    let (stdout, stderr) = output_paths(attempt, process);
    let open = |path: &Path| {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| Error::io("open", path, error))
    };
    Ok((open(&stdout)?, open(&stderr)?))
}

/// Starts it; the state file was claimed before.
pub(crate) fn spawn(invocation: &Invocation, state: File, attempt: &Path, process: &str) -> Result<Child> {
    let (stdout, stderr) = open_outputs(attempt, process)?;
    // `$0` is the program: `"$0" "$@"` runs it with its arguments. Traps are reset in it; ignored signals would stay.
    let script = format!(
        "trap : TERM INT HUP QUIT\necho \"pid $$\" >&0\n{}\"$0\" \"$@\" </dev/null\necho \"exit $?\" >&0\nkill -9 0\n",
        invocation.limits
    );
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(script)
        .arg(&invocation.program)
        .args(&invocation.args)
        .envs(&invocation.env)
        .current_dir(&invocation.workdir)
        .stdin(Stdio::from(state))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .process_group(0);
    command.spawn().map_err(|error| {
        if error.kind() == std::io::ErrorKind::ArgumentListTooLong {
            // Linux: 128 KiB for one, and a part of the stack for all.
            Error::io("start", &invocation.program, error)
                .help("its arguments or variables are too long: give large values in a file")
        } else if invocation.workdir.is_dir() {
            Error::io("start", &invocation.program, error)
        } else {
            Error::io("enter", &invocation.workdir, error).at("spec.workdir")
        }
    })
}

/// Signals a whole process group; that it is gone already is no error.
pub(crate) fn signal_group(leader: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(leader)
        && leader > 1
        && let Err(error) = rustix::process::kill_process_group(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(leader, ?signal, %error, "a process group could not be signalled");
    }
}

/// Kills a process group when it is dropped, unless it was told that this is over: what an orchestrator started ends
/// with it, also when it panics.
#[derive(Debug)]
pub(crate) struct KillOnDrop(Option<i32>);

impl KillOnDrop {
    pub(crate) fn new(leader: Option<i32>) -> Self {
        Self(leader)
    }

    pub(crate) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            signal_group(leader, Signal::KILL);
        }
    }
}
