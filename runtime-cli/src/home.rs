//! The folder in which everything is kept, and the process that follows runs whose own has gone.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use runtimes::{Error, ErrorKind, Orchestrator, Result};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::output::stdio;

/// What the follower prints when every run that it found has its true state.
pub(crate) const SETTLED: &str = "settled";

/// How long a command that only looks waits for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The folder in which everything is kept.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        std::path::absolute(path).map(Self).map_err(|error| Error::io("find", path, error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether anything was ever kept there. Commands that only look do not create it.
    pub(crate) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Opens it, and makes it where it is not there.
    pub(crate) async fn open(&self) -> Result<Orchestrator> {
        Orchestrator::builder(&self.0).recover(false).open().await
    }

    /// Opens it to look at what is there: runs whose orchestrator is gone are taken over first, so that what is
    /// shown is true.
    pub(crate) async fn open_settled(&self) -> Result<Orchestrator> {
        if !self.exists() {
            return Err(Error::not_found(format!("there is nothing yet in {}", self.0.display()))
                .help("start something with `runtimes run FILE`, or name another folder with --home"));
        }
        let orchestrator = self.open().await?;
        if !orchestrator.orphans().await?.is_empty() {
            self.take_over().await;
        }
        Ok(orchestrator)
    }

    /// Has the runs that nobody follows taken over, and says so where that fails or takes too long: what was asked
    /// for can be done all the same.
    pub(crate) async fn take_over(&self) {
        let why = match tokio::time::timeout(PATIENCE, self.settle()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "runs are still being taken over".to_owned(),
        };
        stdio::stderr(format!("warning: some states may be out of date: {why}\n").as_bytes());
    }

    /// Starts a process that takes over every run which nobody follows, and waits until it has.
    pub(crate) async fn settle(&self) -> Result<()> {
        let log = self.0.join("follow.log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Error::io("open", &log, error))?;
        let program = std::env::current_exe().map_err(|error| Error::io("find", "this program", error))?;
        let failed = |what: String| {
            Error::new(ErrorKind::Unavailable, what).help(format!("{} may say why", log.display()))
        };
        // Its own process group: Ctrl-C here is not meant for it.
        let mut child = tokio::process::Command::new(&program)
            .arg("--home")
            .arg(&self.0)
            .arg("follow")
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("cannot start {}: {error}", program.display())))?;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == SETTLED {
                    return Ok(());
                }
            }
        }
        Err(failed("the process that follows runs ended before it had found them all".to_owned()))
    }
}
