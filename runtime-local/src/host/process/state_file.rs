//! The file by which anybody can tell whether a process of a run lives, and how it ended.
//!
//! It is locked (`flock`) before the process is started, and the open file travels to the process's supervisor: as its
//! standard input, or over a socket. So the lock is held from before the start until the supervisor is gone, whoever
//! else dies, and a process cannot be started twice. In it stand `pid N` (the supervisor's, which is also the process
//! group's), then `exit CODE` or `signal N`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use runtime_core::{Error, Result, target::Exit};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use tokio::time::{Instant, sleep};

/// Room for what will be written, taken beforehand, so that a full disk cannot swallow an exit code.
const ROOM: [u8; 64] = [b'\n'; 64];

/// How often a file is looked at: at first, and after a while.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Nobody who is about to start a process takes so long.
const SETTLING: Duration = Duration::from_secs(5);

/// What a state file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The supervisor's process id.
    pub(crate) pid: Option<i32>,
    /// How the process ended.
    pub(crate) exit: Option<Ended>,
    /// A handler started processes of its own.
    pub(crate) spawned: bool,
}

/// How a process ended, as its supervisor wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

impl Ended {
    /// A shell says 128 + n for signal n.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Code(code @ 129..=159) => Exit::Signal(code - 128),
            Self::Code(code) => Exit::Code(code),
            Self::Signal(signal) => Exit::Signal(signal),
        }
    }
}

/// What was found when a process was to be started.
pub(crate) enum Claim {
    /// It was never started, and nobody else can start it while this file is open.
    Ours(File),
    /// Its supervisor lives.
    Alive,
    /// It was started, and its supervisor is gone.
    Gone(Written),
}

/// Takes the right to start the process of this state file, or says what became of it.
pub(crate) fn claim(path: &Path) -> Result<Claim> {
    let open = |error| Error::io("open", path, error);
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(open)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Claim::Alive),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
    }
    let written = parse(&fs::read(path).map_err(open)?);
    if written.pid.is_some() {
        return Ok(Claim::Gone(written));
    }
    file.write_all_at(&ROOM, 0).map_err(|error| Error::io("write", path, error))?;
    Ok(Claim::Ours(file))
}

/// As [`claim`], once it can be told: who holds the file and has not said its process id is about to say it, or gone.
pub(crate) async fn settle(path: &Path) -> Result<Claim> {
    let begin = Instant::now();
    loop {
        match claim(path)? {
            Claim::Alive if read(path).pid.is_none() && begin.elapsed() < SETTLING => sleep(LOOK.0).await,
            settled => return Ok(settled),
        }
    }
}

/// What the file says now; nothing, where it cannot be read.
pub(crate) fn read(path: &Path) -> Written {
    fs::read(path).map(|content| parse(&content)).unwrap_or_default()
}

/// All that the file says at the end of its process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    /// What its supervisor wrote.
    pub(crate) written: Written,
    /// What the code reported into the file; the last report counts.
    pub(crate) report: Option<Vec<u8>>,
}

/// What the file says in the end; nothing, where it cannot be read.
pub(crate) fn last(path: &Path) -> Last {
    let content = fs::read(path).unwrap_or_default();
    let lines = content.split_inclusive(|byte| *byte == b'\n');
    let report = lines.filter_map(|line| line.strip_prefix(b"report ")?.strip_suffix(b"\n")).next_back();
    Last { written: parse(&content), report: report.map(<[u8]>::to_vec) }
}

/// Waits until the supervisor is gone. Looks again and again: a thread that blocks on the lock would hold the whole
/// runtime back when it is to end.
pub(crate) async fn wait_until_free(path: &Path) -> io::Result<()> {
    wait_until(path, |_| false).await
}

/// Waits until a handler's process is gone, which may leave children that hold the lock: its end is written, or its
/// process id is nobody's.
pub(crate) async fn wait_until_over(path: &Path) -> io::Result<()> {
    wait_until(path, |written| match written {
        Written { exit: Some(_), .. } => true,
        Written { pid: Some(pid), .. } => {
            Pid::from_raw(*pid).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
        }
        Written { pid: None, exit: None, .. } => false,
    })
    .await
}

async fn wait_until(path: &Path, over: impl Fn(&Written) -> bool) -> io::Result<()> {
    let file = File::open(path)?;
    let mut pause = LOOK.0;
    loop {
        match file.try_lock_shared() {
            Ok(()) => return file.unlock(),
            Err(TryLockError::WouldBlock) if over(&read(path)) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
    }
}

/// Waits until the process id is known.
pub(crate) async fn wait_for_pid(path: &Path) -> i32 {
    loop {
        if let Some(pid) = read(path).pid {
            return pid;
        }
        sleep(LOOK.0).await;
    }
}

/// The state file of a process.
pub(crate) fn path(attempt: &Path, process: &str) -> PathBuf {
    attempt.join(format!("{process}.state"))
}

fn parse(content: &[u8]) -> Written {
    let mut written = Written::default();
    for line in String::from_utf8_lossy(content).split_inclusive('\n') {
        // A line without its end is half written.
        let Some((key, value)) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let Ok(number) = value.parse() else { continue };
        match key {
            "pid" => written.pid = Some(number),
            "exit" => written.exit = Some(Ended::Code(number)),
            "signal" => written.exit = Some(Ended::Signal(number)),
            "spawned" => written.spawned = true,
            _ => {}
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_says_nothing() {
        assert_eq!(parse(b"pid 42\nexit 1"), Written { pid: Some(42), ..Written::default() });
        assert_eq!(parse(b"pid 42\nexit 137\n\n\n").exit.map(Ended::exit), Some(Exit::Signal(9)));
        assert_eq!(parse(b"pid 42\nexit 3\n\n").exit.map(Ended::exit), Some(Exit::Code(3)));
        assert_eq!(parse(b"\n\n\n"), Written::default());
    }

    #[test]
    fn only_one_may_start_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "main");
        let Claim::Ours(file) = claim(&path).unwrap() else { panic!("nobody had it") };
        assert!(matches!(claim(&path).unwrap(), Claim::Alive));
        file.write_all_at(b"pid 7\nexit 3\n", 0).unwrap();
        drop(file);
        let Claim::Gone(written) = claim(&path).unwrap() else { panic!("it was started") };
        assert_eq!(written, Written { pid: Some(7), exit: Some(Ended::Code(3)), spawned: false });
    }
}
