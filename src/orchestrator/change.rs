//! A change of a followed run: written, and only then shown.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use runtime_core::{Error, ErrorKind, Result, Run, RunState};

use super::{follow::Follow, image};
use crate::data::documents;

/// How long a store that fails is asked again before a change is left for later, or, at the end of a run, before those
/// who wait for it are told.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

impl Follow {
    /// Changes the run, writes it, and only then shows it. Where somebody else changed it meanwhile, the change is made
    /// again on what they wrote. Returns whether it is written: what a store does not take for long is left, because
    /// the next change holds it too. But for the end of a run: that is tried as long as this orchestrator lives.
    pub(super) async fn change(
        &mut self,
        change: impl Fn(&mut Run, Timestamp) -> Result<bool>,
    ) -> Result<bool> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let mut next = self.record.clone();
            match change(next.run_mut(), Timestamp::now()) {
                Ok(true) => {}
                // Nothing to change, or it may not be any more.
                Ok(false) | Err(_) => return Ok(true),
            }
            let ends = next.run.state().is_terminal();
            if ends {
                next.owner = String::new();
            } else {
                next.attempt = u32::try_from(next.run.status.attempts.len()).unwrap_or(u32::MAX);
            }
            let mut artifacts = if ends { documents(&next.run) } else { Vec::new() };
            artifacts.extend(image::document(&next.run));
            match self.inner.update_telling(&next, self.record.run.state(), artifacts).await {
                Ok(revision) => {
                    next.revision = revision;
                    self.record = next;
                    self.show();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => self.reread().await?,
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                Err(error) if error.kind() == ErrorKind::Exhausted && self.inner.reserve.free() => {
                    tracing::warn!(run = %self.record.run.key(), %error, "the reserve is used");
                }
                Err(error) => {
                    tracing::warn!(run = %self.record.run.key(), %error, "the store does not take a change");
                    if begin.elapsed() > STORE_PATIENCE {
                        if !ends {
                            return Ok(false);
                        }
                        self.tell(&format!("its end cannot be recorded: {}", error.message()));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Shows the run as it is recorded.
    fn show(&self) {
        let run = Arc::clone(&self.record.run);
        self.live.send_modify(|live| live.run = run);
    }

    /// Lets those go who wait for the end; it is still being tried.
    fn tell(&self, why: &str) {
        self.live.send_if_modified(|live| {
            let new = live.over.is_none();
            live.settled = true;
            live.over.get_or_insert_with(|| Err(why.to_owned()));
            new
        });
    }

    async fn reread(&mut self) -> Result<()> {
        let key = self.record.run.key();
        let record = match self.inner.store.get_run(&key).await {
            Ok(record) => record,
            // It will say so again when the change is tried again.
            Err(error) => {
                tracing::warn!(%key, %error, "a run cannot be read again");
                return Ok(());
            }
        };
        let record =
            record.ok_or_else(|| Error::not_found(format!("run {key} was deleted while it was followed")))?;
        if record.owner != self.inner.owner.id() && !record.run.state().is_terminal() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {key} is followed by somebody else now"),
            ));
        }
        let asked = record.run.state() == RunState::Aborting && self.record.run.state() != RunState::Aborting;
        let ended = record.run.state().is_terminal();
        self.record = record;
        self.show();
        if ended {
            // Others thought that this orchestrator is gone, and with it what it started: let that be true.
            self.target.abort(&key, Duration::ZERO).await?;
        }
        if asked {
            // Somebody in another process asks it to stop.
            self.target.abort(&key, self.grace).await?;
        }
        Ok(())
    }
}
