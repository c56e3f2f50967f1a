//! Watching a run, from wherever: what was logged, what is logged, and how it ends.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use runtime_core::{Error, ErrorKind, Result, Run, Store, logs::LogLine, run::RunKey};
use tokio::sync::watch;

use super::{follow::Live, log::LogReader};

/// How often the log of a run that another process follows is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Something that happened to a run. The last one is the run in its terminal state, after all lines.
#[derive(Clone, Debug)]
pub enum Update {
    /// The run changed; this is how it is recorded now.
    Run(Box<Run>),
    /// A line was logged.
    Log(LogLine),
    /// Long work before the code starts: what it is doing.
    Progress(String),
}

/// A run that is being watched. Dropping it changes nothing for the run.
pub struct Handle {
    key: RunKey,
    log: LogReader,
    source: Source,
    shown: Option<Arc<Run>>,
    progress: Option<String>,
    done: bool,
    failed: Option<Error>,
}

enum Source {
    /// Followed here.
    Here(watch::Receiver<Live>),
    /// Followed by somebody else, or ended: the store tells.
    Elsewhere { store: Arc<dyn Store>, changes: watch::Receiver<u64> },
}

impl Handle {
    pub(super) fn here(key: RunKey, log: PathBuf, live: watch::Receiver<Live>) -> Self {
        Self::new(key, log, Source::Here(live))
    }

    pub(super) fn elsewhere(key: RunKey, log: PathBuf, store: Arc<dyn Store>) -> Self {
        let changes = store.changes();
        Self::new(key, log, Source::Elsewhere { store, changes })
    }

    fn new(key: RunKey, log: PathBuf, source: Source) -> Self {
        Self { key, log: LogReader::new(log), source, shown: None, progress: None, done: false, failed: None }
    }

    /// Which run it is.
    pub fn key(&self) -> RunKey {
        self.key.clone()
    }

    /// The next thing that happens. Dropping the future loses nothing: the next call goes on from there. `None` after the run in its terminal state, or where it cannot be watched any
    /// more ([`Self::wait`] then says why).
    pub async fn next(&mut self) -> Option<Update> {
        if self.done {
            return None;
        }
        match self.try_next().await {
            Ok(update) => update,
            Err(error) => {
                self.done = true;
                self.failed = Some(error);
                None
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the run cannot be watched to its end; the run itself may have failed without that being an error here.
    pub async fn wait(mut self) -> Result<Run> {
        if let Source::Here(live) = &mut self.source {
            let live =
                live.wait_for(|live| live.over.is_some()).await.map_err(|_| abandoned(&self.key))?.clone();
            check_over(&self.key, &live)?;
            return Ok(Arc::unwrap_or_clone(live.run));
        }
        let mut last = None;
        while let Some(update) = self.next().await {
            if let Update::Run(run) = update {
                last = Some(*run);
            }
        }
        match (self.failed, last) {
            (Some(error), _) => Err(error),
            (None, Some(run)) => Ok(run),
            (None, None) => Err(abandoned(&self.key)),
        }
    }

    async fn try_next(&mut self) -> Result<Option<Update>> {
        loop {
            // The store is asked when the log is used up, not for each line.
            if matches!(self.source, Source::Elsewhere { .. })
                && let Some(line) = self.log.next()?
            {
                return Ok(Some(Update::Log(line)));
            }
            let (run, progress, log_length, over) = self.look().await?;
            if log_length.is_none_or(|length| self.log.offset() < length)
                && let Some(line) = self.log.next()?
            {
                return Ok(Some(Update::Log(line)));
            }
            if progress.is_some() && progress != self.progress {
                self.progress.clone_from(&progress);
                return Ok(progress.map(Update::Progress));
            }
            // The terminal state comes last, when what it left is gone too.
            let news = self.shown.as_ref().is_none_or(|shown| **shown != *run);
            if news && (!run.state().is_terminal() || over) {
                self.done = run.state().is_terminal();
                self.shown = Some(Arc::clone(&run));
                return Ok(Some(Update::Run(Box::new(Arc::unwrap_or_clone(run)))));
            }
            if over {
                self.done = true;
                return Ok(None);
            }
            self.changed().await?;
        }
    }

    /// The run, what it waits for, how much of its log there is (`None`: look), and whether that is the end.
    async fn look(&mut self) -> Result<(Arc<Run>, Option<String>, Option<u64>, bool)> {
        match &mut self.source {
            Source::Here(live) => {
                let live = live.borrow_and_update().clone();
                check_over(&self.key, &live)?;
                Ok((live.run, live.progress, Some(live.log_length), live.over.is_some()))
            }
            Source::Elsewhere { store, changes } => {
                changes.borrow_and_update();
                let record = store.get_run(&self.key).await?;
                let record =
                    record.ok_or_else(|| Error::not_found(format!("there is no run {}", self.key)))?;
                let ended = record.run.state().is_terminal();
                Ok((record.run, None, None, ended))
            }
        }
    }

    async fn changed(&mut self) -> Result<()> {
        match &mut self.source {
            Source::Here(live) => live.changed().await.map_err(|_| abandoned(&self.key)),
            Source::Elsewhere { changes, .. } => {
                // The store tells of the run, its log does not.
                let _ = tokio::time::timeout(LOOK, changes.changed()).await;
                Ok(())
            }
        }
    }

    /// The lines alone.
    pub(super) fn lines(self) -> BoxStream<'static, Result<LogLine>> {
        let lines = stream::unfold(self, |mut handle| async move {
            loop {
                match handle.next().await {
                    Some(Update::Log(line)) => return Some((Ok(line), handle)),
                    Some(_) => {}
                    None => return handle.failed.take().map(|error| (Err(error), handle)),
                }
            }
        });
        Box::pin(lines.fuse())
    }
}

fn abandoned(key: &RunKey) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("run {key} is not followed any more: its orchestrator was closed"),
    )
    .help("the next start of an orchestrator on the same home takes it up")
}

fn check_over(key: &RunKey, live: &Live) -> Result<()> {
    match &live.over {
        Some(Err(why)) => {
            Err(Error::new(ErrorKind::Unavailable, format!("run {key} is not followed any more: {why}")))
        }
        _ => Ok(()),
    }
}
