//! What is set of an election.

use std::time::Duration;

use runtime_core::{Error, Result};

/// How replicas choose the one that acts. The times are those of Kubernetes' own components, unless told otherwise.
#[derive(Clone, Debug)]
pub struct ElectionOptions {
    /// The name of the Lease; replicas with the same name choose among each other.
    pub lease: String,
    /// Its namespace; `None`: the context's.
    pub namespace: Option<String>,
    /// The name of this replica: no other one has it, also not the same one after a restart.
    pub identity: String,
    /// How long others wait before they take a Lease that is not renewed; whole seconds.
    pub lease_duration: Duration,
    /// How long the one that leads tries to renew before it stops.
    pub renew_deadline: Duration,
    /// How often each of them tries.
    pub retry_period: Duration,
}

impl Default for ElectionOptions {
    fn default() -> Self {
        Self {
            lease: "runtimes-daemon".to_owned(),
            namespace: None,
            identity: format!("{}_{}", crate::orchestrator::host(), uuid::Uuid::new_v4()),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

impl ElectionOptions {
    /// Says what is wrong.
    ///
    /// # Errors
    /// `Invalid`, with the name of the option.
    pub fn check(&self) -> Result<()> {
        runtime_core::naming::check("lease", &self.lease)?;
        let wrong =
            |option: &str, message: String, help: &str| Err(Error::invalid(option, message).help(help));
        if self.identity.is_empty() {
            return wrong("identity", "is empty".to_owned(), "the name of a pod or a machine");
        }
        let duration = self.lease_duration;
        if duration.subsec_nanos() > 0 || duration.is_zero() || duration.as_secs() > 24 * 3600 {
            let message = format!("{duration:?} is no length of a Lease");
            return wrong("lease-duration", message, "whole seconds, from 1s to 24h, such as 15s");
        }
        if self.renew_deadline >= duration {
            let message = format!("{:?} is not shorter than the lease's {duration:?}", self.renew_deadline);
            return wrong("renew-deadline", message, "who leads must stop before others may take the lease");
        }
        if self.retry_period.is_zero() || self.retry_period.mul_f64(JITTER) >= self.renew_deadline {
            let message = format!(
                "{:?} leaves no time for a second try within the renew deadline of {:?}",
                self.retry_period, self.renew_deadline
            );
            return wrong("retry-period", message, "a fifth of the renew deadline, such as 2s for 10s");
        }
        Ok(())
    }
}

/// So much longer may a pause be than the retry period, so that not all try at once.
pub(super) const JITTER: f64 = 1.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_must_leave_room_for_each_other() {
        let seconds = Duration::from_secs;
        let good = ElectionOptions::default();
        good.check().unwrap();
        for (options, place) in [
            (
                ElectionOptions { lease_duration: Duration::from_millis(1500), ..good.clone() },
                "lease-duration",
            ),
            (ElectionOptions { lease_duration: seconds(10), ..good.clone() }, "renew-deadline"),
            (ElectionOptions { retry_period: seconds(9), ..good.clone() }, "retry-period"),
            (ElectionOptions { retry_period: Duration::ZERO, ..good.clone() }, "retry-period"),
            (ElectionOptions { lease: "No Name".to_owned(), ..good.clone() }, "lease"),
            (ElectionOptions { identity: String::new(), ..good.clone() }, "identity"),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.location(), Some(place), "{error}");
        }
        assert_ne!(ElectionOptions::default().identity, good.identity);
    }
}
