//! While an orchestrator holds a lease: renewing it, and looking after what others leave behind.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use runtime_core::{Result, run::RunKey, store::RunFilter};

use super::{Inner, lease};

impl Inner {
    /// Sees to it that others can tell that this orchestrator lives.
    pub(super) async fn hold_lease(self: &Arc<Self>) -> Result<()> {
        let Some(lease) = &self.lease else { return Ok(()) };
        lease.hold().await?;
        self.tend();
        Ok(())
    }

    /// From now on renews the lease, and takes up what others leave, where this orchestrator does that; ends with it.
    pub(super) fn tend(self: &Arc<Self>) {
        let Some(lease) = self.lease.as_ref().filter(|lease| lease.start_tending()) else { return };
        let (inner, third) = (Arc::downgrade(self), lease.third());
        tokio::spawn(async move {
            let mut pause = third;
            // Of those that ended without a word.
            if let Some(inner) = inner.upgrade()
                && let Err(error) = inner.forget_leases().await
            {
                tracing::debug!(%error, "leases that are over could not be removed");
            }
            loop {
                tokio::time::sleep(pause).await;
                let Some(inner) = inner.upgrade() else { return };
                pause = match inner.look_after().await {
                    Ok(()) => third,
                    Err(error) => {
                        tracing::warn!(%error, "the lease cannot be renewed, or others not be looked after");
                        (third / 4).min(Duration::from_secs(1))
                    }
                };
            }
        });
    }

    async fn look_after(self: &Arc<Self>) -> Result<()> {
        let Some(lease) = &self.lease else { return Ok(()) };
        if lease.renew().await? {
            self.let_go_of_taken().await?;
        }
        if self.recovers && !self.orphans().await?.is_empty() {
            self.recover().await?;
        }
        Ok(())
    }

    /// After a time without a lease: stops what others have taken, or ended, meanwhile.
    async fn let_go_of_taken(&self) -> Result<()> {
        let followed: Vec<RunKey> = self.active().keys().cloned().collect();
        for key in followed {
            let record = self.store.get_run(&key).await?;
            let ours = record.as_ref().is_some_and(|record| record.owner == self.owner.id());
            let ended_here = self.live(&key).is_none_or(|live| live.borrow().run.state().is_terminal());
            if !ours && !ended_here {
                tracing::warn!(%key, "another orchestrator took this run while this one held no lease");
                self.abort_here(&key, Some(Duration::ZERO)).await;
            }
        }
        Ok(())
    }

    /// Forgets the leases that are over and on which no run depends any more.
    pub(super) async fn forget_leases(&self) -> Result<()> {
        let now = Timestamp::now();
        for lease in lease::all(&*self.store).await?.iter().filter(|lease| lease.is_over(now)) {
            let filter = RunFilter { owner: Some(lease.id.clone()), limit: 1, ..RunFilter::active() };
            if lease.id != self.owner.id() && self.store.list_runs(&filter).await?.is_empty() {
                lease::forget(&*self.store, lease).await?;
            }
        }
        Ok(())
    }
}
