//! Why a run is in the state in which it is.

use serde::{Deserialize, Serialize};

/// Why a run failed or waits: a reason for programs, a sentence for people, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The reason.
    pub reason: Reason,
    /// What happened, with the evidence.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Cause {
    /// A cause without advice.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), help: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The reasons, as Kubernetes would call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// The code raised an exception.
    Exception,
    /// The main process ended with a code that is not 0.
    ExitCode,
    /// The main process was ended by a signal.
    Signal,
    /// It needed more memory than it may have.
    OutOfMemory,
    /// A Rust handler panicked.
    Panic,
    /// It took longer than it may.
    DeadlineExceeded,
    /// Somebody stopped it.
    Aborted,
    /// Its packages could not be installed.
    Environment,
    /// Its image could not be built.
    BuildFailed,
    /// Its image was built, and its registry does not take it.
    ImagePush,
    /// It could not be started.
    StartFailed,
    /// An input could not be fetched.
    InputFailed,
    /// An artifact could not be written to where it belongs.
    ArtifactFailed,
    /// A service that it needs ended before it did.
    ServiceEnded,
    /// Its iterations failed: all of them, or more than may.
    IterationsFailed,
    /// It ended while nobody could see how: its supervisor or the whole machine went away.
    Lost,
    /// Its image cannot be pulled.
    ImagePull,
    /// The name of its image is none.
    InvalidImageName,
    /// Its container cannot be made: a secret, a key or a config map is missing.
    ContainerConfig,
    /// One of its volumes cannot be mounted.
    Mount,
    /// No node has what it asks for.
    Unschedulable,
    /// The namespace may not use more.
    Quota,
    /// The cluster's rules refuse it.
    AdmissionDenied,
    /// The cluster's rights refuse it.
    Forbidden,
    /// Its node does not answer.
    NodeLost,
    /// Its node threw it out.
    Evicted,
    /// Something more important needed its place.
    Preempted,
    /// The cluster has no such kind of object.
    MissingKind,
    /// The cluster does not answer.
    Unreachable,
}
