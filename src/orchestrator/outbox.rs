//! Notifications on their way: written together with the change of which they tell, sent from there, at least once.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use runtime_core::{
    ErrorKind, Result, Run, RunState,
    run::{NotificationStatus, RunKey},
    serde_json,
    store::{Document, DocumentFilter, RunRecord},
};
use serde::{Deserialize, Serialize};

use super::{
    Inner,
    post::{AT_ONCE, Sending},
};
use crate::notify::{self, Failure, Letter};

/// The kind of their documents.
pub(super) const KIND: &str = "notification";

/// So many are taken at once.
const BATCH: usize = 64;

/// Longer than sending takes: who claimed one and is not done by then is gone, and another sends it.
const CLAIM: SignedDuration = SignedDuration::from_secs(60);

/// The pause after a failure; doubled after each, up to [`LONGEST`].
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// After so long nobody tries any more.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);

/// What is kept of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outgoing {
    /// Its name on the run.
    notification: String,
    /// The state of which it tells.
    state: RunState,
    created: Timestamp,
    #[serde(flatten)]
    status: NotificationStatus,
}

/// What is to be sent because a run came from one state into another.
pub(super) fn letters(run: &Run, before: RunState, now: Timestamp) -> Vec<Document> {
    // Of iterations the whole run tells; of another attempt it was told before.
    if run.state() == before || run.metadata.iteration > 0 {
        return Vec::new();
    }
    if run.state() == RunState::Running && !run.status.attempts.is_empty() {
        return Vec::new();
    }
    let letter = |name: &str| {
        let body = Outgoing {
            notification: name.to_owned(),
            state: run.state(),
            created: now,
            status: NotificationStatus { status: "pending".to_owned(), ..NotificationStatus::default() },
        };
        let body = serde_json::to_value(body).ok()?;
        let id = format!("{}.{}.{name}", run.key(), run.state());
        let document = Document::new(KIND, &run.metadata.project, id, body);
        Some(Document { parent: Some(run.key()), due: Some(now), ..document })
    };
    let notifications = run.spec.notifications.iter();
    notifications.filter(|one| one.applies(run)).filter_map(|one| letter(&one.name)).collect()
}

impl Inner {
    /// Writes a changed run, and with it the notifications of the change.
    pub(super) async fn update_telling(
        self: &Arc<Self>,
        record: &RunRecord,
        before: RunState,
        mut documents: Vec<Document>,
    ) -> Result<u64> {
        let letters = letters(&record.run, before, Timestamp::now());
        let told = !letters.is_empty();
        documents.extend(letters);
        documents.extend(self.leftover(record));
        let revision = match documents.is_empty() {
            true => self.store.update_run(record).await?,
            false => self.store.update_run_with(record, &documents).await?,
        };
        if told {
            self.post();
        }
        Ok(revision)
    }

    /// When the next one is due, over all projects.
    pub(super) async fn next_letter(&self) -> Result<Option<Timestamp>> {
        let filter =
            DocumentFilter { due_before: Some(Timestamp::MAX), limit: 1, ..DocumentFilter::of(KIND) };
        Ok(self.store.list_documents(&filter).await?.first().and_then(|document| document.due))
    }

    /// Sends those that are due at this time; returns how many were sent.
    pub(super) async fn deliver_due(&self, now: Timestamp) -> Result<usize> {
        let mut sent = 0;
        loop {
            let filter = DocumentFilter { due_before: Some(now), limit: BATCH, ..DocumentFilter::of(KIND) };
            let due = self.store.list_documents(&filter).await?;
            if due.is_empty() {
                return Ok(sent);
            }
            let outcomes: Vec<_> = stream::iter(due)
                .map(|document| self.deliver(document, now))
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for outcome in outcomes {
                sent += usize::from(outcome?);
            }
        }
    }

    /// Claims one and sends it; `false` where it was not sent, or not by us.
    pub(super) async fn deliver(&self, mut document: Document, now: Timestamp) -> Result<bool> {
        // Counted before it is claimed: who waits for what is on its way misses none.
        let _sending = Sending::begin(&self.outbox);
        // Others may have been sent before it, which takes its time.
        let now = now.max(Timestamp::now());
        let Ok(mut out) = serde_json::from_value::<Outgoing>(document.body.clone()) else {
            tracing::error!(name = document.name, "a notification cannot be read; it is not sent");
            document.due = None;
            return self.store.put_document(&document).await.map(|_| false);
        };
        out.status.attempts += 1;
        document.due = Some(now.saturating_add(CLAIM).unwrap_or(now));
        write_body(&mut document, &out);
        match self.store.put_document(&document).await {
            Ok(revision) => document.revision = revision,
            // Somebody else was faster, or the run was deleted.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let sent = self.send_letter(&document, &out).await;
        let now = now.max(Timestamp::now());
        let status = &mut out.status;
        let is_sent = sent.is_ok();
        (document.due, status.reason) = match sent {
            Ok(()) => {
                self.outbox.sent.send_modify(|sent| *sent += 1);
                (status.status, status.sent_time) = ("sent".to_owned(), Some(now));
                (None, None)
            }
            Err(failure) => {
                tracing::warn!(name = document.name, reason = failure.message, "a notification was not sent");
                let due = again(&failure, status.attempts, out.created, now);
                if due.is_none() {
                    status.status = "error".to_owned();
                }
                (due, Some(failure.message))
            }
        };
        write_body(&mut document, &out);
        match self.store.put_document(&document).await {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(is_sent),
            // It is sent again when the claim ends: twice is better than never.
            other => other.map(|_| is_sent),
        }
    }

    async fn send_letter(&self, document: &Document, out: &Outgoing) -> Result<(), Failure> {
        let Some(key) = &document.parent else { return Err(Failure::last("it belongs to no run")) };
        let record = self.store.get_run(key).await.map_err(|error| Failure::passing(error.message()))?;
        let run = record.ok_or_else(|| Failure::last("its run was deleted"))?.run;
        let notification = run.spec.notifications.iter().find(|one| one.name == out.notification);
        let notification = notification.ok_or_else(|| Failure::last("the run has no such notification"))?;
        let source = self.secrets.as_deref();
        let params = notify::params(notification, source, &run.metadata.project)?;
        let letter = Letter { id: &document.name, notification, state: out.state, run: &run, params };
        letter.send().await
    }

    /// What became of the notifications of a run.
    pub(super) async fn put_notifications(&self, run: &mut Run) -> Result<()> {
        if run.spec.notifications.is_empty() || run.metadata.iteration > 0 {
            return Ok(());
        }
        let key: RunKey = run.key();
        let filter = DocumentFilter { parent: Some(key), ..DocumentFilter::of(KIND) };
        for document in self.store.list_documents(&filter).await? {
            if let Ok(out) = serde_json::from_value::<Outgoing>(document.body) {
                // The newest come first: what it told of last counts.
                run.status.notifications.entry(out.notification).or_insert(out.status);
            }
        }
        Ok(())
    }
}

fn write_body(document: &mut Document, out: &Outgoing) {
    if let Ok(body) = serde_json::to_value(out) {
        document.body = body;
    }
}

/// When it is tried again; `None`: never.
fn again(failure: &Failure, attempts: u32, created: Timestamp, now: Timestamp) -> Option<Timestamp> {
    if !failure.again || now.duration_since(created) > GIVE_UP {
        return None;
    }
    let pause = PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST);
    let pause = failure.after.map_or(pause, |after| after.clamp(pause, LONGEST.max(pause)));
    now.checked_add(pause).ok()
}

/// How long until then.
pub(super) fn until(due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::run::{Notification, NotificationKind};

    #[test]
    fn a_change_of_state_is_told_once_and_to_whom_it_matters() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::default();
        run.metadata.uid = "u".to_owned();
        let failed = Notification {
            when: vec!["error".into(), "running".into()],
            ..Notification::new(NotificationKind::Console)
        };
        run.spec.notifications =
            vec![failed, Notification { name: "done".into(), ..Notification::default() }];
        run.status.state = RunState::Running;
        let names =
            |run: &Run, before| letters(run, before, now).into_iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(&run, RunState::Created), ["u.running.console"]);
        assert!(names(&run, RunState::Running).is_empty());
        run.status.state = RunState::Completed;
        assert_eq!(names(&run, RunState::Running), ["u.completed.done"]);
        run.metadata.iteration = 1;
        assert!(names(&run, RunState::Running).is_empty());
    }

    #[test]
    fn pauses_grow_and_end() {
        let (begin, passing) = (Timestamp::UNIX_EPOCH, Failure::passing("503"));
        let pause =
            |attempts| again(&passing, attempts, begin, begin).unwrap().duration_since(begin).as_secs();
        assert_eq!([1, 2, 5, 40].map(pause), [1, 2, 16, 900]);
        let asked = Failure { after: Some(Duration::from_secs(30)), ..Failure::passing("429") };
        assert_eq!(again(&asked, 1, begin, begin).unwrap().as_second(), 30);
        assert_eq!(again(&Failure::last("404"), 1, begin, begin), None);
        assert_eq!(again(&passing, 1, begin, begin + SignedDuration::from_hours(25)), None);
    }
}
