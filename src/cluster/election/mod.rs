//! Which of several replicas acts: the one that holds a Lease of the cluster (`coordination.k8s.io/v1`), as the components
//! of Kubernetes choose theirs.
//!
//! Clocks are not compared. Whoever wants the Lease waits for as long as its holder may keep it, from the moment at which
//! the last change of it was *seen*; whoever holds it counts from the moment at which the last renewal was *sent*. A
//! holder stops when it could not renew within [`ElectionOptions::renew_deadline`], which is shorter than the time that
//! the others wait. All writes are made on the version that was read.

mod lease;
mod options;
mod term;

use std::{fmt, time::Duration};

use kube::Api;
use runtime_core::{Error, Result};
use tokio::time::{Instant, timeout};

use super::{Kubernetes, apply::CHECK, error::may_pass};

pub use options::ElectionOptions;
pub use term::{Lost, Term};

use lease::{Claim, Turn};

/// How a replica stands; told when that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Another one leads.
    By {
        /// Its name.
        leader: String,
    },
    /// This one leads.
    Leading,
    /// The Lease cannot be had or renewed at the moment, and is tried again.
    Trouble(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By { leader } => write!(f, "standing by: {leader} leads"),
            Self::Leading => f.write_str("leading"),
            Self::Trouble(why) => write!(f, "the lease cannot be had or renewed: {why}"),
        }
    }
}

/// A replica that wants to lead.
///
/// ```no_run
/// use runtimes::{Orchestrator, cluster::{ClusterOptions, ElectionOptions, Kubernetes}};
///
/// # async fn example() -> runtimes::Result<()> {
/// let orchestrator = Orchestrator::open(".runtimes").await?;
/// let election = Kubernetes::new(ClusterOptions::default()).election(ElectionOptions::default()).await?;
/// let term = election.win(|standing| println!("{standing}")).await;
/// term.fence(orchestrator.serve(std::future::pending(), |served| println!("{served}"))).await?;
/// # Ok(())
/// # }
/// ```
pub struct Election {
    claim: Claim,
}

impl Kubernetes {
    /// Takes part in an election. Asks the cluster whether that is possible, and takes nothing yet.
    ///
    /// # Errors
    /// `Invalid` options; no way to the cluster, no such namespace, or which verb on `leases` is not allowed.
    pub async fn election(&self, options: ElectionOptions) -> Result<Election> {
        options.check()?;
        let link = self.link().await?;
        let namespace = options.namespace.clone().unwrap_or_else(|| link.namespace.clone());
        runtime_core::naming::check("namespace", &namespace)?;
        let api = Api::namespaced(link.client.clone(), &namespace);
        let mut claim = Claim::new(api, namespace, options, link.calls.server.clone());
        let end = Instant::now() + CHECK;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let failed = match timeout(left, claim.try_out()).await {
                Ok(Ok(())) => return Ok(Election { claim }),
                Ok(Err(failed)) if !may_pass(&failed.1) || left.is_zero() => failed,
                Ok(Err(_)) => {
                    tokio::time::sleep(Duration::from_millis(200).min(left)).await;
                    continue;
                }
                Err(_) => ("get", kube::Error::Service(format!("no answer within {CHECK:?}").into())),
            };
            return Err(claim.error(failed.0, failed.1));
        }
    }
}

impl Election {
    /// The Lease: `NAMESPACE/NAME`.
    pub fn lease(&self) -> String {
        self.claim.place()
    }

    /// The name of this replica, as it stands in the Lease.
    pub fn identity(&self) -> &str {
        &self.claim.options.identity
    }

    /// Waits until this replica leads. From then on the Lease is renewed until the [`Term`] ends, and each change is told.
    pub async fn win(self, tell: impl Fn(Standing) + Send + Sync + 'static) -> Term {
        let Self { mut claim } = self;
        let mut told = None;
        loop {
            let began = Instant::now();
            // One request that hangs is none to wait for.
            let limit = claim.options.renew_deadline;
            let standing = match timeout(limit, claim.turn()).await {
                Ok(Ok(Turn::Ours)) if began.elapsed() < limit => {
                    tell(Standing::Leading);
                    return Term::begin(claim, began, Box::new(tell));
                }
                // It came so late that it is as good as over.
                Ok(Ok(Turn::Ours)) => continue,
                Ok(Ok(Turn::Theirs(leader))) => Standing::By { leader },
                Ok(Err((verb, error))) => Standing::Trouble(first_line(&claim.error(verb, error))),
                Err(_) => Standing::Trouble(format!("no answer within {limit:?}")),
            };
            if told.as_ref() != Some(&standing) {
                tell(standing.clone());
                told = Some(standing);
            }
            tokio::time::sleep(claim.pause()).await;
        }
    }
}

fn first_line(error: &Error) -> String {
    error.message().lines().next().unwrap_or_default().to_owned()
}
