//! The Lease as one replica sees it, and its attempts to get or keep it.

use std::time::Duration;

use kube::{Api, ResourceExt, api::PostParams};
use runtime_core::{
    Error,
    jiff::Timestamp,
    k8s_openapi::{
        api::coordination::v1::{Lease, LeaseSpec},
        apimachinery::pkg::apis::meta::v1::MicroTime,
    },
    labels,
};
use tokio::time::Instant;

use super::options::{ElectionOptions, JITTER};
use crate::cluster::{
    apply::MANAGER,
    error::{self, Ask},
};

/// What failed: the verb that was asked, and the answer.
pub(super) type Failed = (&'static str, kube::Error);

/// What came of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The Lease is this replica's, from the start of the attempt on.
    Ours,
    /// It is this one's.
    Theirs(String),
}

/// The Lease as it was seen last.
struct Seen {
    lease: Lease,
    /// When it was first seen so.
    at: Instant,
}

/// A replica's part in an election.
pub(super) struct Claim {
    api: Api<Lease>,
    namespace: String,
    server: String,
    pub(super) options: ElectionOptions,
    seen: Option<Seen>,
    /// What was seen last may be out of date: it is read before it is written.
    stale: bool,
}

impl Claim {
    pub(super) fn new(api: Api<Lease>, namespace: String, options: ElectionOptions, server: String) -> Self {
        Self { api, namespace, server, options, seen: None, stale: true }
    }

    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.options.lease)
    }

    pub(super) fn error(&self, verb: &'static str, failed: kube::Error) -> Error {
        let ask = Ask { verb, resource: "leases", name: &self.options.lease, namespace: &self.namespace };
        error::of(failed, ask, &self.server)
    }

    /// A pause before the next attempt; not the same for all, so that not all try at once.
    pub(super) fn pause(&self) -> Duration {
        let part = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / f64::from(u8::MAX);
        self.options.retry_period.mul_f64(1.0 + (JITTER - 1.0) * part)
    }

    /// Asks for all that will have to be done, without doing it.
    pub(super) async fn try_out(&mut self) -> Result<(), Failed> {
        let dry = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        let known = self.look().await?;
        let (verb, tried) = match known {
            None => ("create", self.api.create(&dry, &self.new_lease()).await),
            Some(lease) => ("update", self.api.replace(&self.options.lease, &dry, &lease).await),
        };
        match tried {
            // Somebody was faster: it is allowed, then.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop).map_err(|error| (verb, error)),
        }
    }

    /// One attempt to get the Lease, or to keep it. It can be dropped at any moment.
    pub(super) async fn turn(&mut self) -> Result<Turn, Failed> {
        loop {
            let known = match &self.seen {
                Some(seen) if !self.stale => Some(seen.lease.clone()),
                _ => None,
            };
            let from_memory = known.is_some();
            let lease = if from_memory { known } else { self.look().await? };
            // Until the answer is there, nobody knows what it is.
            self.stale = true;
            let (verb, written) = match lease {
                None => ("create", self.api.create(&written(), &self.new_lease()).await),
                Some(lease) => {
                    if let Some(holder) = self.kept_by(&lease) {
                        return Ok(Turn::Theirs(holder));
                    }
                    let next = self.taken(lease);
                    ("update", self.api.replace(&self.options.lease, &written(), &next).await)
                }
            };
            match written {
                Ok(lease) => {
                    self.note(lease);
                    return Ok(Turn::Ours);
                }
                // It was changed or deleted meanwhile: what it is now decides.
                Err(kube::Error::Api(status)) if from_memory && matches!(status.code, 404 | 409) => {}
                Err(error) => return Err((verb, error)),
            }
        }
    }

    /// Gives the Lease back, so that another one takes it at once.
    pub(super) async fn give_back(&mut self) -> Result<(), Failed> {
        let Some(seen) = &self.seen else { return Ok(()) };
        if self.holder(&seen.lease) != Some(self.options.identity.as_str()) {
            return Ok(());
        }
        let mut lease = seen.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        (spec.holder_identity, spec.lease_duration_seconds) = (None, Some(1));
        spec.renew_time = Some(now());
        match self.api.replace(&self.options.lease, &written(), &lease).await {
            Ok(lease) => {
                self.note(lease);
                Ok(())
            }
            // It is another's, or gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(("update", error)),
        }
    }

    /// Reads the Lease, and notes when it was first seen as it is.
    async fn look(&mut self) -> Result<Option<Lease>, Failed> {
        let lease = self.api.get_opt(&self.options.lease).await.map_err(|error| ("get", error))?;
        match &lease {
            Some(lease) => self.note(lease.clone()),
            None => (self.seen, self.stale) = (None, false),
        }
        Ok(lease)
    }

    fn note(&mut self, lease: Lease) {
        self.stale = false;
        let same = self.seen.as_ref().is_some_and(|seen| {
            seen.lease.metadata.uid == lease.metadata.uid
                && seen.lease.resource_version() == lease.resource_version()
        });
        if !same {
            self.seen = Some(Seen { lease, at: Instant::now() });
        }
    }

    fn holder<'a>(&self, lease: &'a Lease) -> Option<&'a str> {
        let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
        Some(holder).filter(|holder| !holder.is_empty())
    }

    /// Who keeps this replica from taking the Lease.
    fn kept_by(&self, lease: &Lease) -> Option<String> {
        let holder = self.holder(lease).filter(|holder| *holder != self.options.identity)?;
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let own = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        // It stops before that time is over, which it has said itself.
        let length = own.map_or(self.options.lease_duration, Duration::from_secs);
        let seen = self.seen.as_ref()?;
        (seen.at.elapsed() < length).then(|| holder.to_owned())
    }

    fn new_lease(&self) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(self.options.lease.clone());
        lease.metadata.namespace = Some(self.namespace.clone());
        lease.labels_mut().insert(labels::MANAGED_BY.to_owned(), labels::RUNTIMES.to_owned());
        self.taken(lease)
    }

    /// The Lease as this replica's, renewed now.
    fn taken(&self, mut lease: Lease) -> Lease {
        let kept = self.holder(&lease) == Some(self.options.identity.as_str());
        let (before, now) = (lease.spec.take(), now());
        let transitions = before.as_ref().and_then(|spec| spec.lease_transitions);
        let mut spec = LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: i32::try_from(self.options.lease_duration.as_secs()).ok(),
            lease_transitions: Some(transitions.map_or(0, |count| count.saturating_add(i32::from(!kept)))),
            renew_time: Some(now.clone()),
            ..before.clone().unwrap_or_default()
        };
        if !kept {
            spec.acquire_time = Some(now);
        }
        lease.spec = Some(spec);
        lease
    }
}

fn written() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) }
}

/// For people who look at the Lease; nobody compares it.
fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}
