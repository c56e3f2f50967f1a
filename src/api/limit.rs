//! How much each run may ask: so many requests a second, some more at once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::token::Grant;

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The largest body of a request, in bytes.
    pub body: usize,
    /// The largest file that a run may send, in bytes; it comes in parts, each a body.
    pub file: u64,
    /// How long a request may take, from its head to its answer.
    pub timeout: Duration,
    /// How long a connection may be silent between requests, and within the head of one.
    pub idle: Duration,
    /// How many connections there may be.
    pub connections: usize,
    /// How many requests a second a run may make for long.
    pub rate: f64,
    /// How many it may make at once. What is too much waits for a moment, and is refused where there is still more.
    pub burst: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 16 * 1024 * 1024,
            file: 16 * 1024 * 1024 * 1024,
            timeout: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            connections: 4096,
            rate: 50.0,
            burst: 200.0,
        }
    }
}

/// The longest that a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// With more runs than this, those are forgotten that asked little.
const MANY: usize = 4096;

/// Who asked how much.
pub(super) struct Rates {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<Grant, Bucket>>,
}

struct Bucket {
    /// How many requests are left; below zero: how many wait.
    left: f64,
    at: Instant,
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { rate: limits.rate, burst: limits.burst, buckets: Mutex::default() }
    }

    /// How long a request has to wait; `Err`: it is one too many, and may be made again after so long.
    pub(super) fn take(&self, who: &Grant, now: Instant) -> Result<Duration, Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|_, bucket| self.left(bucket, now) < self.burst);
        }
        let bucket = buckets.entry(who.clone()).or_insert(Bucket { left: self.burst, at: now });
        let left = self.left(bucket, now);
        let wait = Duration::from_secs_f64(((1.0 - left) / self.rate).max(0.0));
        if wait > PATIENCE {
            return Err(wait);
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(wait)
    }

    fn left(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.rate).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use runtime_core::run::RunKey;

    use super::*;

    #[test]
    fn a_run_that_asks_too_much_waits_and_is_then_refused() {
        let limits = Limits { rate: 10.0, burst: 3.0, ..Limits::default() };
        let rates = Rates::new(&limits);
        let who = |uid: &str| Grant { run: RunKey::new(uid), attempt: 0 };
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(rates.take(&who("a"), now), Ok(Duration::ZERO));
        }
        assert_eq!(rates.take(&who("a"), now), Ok(Duration::from_millis(100)));
        assert_eq!(rates.take(&who("b"), now), Ok(Duration::ZERO), "each has its own");
        let refused = (0..100).find_map(|_| rates.take(&who("a"), now).err());
        assert!(refused.is_some_and(|wait| wait > PATIENCE));
        let later = now + Duration::from_secs(60);
        assert_eq!(rates.take(&who("a"), later), Ok(Duration::ZERO));
    }

    #[test]
    fn those_who_ask_little_are_forgotten() {
        let rates = Rates::new(&Limits::default());
        let now = Instant::now();
        for attempt in 0..=u32::try_from(MANY).unwrap() {
            let late = now + Duration::from_millis(u64::from(attempt) * 100);
            rates.take(&Grant { run: RunKey::new("a"), attempt }, late).unwrap();
        }
        assert!(rates.buckets.lock().unwrap().len() < MANY);
    }
}
