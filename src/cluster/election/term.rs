//! The time in which a replica leads: it renews the Lease, and acts for as long as nobody else may hold it.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use runtime_core::{Error, ErrorKind, Result};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Standing, first_line,
    lease::{Claim, Turn},
};

/// How long giving the Lease back may take; it ends by itself, too.
const LAST: Duration = Duration::from_secs(5);

/// Why a replica leads no more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The Lease was not renewed in time: why, as far as that is known.
    NotRenewed(String),
    /// Another one has it.
    Taken {
        /// Its name.
        by: String,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRenewed(why) => write!(f, "the lease was not renewed in time: {why}"),
            Self::Taken { by } => write!(f, "{by} has taken the lease"),
        }
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        Self::new(ErrorKind::Unavailable, format!("this replica leads no more: {lost}"))
    }
}

/// What the term and its keeper share.
struct State {
    /// Nobody else acts before.
    until: Instant,
    /// What was wrong the last time.
    trouble: String,
    lost: Option<Lost>,
}

impl State {
    fn not_renewed(&self, deadline: Duration) -> Lost {
        Lost::NotRenewed(match self.trouble.as_str() {
            "" => format!("this program did not run for {deadline:?}"),
            trouble => trouble.to_owned(),
        })
    }
}

/// The time in which this replica leads. Dropped, the Lease is not renewed any more, and ends by itself.
pub struct Term {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<()>,
    stop: Option<oneshot::Sender<()>>,
    keeper: JoinHandle<Claim>,
    deadline: Duration,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Term {
    /// The Lease was renewed by a request that was sent then.
    pub(super) fn begin(claim: Claim, renewed: Instant, tell: Tell) -> Self {
        let deadline = claim.options.renew_deadline;
        let state = State { until: renewed + deadline, trouble: String::new(), lost: None };
        let state = Arc::new(Mutex::new(state));
        let (change, changed) = watch::channel(());
        let (stop, stopped) = oneshot::channel();
        let keeper = Keeper { claim, state: Arc::clone(&state), change, tell };
        let keeper = tokio::spawn(keeper.keep(renewed, stopped));
        Self { state, changed, stop: Some(stop), keeper, deadline }
    }

    /// Whether this replica may act at this moment.
    pub fn holds(&self) -> bool {
        self.lost().is_none()
    }

    /// Why it may not.
    fn lost(&self) -> Option<Lost> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.lost {
            None if Instant::now() < state.until => None,
            None => Some(state.not_renewed(self.deadline)),
            lost => lost.clone(),
        }
    }

    /// Waits until this replica may act no more.
    pub async fn over(&self) -> Lost {
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            if let Some(lost) = self.lost() {
                return lost;
            }
            let until = self.state.lock().unwrap_or_else(PoisonError::into_inner).until;
            tokio::select! {
                // A keeper that is gone renews nothing.
                news = changed.changed() => if news.is_err() { sleep_until(until).await },
                () = sleep_until(until) => {}
            }
        }
    }

    /// Goes on with `work` for as long as this replica may act: before each of its steps that is asked anew, so that a
    /// program that was stopped for a while does nothing that is another's by then.
    ///
    /// # Errors
    /// Why it may act no more; `work` is dropped where it is.
    pub async fn fence<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        let (mut work, mut over) = (pin!(work), pin!(self.over()));
        poll_fn(|context| {
            if let Some(lost) = self.lost() {
                return Poll::Ready(Err(lost));
            }
            match over.as_mut().poll(context) {
                Poll::Ready(lost) => Poll::Ready(Err(lost)),
                Poll::Pending => work.as_mut().poll(context).map(Ok),
            }
        })
        .await
    }

    /// Ends it, after all that acts has ended: another replica may take the Lease at once.
    ///
    /// # Errors
    /// When the cluster cannot be told; then the Lease ends by itself.
    pub async fn give_back(mut self) -> Result<()> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let Ok(mut claim) = (&mut self.keeper).await else { return Ok(()) };
        match timeout(LAST, claim.give_back()).await {
            Ok(done) => done.map_err(|(verb, error)| claim.error(verb, error)),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the lease {} was not given back within {LAST:?}; it ends by itself", claim.place()),
            )),
        }
    }
}

/// Whom changes are told.
pub(super) type Tell = Box<dyn Fn(Standing) + Send + Sync>;

/// Renews the Lease.
struct Keeper {
    claim: Claim,
    state: Arc<Mutex<State>>,
    change: watch::Sender<()>,
    tell: Tell,
}

impl Keeper {
    /// Until it is stopped, or the Lease is lost.
    async fn keep(mut self, renewed: Instant, mut stopped: oneshot::Receiver<()>) -> Claim {
        let (period, deadline) = (self.claim.options.retry_period, self.claim.options.renew_deadline);
        let (mut until, mut began) = (renewed + deadline, renewed);
        let mut troubled = false;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => return self.claim,
                () = sleep_until((began + period).min(until)) => {}
            }
            began = Instant::now();
            // A request that hangs leaves time for another one.
            let limit = until.saturating_duration_since(began).min(deadline / 2);
            let turn = match limit.is_zero() {
                true => Ok(None),
                false => timeout(limit, self.claim.turn()).await.map(Some),
            };
            let lost = match turn {
                // What comes too late is no renewal: this replica has stopped by then.
                Ok(Some(Ok(Turn::Ours))) if Instant::now() < until => {
                    until = began + deadline;
                    self.set(|state| (state.until, state.trouble) = (until, String::new()));
                    if std::mem::take(&mut troubled) {
                        (self.tell)(Standing::Leading);
                    }
                    None
                }
                Ok(Some(Ok(Turn::Theirs(by)))) => Some(Lost::Taken { by }),
                Ok(Some(Err((verb, error)))) => {
                    self.fails(first_line(&self.claim.error(verb, error)), &mut troubled);
                    None
                }
                Err(_) => {
                    self.fails(format!("no answer within {limit:?}"), &mut troubled);
                    None
                }
                Ok(_) => None,
            };
            let over = Instant::now() >= until;
            if let Some(lost) = lost.or_else(|| over.then(|| self.state().not_renewed(deadline))) {
                self.set(|state| state.lost = Some(lost));
                return self.claim;
            }
        }
    }

    fn fails(&self, why: String, troubled: &mut bool) {
        if !std::mem::replace(troubled, true) {
            (self.tell)(Standing::Trouble(why.clone()));
        }
        self.state().trouble = why;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.change.send_replace(());
    }
}
