//! The time that the server has, and what is due when. A test can put the clock forward.

use std::{cmp::Ordering, collections::BinaryHeap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that goes with tokio's (also while that is paused), and can be put forward.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    wall: Timestamp,
    ahead: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), wall: Timestamp::now(), ahead: Duration::ZERO }
    }

    /// How long the server has been there.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed() + self.ahead
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.ahead += by;
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// As leases and newer events show times: to the microsecond.
    pub(super) fn micros(&self) -> String {
        format!("{:.6}", self.now())
    }

    /// As objects show times: to the second.
    pub(super) fn stamp(&self) -> String {
        stamp(self.now())
    }
}

/// To the second.
pub(super) fn stamp(time: Timestamp) -> String {
    format!("{:.0}", Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// What is to be done at a time.
#[derive(Debug)]
pub(super) struct Timer<T> {
    pub(super) at: Duration,
    order: u64,
    pub(super) what: T,
}

impl<T> PartialEq for Timer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Timer<T> {}

impl<T> PartialOrd for Timer<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Timer<T> {
    // The heap gives the greatest: the earliest is that.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// All that is to be done later.
#[derive(Debug)]
pub(super) struct Timers<T> {
    heap: BinaryHeap<Timer<T>>,
    count: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }
}

impl<T> Timers<T> {
    pub(super) fn add(&mut self, at: Duration, what: T) {
        self.count += 1;
        self.heap.push(Timer { at, order: self.count, what });
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|timer| timer.at)
    }

    /// The next one that is due by then.
    pub(super) fn due(&mut self, now: Duration) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|timer| timer.what)
    }
}
