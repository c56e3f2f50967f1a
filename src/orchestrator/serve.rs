//! Staying: schedules are fired when it is time, notifications sent, runs that nobody follows taken up.

use std::{
    collections::HashSet,
    future::Future,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use runtime_core::{Result, run::RunKey};

use super::{
    Orchestrator,
    outbox::until,
    schedule::{Outcome, counted},
};
use crate::schedule::{Fired, Skipped};

/// How often runs that nobody follows are looked for, and how long something that failed waits.
const RECOVER: Duration = Duration::from_secs(5);

/// The longest sleep: a clock may be set, and another process may add something.
const LONGEST: Duration = Duration::from_secs(30);

/// How long what is due may take to be on its way.
const GLANCE: Duration = Duration::from_millis(10);

/// The shortest time between two looks at what is due.
const SHORTEST: Duration = Duration::from_millis(200);

/// Something that was done while serving.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Served {
    /// A schedule's time came: a run was started.
    Fired {
        /// `PROJECT/NAME` of the schedule.
        schedule: String,
        /// The time and the run.
        fired: Fired,
    },
    /// A schedule's time was skipped.
    Skipped {
        /// `PROJECT/NAME` of the schedule.
        schedule: String,
        /// The time, and why.
        skipped: Skipped,
    },
    /// Notifications were sent: so many.
    Sent(usize),
    /// A run that nobody followed is followed here.
    TakenUp(RunKey),
    /// Something failed, and is tried again.
    Failed(String),
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fired { schedule, fired } => {
                write!(f, "{schedule}: started {} for {}", fired.uid, fired.time)
            }
            Self::Skipped { schedule, skipped: Skipped { time, count, reason } } => {
                write!(f, "{schedule}: skipped {} ({}): {reason}", time, counted(*count))
            }
            Self::Sent(count) => write!(f, "notifications sent: {count}"),
            Self::TakenUp(key) => write!(f, "took up run {key}, which nobody followed"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl Orchestrator {
    /// Fires schedules, sends notifications and takes up runs that nobody follows, until `cancel` is done. Any number
    /// of orchestrators may serve one store: each time of a schedule is fired once. What is done is told to `seen`.
    pub async fn serve(&self, cancel: impl Future<Output = ()>, seen: impl Fn(Served)) {
        let all = async {
            tokio::join!(self.serve_schedules(&seen), self.serve_outbox(&seen), self.serve_orphans(&seen))
        };
        tokio::select! {
            _ = all => {}
            () = cancel => {}
        }
    }

    /// Sends the notifications that are due at this time; returns how many were sent. Each is tried again after a
    /// failure that may pass, with growing pauses of at most 15 minutes, for a day.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliver_due(&self, now: Timestamp) -> Result<usize> {
        self.inner.deliver_due(now).await
    }

    /// When the next notification is due that was not sent yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        self.inner.next_letter().await
    }

    /// Waits until no notification is left to be sent, or for so long.
    pub async fn flush(&self, patience: Duration) {
        // Who waits for longer than that is told by somebody else.
        let _ = tokio::time::timeout(patience, self.flush_until(Instant::now() + patience)).await;
    }

    async fn flush_until(&self, end: Instant) {
        loop {
            // It is not cut off where it takes too long: then it is somebody's who goes on.
            self.inner.post();
            self.inner.outbox.idle().await;
            let Ok(Some(due)) = self.inner.next_letter().await else { return };
            // What was claimed meanwhile is due later, and yet on its way.
            if self.inner.outbox.is_idle() {
                let wait = until(due);
                if wait > end.saturating_duration_since(Instant::now()) {
                    return;
                }
                tokio::time::sleep(wait.max(GLANCE)).await;
            }
        }
    }

    async fn serve_schedules(&self, seen: &impl Fn(Served)) {
        let mut changes = self.inner.store.changes();
        let mut going = FuturesUnordered::new();
        let mut names = HashSet::new();
        loop {
            // What changes from here on is looked at again.
            changes.borrow_and_update();
            let now = Timestamp::now();
            match self.due_schedules(now).await {
                Ok(due) => {
                    for record in due {
                        let name = format!("{}/{}", record.project, record.schedule.name);
                        // One that waits for the end of an earlier run keeps no other waiting.
                        if names.insert(name.clone()) {
                            going.push(async move {
                                let outcome = self.fire(record, now).await;
                                let failed = outcome.is_err();
                                tell(seen, &name, outcome);
                                if failed {
                                    tokio::time::sleep(RECOVER).await;
                                }
                                name
                            });
                        }
                    }
                }
                Err(error) => seen(Served::Failed(error.to_string())),
            }
            let wait = match self.next_schedule().await {
                Ok(Some(due)) => until(due).clamp(SHORTEST, LONGEST),
                _ => LONGEST,
            };
            tokio::select! {
                Some(name) = going.next(), if !going.is_empty() => drop(names.remove(&name)),
                () = tokio::time::sleep(wait) => {}
                () = changed(&mut changes) => {}
            }
        }
    }

    async fn serve_outbox(&self, seen: &impl Fn(Served)) {
        let outbox = &self.inner.outbox;
        let (mut changes, mut sent) = (self.inner.store.changes(), outbox.sent.subscribe());
        let mut told = *sent.borrow_and_update();
        loop {
            changes.borrow_and_update();
            match self.inner.next_letter().await {
                // Sent by a task of its own, which the end of this does not cut off.
                Ok(Some(_)) => self.inner.post(),
                Ok(None) => {}
                Err(error) => seen(Served::Failed(error.to_string())),
            }
            tokio::select! {
                Ok(()) = sent.changed() => {
                    let now = *sent.borrow_and_update();
                    seen(Served::Sent(now - told));
                    told = now;
                }
                () = tokio::time::sleep(LONGEST) => {}
                () = changed(&mut changes) => {}
            }
        }
    }

    async fn serve_orphans(&self, seen: &impl Fn(Served)) {
        loop {
            match self.inner.recover().await {
                Ok(keys) => keys.into_iter().for_each(|key| seen(Served::TakenUp(key))),
                Err(error) => seen(Served::Failed(error.to_string())),
            }
            tokio::time::sleep(RECOVER).await;
        }
    }
}

/// Waits for a change of the store; at least a moment, so that many changes are one look.
async fn changed(changes: &mut tokio::sync::watch::Receiver<u64>) {
    tokio::time::sleep(SHORTEST).await;
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn tell(seen: &impl Fn(Served), schedule: &str, outcome: Result<Outcome>) {
    let schedule = schedule.to_owned();
    match outcome {
        Ok(Outcome::Started(fired)) => seen(Served::Fired { schedule, fired }),
        Ok(Outcome::Skipped(skipped)) => seen(Served::Skipped { schedule, skipped }),
        Ok(Outcome::Nothing) => {}
        Err(error) => seen(Served::Failed(format!("{schedule}: {error}"))),
    }
}
