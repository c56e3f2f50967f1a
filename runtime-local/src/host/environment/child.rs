//! Runs an installer: its lines as they come, its whole group ended with us.

use std::{
    process::{ExitStatus, Stdio},
    sync::Mutex,
};

use runtime_core::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::{Progress, failure::mask, lock::Hold};

/// How many of the last lines are kept.
const KEPT: usize = 60;
/// A longer line is cut.
const LONGEST: usize = 4096;

/// How it ended, and the last lines that it printed.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) lines: Vec<String>,
}

/// Kills the process group when it is dropped, unless its leader was waited for.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // That it is gone already is as well.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs a program to its end. It gets the lock as its standard input: should this process be killed, the lock is
/// held until the orphan has ended too. Each line goes through `rewrite`. Dropping the future kills the program and all that it started.
pub(super) async fn run(
    mut command: Command,
    hold: &Hold,
    rewrite: impl Fn(String) -> String,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<Ended> {
    let program = command.as_std().get_program().to_owned();
    let failed = |source| Error::io("start", &program, source);
    let stdin = hold.share().map_err(failed)?.map_or_else(Stdio::null, Stdio::from);
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let kept = Mutex::new(Vec::new());
    let line = |line: String| {
        let line = rewrite(line);
        progress(Progress::Line(line.clone()));
        if let Ok(mut kept) = kept.lock() {
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push(line);
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ((), (), status) = tokio::join!(pump(out, &line), pump(err, &line), child.wait());
    let status = status.map_err(|source| Error::io("wait for", &program, source))?;
    group.0 = None;
    Ok(Ended { status, lines: kept.into_inner().unwrap_or_default() })
}

/// Passes on the lines of a stream until its end.
async fn pump(stream: Option<impl AsyncRead + Unpin>, line: &impl Fn(String)) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 8192];
    let mut current = Vec::new();
    let flush = |current: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(current);
        let text = text.trim_end();
        if !text.is_empty() {
            line(mask(text));
        }
        current.clear();
    };
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        for byte in &buffer[..read] {
            match byte {
                b'\n' | b'\r' => flush(&mut current),
                _ if current.len() < LONGEST => current.push(*byte),
                _ => {}
            }
        }
    }
    flush(&mut current);
}
