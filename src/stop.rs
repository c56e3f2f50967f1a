//! Asking what is followed to stop. There may be many that are followed, and few are ever asked, so this is small.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// Who may ask.
#[derive(Clone)]
pub(crate) struct Stopper(Arc<Shared>);

/// Who is asked. Dropped when it can hear no more.
pub(crate) struct Stops(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wish: Mutex<Wish>,
    news: Notify,
}

#[derive(Default)]
struct Wish {
    grace: Option<Duration>,
    closed: bool,
}

pub(crate) fn channel() -> (Stopper, Stops) {
    let shared = Arc::<Shared>::default();
    (Stopper(Arc::clone(&shared)), Stops(shared))
}

impl Shared {
    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stopper {
    /// Asks to stop within this time; of requests that nobody has heard yet, the most impatient counts. `false`: nobody
    /// will hear it.
    pub(crate) fn ask(&self, grace: Duration) -> bool {
        let mut wish = self.0.wish();
        if wish.closed {
            return false;
        }
        wish.grace = Some(wish.grace.map_or(grace, |known| known.min(grace)));
        self.0.news.notify_one();
        true
    }
}

impl Stops {
    /// Waits for the next request: how long there is to end.
    pub(crate) async fn next(&mut self) -> Duration {
        loop {
            if let Some(grace) = self.0.wish().grace.take() {
                return grace;
            }
            self.0.news.notified().await;
        }
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.wish().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_most_impatient_request_is_heard_until_nobody_hears() {
        let (stopper, mut stops) = channel();
        let second = Duration::from_secs(1);
        assert!(stopper.ask(second * 3) && stopper.ask(second) && stopper.ask(second * 2));
        assert_eq!(stops.next().await, second);
        assert!(tokio::time::timeout(Duration::from_millis(1), stops.next()).await.is_err());
        assert!(stopper.clone().ask(second * 3));
        assert_eq!(stops.next().await, second * 3);
        drop(stops);
        assert!(!stopper.ask(second));
    }
}
