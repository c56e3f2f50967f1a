//! Processes of runs, and runs of which one is killed at any moment.

use std::{
    fs,
    time::{Duration, Instant},
};

use runtimes::core::serde_json::Value;
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::Folder;

/// How long a run may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is seen of a process.
pub(crate) struct Process {
    /// The name of its program's file.
    pub(crate) program: String,
    /// Its arguments, with zeros between.
    pub(crate) command: String,
    environment: Vec<u8>,
}

impl Process {
    /// Whether a variable begins so.
    pub(crate) fn has(&self, variable: &str) -> bool {
        self.environment.split(|byte| *byte == 0).any(|one| one.starts_with(variable.as_bytes()))
    }
}

/// What a process is to its run; `None` for one that is none of it.
pub(crate) type PartOf = fn(&Process) -> Option<&'static str>;

/// Processes of a run: their ids, and what they are to it.
pub(crate) fn processes(uid: &str, part: PartOf) -> Vec<(Pid, &'static str)> {
    let mark = format!("RUNTIMES_RUN={uid}");
    let found = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let process = Process {
            program: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            command: String::from_utf8_lossy(&read("cmdline")).into_owned(),
            environment: read("environ"),
        };
        Some((pid, part(&process).filter(|_| process.has(&mark))?))
    });
    found.collect()
}

/// Whatever is killed whenever: the run ends, and nothing of it is left. So often as `RUNTIMES_TEST_KILLS` says, each of
/// these parts; `command` is the one that looks after the run. `check` is told what was killed, and how the run ended.
pub(crate) fn at_any_moment(
    folder: &Folder,
    command: &str,
    (parts, part_of): (&[&str], PartOf),
    within: Duration,
    check: impl Fn(&str, &Value),
) {
    let times =
        std::env::var("RUNTIMES_TEST_KILLS").ok().and_then(|times| times.parse().ok()).unwrap_or(1_u64);
    let mut random = u64::from(std::process::id());
    let mut below = |limit: u32| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((random >> 33) % u64::from(limit)).unwrap()
    };
    for part in parts.iter().copied().chain(["command"]) {
        for time in 0..times {
            let after = within * below(1000) / 1000;
            let name = format!("{part}-{time}");
            let run = folder.start(&format!("{command} --name {name}"));
            let uid = folder.recorded(&name);
            std::thread::sleep(after);
            let killed = if part == "command" {
                run.signal(Signal::KILL);
                true
            } else {
                let found = processes(&uid, part_of).into_iter().find(|(_, found)| *found == part);
                found.is_some_and(|(pid, _)| kill_process(pid, Signal::KILL).is_ok())
            };
            let done = run.end();
            let end = Instant::now() + PATIENCE;
            let status = loop {
                let run = folder.run(&format!("get {uid} -o json")).ok().json();
                let status = run["status"].clone();
                if ["completed", "error", "aborted"].contains(&status["state"].as_str().unwrap()) {
                    break status;
                }
                assert!(Instant::now() < end, "{part} after {after:?}: {status}");
            };
            println!("{part}, killed ({killed}) after {after:?}: {}", status["state"]);
            assert!(killed || status["state"] == "completed", "{part} after {after:?}: {status} {done:#?}");
            check(part, &status);
            while !processes(&uid, part_of).is_empty() {
                assert!(Instant::now() < end, "{part} after {after:?}: {:?}", processes(&uid, part_of));
            }
        }
    }
}
