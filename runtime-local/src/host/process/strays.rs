//! Processes that left their run's process group: found by the uid in their environment, and killed.

use runtime_core::run::RunKey;
use rustix::process::{Pid, Signal, kill_process};

/// The variable by which the processes of a run are known.
pub(crate) const MARK: &str = "RUNTIMES_RUN";

/// What starts others faster than it is killed is given up after so many rounds.
const ROUNDS: u32 = 20;

/// Kills what still carries the run's mark, and what that started meanwhile. Only Linux tells other processes'
/// environments; elsewhere this finds nothing. With `after`, only processes of later ids are looked at: those of a run
/// that began with that one, as long as ids were not used up and begun anew.
pub(crate) fn kill(key: &RunKey, after: Option<u32>) {
    let after = after.filter(|after| last_pid().is_some_and(|last| last >= *after)).unwrap_or(0);
    for _ in 0..ROUNDS {
        if !kill_found(key, after) {
            return;
        }
    }
    tracing::warn!(%key, "processes of the run start others as fast as they are killed");
}

/// Whether there were any.
fn kill_found(key: &RunKey, after: u32) -> bool {
    let mark = format!("{MARK}={key}").into_bytes();
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let mut found = false;
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid < after || pid == own || !carries(&entry.path().join("environ"), &mark) {
            continue;
        }
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            tracing::debug!(%key, ?pid, "killing a process that left its run");
            found |= kill_process(pid, Signal::KILL).is_ok();
        }
    }
    found
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

fn carries(environ: &std::path::Path, mark: &[u8]) -> bool {
    std::fs::read(environ)
        .is_ok_and(|content| content.split(|byte| *byte == 0).any(|variable| variable == mark))
}
