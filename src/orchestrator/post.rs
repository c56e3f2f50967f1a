//! Who sends notifications: one task of an orchestrator, as long as there is something to be sent.

use std::{
    collections::HashSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use runtime_core::store::{Document, DocumentFilter};
use tokio::sync::{Notify, watch};

use super::{
    Inner,
    outbox::{KIND, PAUSE, until},
};

/// So many are sent at a time.
pub(super) const AT_ONCE: usize = 8;

/// What is due takes a moment to be claimed.
const GLANCE: Duration = Duration::from_millis(10);

impl Inner {
    /// Sends what is due, and what becomes due, until nothing is left to be sent.
    pub(super) fn post(self: &Arc<Self>) {
        if self.outbox.running.swap(true, Ordering::AcqRel) {
            self.outbox.more.notify_one();
            return;
        }
        tokio::spawn(attend(Arc::downgrade(self), Arc::clone(&self.outbox)));
    }

    async fn due_letters(&self, now: Timestamp, limit: usize) -> Vec<Document> {
        let filter = DocumentFilter { due_before: Some(now), limit, ..DocumentFilter::of(KIND) };
        self.store.list_documents(&filter).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "notifications cannot be read");
            Vec::new()
        })
    }
}

/// Sends what is due until nothing is left, or the orchestrator is gone. One that takes its time keeps no other waiting.
async fn attend(inner: Weak<Inner>, outbox: Arc<Outbox>) {
    let mut going = FuturesUnordered::new();
    let mut names = HashSet::new();
    loop {
        let Some(this) = inner.upgrade() else { return };
        if going.len() < AT_ONCE {
            for document in this.due_letters(Timestamp::now(), AT_ONCE).await {
                if going.len() < AT_ONCE && names.insert(document.name.clone()) {
                    let this = Arc::clone(&this);
                    going.push(async move {
                        let name = document.name.clone();
                        if let Err(error) = this.deliver(document, Timestamp::now()).await {
                            tracing::warn!(%error, "what became of a notification cannot be written");
                            tokio::time::sleep(PAUSE).await;
                        }
                        name
                    });
                }
            }
        }
        let wait = match this.next_letter().await {
            _ if going.len() >= AT_ONCE => None,
            Ok(Some(due)) => Some(until(due).max(GLANCE)),
            Ok(None) if !going.is_empty() => None,
            Ok(None) => {
                outbox.running.store(false, Ordering::Release);
                // One that came in between found somebody sending.
                if !outbox.is_called() || outbox.running.swap(true, Ordering::AcqRel) {
                    return;
                }
                Some(Duration::ZERO)
            }
            Err(_) => Some(PAUSE),
        };
        drop(this);
        tokio::select! {
            Some(name) = going.next(), if !going.is_empty() => drop(names.remove(&name)),
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            () = outbox.more.notified() => {}
        }
    }
}

/// Who sends.
#[derive(Default)]
pub(super) struct Outbox {
    running: AtomicBool,
    more: Notify,
    /// How many are on their way from here.
    going: watch::Sender<usize>,
    /// How many were sent from here.
    pub(super) sent: watch::Sender<usize>,
}

/// One that is on its way, as long as this lives.
pub(super) struct Sending<'a>(&'a Outbox);

impl<'a> Sending<'a> {
    pub(super) fn begin(outbox: &'a Outbox) -> Self {
        outbox.going.send_modify(|going| *going += 1);
        Self(outbox)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.going.send_modify(|going| *going = going.saturating_sub(1));
    }
}

impl Outbox {
    /// Whether none is on its way from here.
    pub(super) fn is_idle(&self) -> bool {
        *self.going.borrow() == 0
    }

    /// Whether somebody looks after what is to be sent.
    pub(super) fn is_watched(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Waits until none is on its way from here.
    pub(super) async fn idle(&self) {
        // It never closes: we have the other end.
        let _ = self.going.subscribe().wait_for(|going| *going == 0).await;
    }

    /// Whether somebody called since it was looked.
    fn is_called(&self) -> bool {
        self.more.notified().now_or_never().is_some()
    }
}
