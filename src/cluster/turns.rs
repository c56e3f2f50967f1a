//! Whose log is read: a log that goes on takes a connection, and there may be more runs than connections.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a log is read before it is another's turn.
const TURN: Duration = Duration::from_secs(10);

/// How many logs of containers that have ended are read at once: these come to their end.
const ENDED: usize = 100;

/// Who reads, and who waits for it.
pub(super) struct Turns {
    live: Semaphore,
    ended: Semaphore,
    waiting: AtomicUsize,
    /// How long a turn is.
    turn: Duration,
}

/// A turn; it is over when it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    live: bool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// So many logs of containers that go on are read at once.
    pub(super) fn new(streams: usize) -> Self {
        Self {
            live: Semaphore::new(streams.clamp(1, Semaphore::MAX_PERMITS)),
            ended: Semaphore::new(ENDED),
            waiting: AtomicUsize::new(0),
            turn: TURN,
        }
    }

    /// Waits for a turn to read the log of a container that goes on.
    pub(super) async fn live(&self) -> Turn<'_> {
        let waiting = Waiting::new(&self.waiting);
        let permit = self.live.acquire().await.ok();
        drop(waiting);
        Turn { turns: self, live: true, _permit: permit }
    }

    /// Waits for a turn to read the log of a container that has ended.
    pub(super) async fn ended(&self) -> Turn<'_> {
        Turn { turns: self, live: false, _permit: self.ended.acquire().await.ok() }
    }
}

impl Turn<'_> {
    /// Waits until somebody else should read.
    pub(super) async fn over(&self) {
        if !self.live {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.turns.turn).await;
            if self.turns.waiting.load(Ordering::Relaxed) > 0 {
                return;
            }
        }
    }
}

/// One that waits, also where it does not any more because nobody wants it to.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_over_when_another_waits() {
        let turns = Turns { turn: Duration::from_millis(10), ..Turns::new(1) };
        let never = turns.turn * 5;
        let first = turns.live().await;
        assert!(tokio::time::timeout(never, first.over()).await.is_err(), "nobody waits");
        let second = turns.live();
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        first.over().await;
        // What has ended does not wait for what goes on.
        turns.ended().await;
        drop(first);
        let second = second.await;
        assert!(tokio::time::timeout(never, second.over()).await.is_err(), "nobody waits");
    }
}
