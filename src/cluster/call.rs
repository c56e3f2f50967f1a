//! Requests to the API server: not too many at a time, none without an end, and again what may pass.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use runtime_core::Result;
use tokio::sync::Semaphore;

use super::{
    ClusterOptions,
    error::{self, Ask},
};

/// The first pause before a request is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Lets so many requests pass in a second, and a few more at once.
pub(super) struct Limiter {
    interval: Duration,
    burst: u32,
    next: Mutex<Instant>,
}

impl Limiter {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let next = Mutex::new(Instant::now());
        Self { interval: Duration::from_secs(1) / per_second, burst: per_second * 2, next }
    }

    /// How long one waits for one's turn, which is taken.
    fn wait(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Who was silent for long may make up for it, but not for all.
        let earliest = now.checked_sub(self.interval * self.burst).unwrap_or(now);
        *next = (*next).max(earliest) + self.interval;
        next.saturating_duration_since(now)
    }

    async fn turn(&self) {
        let wait = self.wait(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Makes requests.
pub(super) struct Calls {
    limiter: Limiter,
    under_way: Semaphore,
    /// How long one request may take.
    timeout: Duration,
    /// The server's address, for errors.
    pub(super) server: String,
}

impl Calls {
    pub(super) fn new(options: &ClusterOptions, server: String) -> Self {
        Self {
            limiter: Limiter::new(options.requests_per_second),
            under_way: Semaphore::new(options.parallel_requests.max(1)),
            timeout: options.request_timeout,
            server,
        }
    }

    /// Makes a request, again and again for as long as `patience` where its failure may pass. What is asked must be the
    /// same when it is asked twice.
    pub(super) async fn ask<T, F>(
        &self,
        ask: Ask<'_>,
        patience: Duration,
        request: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let end = Instant::now() + patience;
        let mut pause = PAUSE;
        loop {
            self.limiter.turn().await;
            let under_way = self.under_way.acquire().await;
            let limit = self.timeout.min(end.saturating_duration_since(Instant::now()).max(PAUSE));
            let failed = match tokio::time::timeout(limit, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failed)) => failed,
                Err(_) => kube::Error::Service(format!("no answer within {limit:?}").into()),
            };
            drop(under_way);
            let wait = retry_after(&failed).unwrap_or(pause);
            if !error::may_pass(&failed) || Instant::now() + wait > end {
                return Err(error::of(failed, ask, &self.server));
            }
            tracing::debug!(verb = ask.verb, resource = ask.resource, name = ask.name, %failed, "asked again");
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// How long the server wants us to wait.
fn retry_after(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref().map(|details| details.retry_after_seconds).unwrap_or_default();
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_takes_turns() {
        let limiter = Limiter::new(10);
        let now = Instant::now() + Duration::from_secs(60);
        let waits: Vec<_> = (0..25).map(|_| limiter.wait(now).as_millis()).collect();
        assert!(waits[..20].iter().all(|wait| *wait == 0), "{waits:?}");
        assert_eq!(waits[20..], [100, 200, 300, 400, 500]);
    }
}
