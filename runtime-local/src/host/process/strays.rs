//! Processes that left their run's process group: found by the uid in their environment, and killed.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use runtime_core::run::RunKey;
use rustix::process::{Pid, Signal, kill_process};

/// The variable by which the processes of a run are known.
pub(crate) const MARK: &str = "RUNTIMES_RUN";

/// What starts others faster than it is killed is given up after so many rounds.
const ROUNDS: u32 = 20;

/// How long a process may take to become another program: its file may have to be read from a disk that is busy.
const EXEC: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);

/// Kills what still carries the run's mark, and what that started meanwhile. Only Linux tells other processes'
/// environments; elsewhere this finds nothing. With `after`, only processes of later ids are looked at: those of a run
/// that began with that one, as long as ids were not used up and begun anew.
pub(crate) fn kill(key: &RunKey, after: Option<u32>) {
    let after = after.filter(|after| last_pid().is_some_and(|last| last >= *after)).unwrap_or(0);
    let patience = Instant::now() + EXEC;
    let mut rounds = 0;
    while rounds < ROUNDS {
        match kill_found(key, after) {
            Found::Killed => rounds += 1,
            Found::Unclear if Instant::now() < patience => std::thread::sleep(PAUSE),
            Found::Unclear | Found::Nothing => return,
        }
    }
    tracing::warn!(%key, "processes of the run start others as fast as they are killed");
}

/// What one look at all processes found.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    Nothing,
    /// A process that is just becoming another program: for a moment it has no environment to be known by.
    Unclear,
    Killed,
}

fn kill_found(key: &RunKey, after: u32) -> Found {
    let mark = format!("{MARK}={key}").into_bytes();
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Found::Nothing };
    let mut found = Found::Nothing;
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid < after || pid == own {
            continue;
        }
        match std::fs::read(entry.path().join("environ")) {
            Ok(content) if content.split(|byte| *byte == 0).any(|variable| variable == mark) => {}
            Ok(content) if content.is_empty() && is_becoming(&entry.path()) => {
                found = if found == Found::Nothing { Found::Unclear } else { found };
                continue;
            }
            _ => continue,
        }
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            tracing::debug!(%key, ?pid, "killing a process that left its run");
            if kill_process(pid, Signal::KILL).is_ok() {
                found = Found::Killed;
            }
        }
    }
    found
}

/// Whether the process is just becoming another program. One that was given no environment knows where that would be; a
/// zombie and a thread of the kernel have no program at all.
fn is_becoming(process: &Path) -> bool {
    /// `env_end` of proc(5), counted from what follows the name.
    const ENV_END: usize = 48;
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
    let mut fields =
        stat.rsplit_once(')').map(|(_, fields)| fields.split_ascii_whitespace()).into_iter().flatten();
    fields.nth(ENV_END) == Some("0") && process.join("exe").read_link().is_ok()
}

/// Kills the strays of a run when it is dropped, unless the run may outlive its orchestrator.
pub(crate) struct Strays {
    key: Option<RunKey>,
    detached: bool,
}

impl Strays {
    pub(crate) fn of(key: Option<RunKey>, detached: bool) -> Self {
        Self { key, detached }
    }

    /// The run whose strays are to be killed; whoever takes it does so.
    pub(crate) fn take(&mut self) -> Option<RunKey> {
        self.key.take()
    }
}

impl Drop for Strays {
    fn drop(&mut self) {
        if let (Some(key), false) = (&self.key, self.detached) {
            kill(key, None);
        }
    }
}

/// The process id that was given last.
fn last_pid() -> Option<u32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.trim_end().rsplit(' ').next()?.parse().ok()
}
