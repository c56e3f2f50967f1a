//! A folder with a home in it, and what must be true of it when all is over.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::TryStreamExt;
use runtimes::{
    Orchestrator, Run, RunState,
    core::{
        logs::{LogLine, Stream},
        run::Reason,
        store::RunFilter,
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Work, work::LINES};

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().canonicalize().unwrap(), _folder: Some(folder) }
    }

    /// The scene of another process.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), _folder: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    pub(crate) fn pids(&self) -> PathBuf {
        self.path.join("pids")
    }

    /// The work does not end by itself until [`let_go`](Self::let_go).
    pub(crate) fn hold(&self) {
        fs::write(self.path.join("hold"), "").unwrap();
    }

    pub(crate) fn let_go(&self) {
        fs::remove_file(self.path.join("hold")).unwrap();
    }

    /// How often the work was started.
    pub(crate) fn starts(&self) -> usize {
        fs::read_to_string(self.pids()).unwrap_or_default().lines().count()
    }

    /// The process that does the work.
    pub(crate) fn worker(&self) -> i32 {
        fs::read_to_string(self.pids()).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn parent_of_worker(&self) -> i32 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.worker())).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The leader of the process group of the one run.
    pub(crate) fn supervisor(&self) -> i32 {
        let attempt = fs::read_dir(self.home().join("active")).unwrap().next().unwrap().unwrap().path();
        let state = fs::read_to_string(attempt.join("main.state")).unwrap();
        state.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap()
    }

    /// Opens the home as the next orchestrator does, waits until every run has ended, and closes it.
    pub(crate) async fn settle(&self, what: &str) -> Vec<(Run, Vec<LogLine>)> {
        self.settle_with(Orchestrator::open(self.home()).await.unwrap(), what).await
    }

    /// The same with an orchestrator that is open.
    pub(crate) async fn settle_with(
        &self,
        orchestrator: Orchestrator,
        what: &str,
    ) -> Vec<(Run, Vec<LogLine>)> {
        let mut ended = Vec::new();
        for record in orchestrator.list(&RunFilter::default()).await.unwrap() {
            let key = record.run.key();
            let wait = orchestrator.watch(&key).await.unwrap().wait();
            let run = tokio::time::timeout(PATIENCE, wait).await;
            let run = run.unwrap_or_else(|_| panic!("{what}: for ever {}", record.run.state())).unwrap();
            let lines = orchestrator.logs(&key, false).await.unwrap().try_collect().await.unwrap();
            ended.push((run, lines));
        }
        tokio::time::timeout(PATIENCE, orchestrator.idle()).await.unwrap();
        orchestrator.close().await.unwrap();
        ended
    }

    /// The one run came to the end to which it had to come, started once, with every line once.
    pub(crate) fn ended_well(&self, what: &str, work: Work, ended: &[(Run, Vec<LogLine>)]) {
        let [(run, lines)] = ended else { panic!("{what}: {} runs", ended.len()) };
        assert_eq!(self.starts(), 1, "{what}: starts; {:?} {}", run.status, text(lines));
        assert_eq!(run.status.exit_code, Some(work.exit_code()), "{what}: {:?} {}", run.status, text(lines));
        if work.exit_code() == 0 {
            assert_eq!(run.state(), RunState::Completed, "{what}: {:?}", run.status);
            assert_eq!(run.status.results["answer"], 42, "{what}: {:?}", run.status);
        } else {
            assert_eq!(run.state(), RunState::Error, "{what}: {:?}", run.status);
        }
        self.logged(what, work, lines, Some(LINES));
    }

    /// The log has the first lines of the work, in order, each once; with `all`, exactly so many.
    pub(crate) fn logged(&self, what: &str, work: Work, lines: &[LogLine], all: Option<usize>) {
        for (stream, word) in [(Stream::Stdout, "out"), (Stream::Stderr, "err")] {
            if work == Work::Rust && stream == Stream::Stderr {
                continue;
            }
            // A shell may have a word of its own to say about a signal.
            let ours = |line: &&LogLine| line.stream == stream && line.text().starts_with(word);
            let said: Vec<_> = lines.iter().filter(ours).map(LogLine::text).collect();
            let mut expected: Vec<_> = (0..said.len()).map(|i| format!("{word} {i}")).collect();
            // Who was stopped may have been in the middle of a line: unbuffered, Python writes it in pieces.
            if let (None, Some(cut), Some(last)) = (all, said.last(), expected.last_mut())
                && last.starts_with(&**cut)
            {
                last.truncate(cut.len());
            }
            assert_eq!(said, expected, "{what}: {stream}");
            if let Some(all) = all {
                assert_eq!(said.len(), all, "{what}: {stream}; {}", text(lines));
            }
        }
    }

    /// What may become of a Rust handler whose program was killed: it is lost, or it had ended.
    pub(crate) fn lost_or_ended(&self, what: &str, ended: &[(Run, Vec<LogLine>)]) {
        assert!(self.starts() <= 1, "{what}: {} starts", self.starts());
        for (run, lines) in ended {
            match run.state() {
                RunState::Completed => self.ended_well(what, Work::Rust, ended),
                RunState::Error => {
                    assert_eq!(
                        run.status.cause.as_ref().map(|cause| cause.reason),
                        Some(Reason::Lost),
                        "{what}"
                    );
                    self.logged(what, Work::Rust, lines, None);
                }
                state => panic!("{what}: {state}"),
            }
        }
    }

    /// Nothing is left but records and logs: no process, no attempt, no state file, no owner.
    pub(crate) fn is_clean(&self, what: &str) {
        self.is_clean_in(what, &self.home());
    }

    /// The same of another home in this scene.
    pub(crate) fn is_clean_in(&self, what: &str, home: &Path) {
        for (pid, command) in self.processes() {
            assert!(gone(pid, PATIENCE), "{what}: {command:?} still runs");
        }
        let mut left = BTreeSet::new();
        for entry in walk(home) {
            let relative = entry.strip_prefix(home).unwrap().display().to_string();
            let kept = match relative.split('/').collect::<Vec<_>>()[..] {
                ["runs", _, "log"] => true,
                ["active"] => true,
                // An owner's file that had no name yet: the next sweep after a minute takes it.
                ["owners", name] if name.starts_with('.') => true,
                ["runs" | "owners" | "active", ..] => false,
                [.., name] => !name.starts_with('.') || relative.starts_with("envs"),
                [] => true,
            };
            if !kept {
                left.insert(relative);
            }
        }
        assert!(left.is_empty(), "{what}: left behind {left:?}");
    }

    /// The living processes of this scene, by the environment that they were given.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let path = self.path.display().to_string().into_bytes();
        let has = |file: PathBuf| {
            fs::read(file).is_ok_and(|content| content.windows(path.len()).any(|window| window == path))
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let command = fs::read(entry.path().join("cmdline")).ok()?;
                (pid != std::process::id().cast_signed() && has(entry.path().join("environ")))
                    .then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
            })
            .collect()
    }
}

/// Waits for the end of a process that is not ours; whether it came.
pub(crate) fn gone(pid: i32, patience: Duration) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let Ok(fd): Result<OwnedFd, _> = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let limit = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

pub(crate) fn text(lines: &[LogLine]) -> String {
    lines.iter().map(|line| format!("\n  {} {}", line.stream, line.text())).collect()
}

/// The files below a folder, and the folders that are empty.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() || path.is_symlink() {
            found.push(path);
            continue;
        }
        let below = walk(&path);
        if below.is_empty() {
            found.push(path);
        } else {
            found.extend(below);
        }
    }
    found.retain(|path| {
        !matches!(path.file_name().and_then(|name| name.to_str()), Some("owners" | "runs" | "active"))
    });
    found
}
