//! One run of a function: what was asked, and what became of it. Written as MLRun writes its run objects.

mod cause;
mod environment;
pub mod hyper;
pub mod notification;
mod provenance;
mod report;
mod retry;
mod secret_sources;
mod spec;
mod state;
mod thresholds;
mod verdict;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use cause::{Cause, Reason};
pub use environment::{exec_config, from_cluster, runtime_env};
pub use hyper::HyperParamOptions;
pub use notification::{Notification, NotificationKind, NotificationStatus};
pub use provenance::{Fingerprint, Packages, Provenance, Uncommitted};
pub use report::{Artifact, ArtifactMetadata, CodeError, Report};
pub use retry::{Attempt, Backoff, BackoffKind, Retry, can_help};
pub use secret_sources::SecretSources;
pub use spec::{RunSpec, parse_duration};
pub use state::RunState;
pub use thresholds::Thresholds;
pub use verdict::{Verdict, observe_main};

use crate::labels;

/// A run: `metadata`, `spec`, `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which run it is.
    pub metadata: RunMetadata,
    /// What was asked.
    #[serde(default)]
    pub spec: RunSpec,
    /// What became of it.
    #[serde(default)]
    pub status: RunStatus,
}

/// Which run it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunMetadata {
    /// 32 hexadecimal digits; everything that the run creates is named after it.
    #[serde(default)]
    pub uid: String,
    /// `FUNCTION` or `FUNCTION-HANDLER`, unless it was given.
    #[serde(default)]
    pub name: String,
    /// The project; `default` where none was given.
    #[serde(default)]
    pub project: String,
    /// 0, or which iteration of its parent it is.
    #[serde(default)]
    pub iteration: u32,
    /// Free labels, by which runs are found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free notes, not searched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this version does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Where in its life it is.
    #[serde(default)]
    pub state: RunState,
    /// What the code logged as results.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub results: Map<String, Value>,
    /// What the code wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What went wrong, one paragraph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it is in this state, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The exit code of the main process; 128 + n for signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Where others find it while it goes on, by what is there: `scheduler`, `dashboard`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, String>,
    /// What the user should know: fields without effect, limits that cannot hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it was made of, beside its function and what was asked.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
    /// Attempts that failed before the one that goes on; when the run has ended, all, where there were several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// When the next attempt begins, while the run waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The iterations of a run with hyper-parameters: a header, then a row for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub iterations: Vec<Vec<Value>>,
    /// What became of its notifications, by their names; kept beside the record, and put here when it is looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notifications: BTreeMap<String, NotificationStatus>,
    /// When its work began; of several attempts, the last one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When this record last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Fields that this version does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Which run: its uid, and its iteration (0 for a run of its own).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey {
    /// The uid.
    pub uid: String,
    /// The iteration.
    pub iteration: u32,
}

impl RunKey {
    /// The run of this uid.
    pub fn new(uid: impl Into<String>) -> Self {
        Self { uid: uid.into(), iteration: 0 }
    }
}

/// `UID`, or `UID-ITERATION`: also the name of what the run creates.
impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uid)?;
        if self.iteration > 0 {
            write!(f, "-{}", self.iteration)?;
        }
        Ok(())
    }
}

/// Reads what [`RunKey`] writes.
impl std::str::FromStr for RunKey {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let (uid, iteration) = text.split_once('-').unwrap_or((text, "0"));
        let iteration = iteration.parse().map_err(|_| {
            crate::Error::invalid("run", format!("{text:?} is no run")).help("UID, or UID-ITERATION")
        })?;
        Ok(Self { uid: uid.to_owned(), iteration })
    }
}

impl Run {
    /// Which run it is.
    pub fn key(&self) -> RunKey {
        RunKey { uid: self.metadata.uid.clone(), iteration: self.metadata.iteration }
    }

    /// The state.
    pub fn state(&self) -> RunState {
        self.status.state
    }

    /// Whether it is a deployment of its function, which stays up until it is closed.
    pub fn is_deployment(&self) -> bool {
        self.metadata.labels.contains_key(labels::DEPLOYMENT)
    }

    /// Where the deployment of its function is that it uses, by what is there; `None` where it uses none.
    pub fn deployed(&self) -> Option<BTreeMap<String, String>> {
        let text = self.metadata.annotations.get(labels::ADDRESSES)?;
        serde_json::from_str(text).ok()
    }

    /// Moves it to another state at this time, and keeps its times. Returns whether anything changed.
    ///
    /// # Errors
    /// `Conflict` where that is no legal transition.
    pub fn transition(&mut self, to: RunState, now: Timestamp) -> crate::Result<bool> {
        let from = self.status.state;
        if from == to {
            return Ok(false);
        }
        from.check(to)?;
        self.status.state = to;
        self.status.last_update = Some(now);
        if to == RunState::Running && self.status.start_time.is_none() {
            self.status.start_time = Some(now);
        }
        if to.is_terminal() || to == RunState::PendingRetry {
            self.status.addresses.clear();
        }
        if to.is_terminal() {
            self.status.end_time = Some(now);
        }
        Ok(true)
    }
}
