//! Processes that left their run's process group: found by the uid in their environment, and killed.

use runtime_core::run::RunKey;
use rustix::process::{Pid, Signal, kill_process};

/// The variable by which the processes of a run are known.
pub(crate) const MARK: &str = "RUNTIMES_RUN";

/// Kills what still carries the run's mark. Only Linux tells other processes' environments; elsewhere this finds
/// nothing.
pub(crate) fn kill(key: &RunKey) {
    let mark = format!("{MARK}={key}").into_bytes();
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == own || !carries(&entry.path().join("environ"), &mark) {
            continue;
        }
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            tracing::debug!(%key, ?pid, "killing a process that left its run");
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn carries(environ: &std::path::Path, mark: &[u8]) -> bool {
    std::fs::read(environ)
        .is_ok_and(|content| content.split(|byte| *byte == 0).any(|variable| variable == mark))
}
