//! The states of a run, and which may follow which.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Where in its life a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Recorded; nothing was started yet.
    #[default]
    Created,
    /// Being prepared: packages, images, a place to run.
    Pending,
    /// Its code runs.
    Running,
    /// Its code ended well.
    Completed,
    /// It failed; the cause is on the run.
    Error,
    /// An attempt failed; the next one begins when its time has come.
    #[serde(rename = "pendingRetry")]
    PendingRetry,
    /// It was asked to stop and is doing so.
    Aborting,
    /// It was stopped on request.
    Aborted,
    /// It was decided not to run it.
    Skipped,
    /// What became of it cannot be known at the moment.
    Unknown,
}

impl RunState {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Error,
        Self::PendingRetry,
        Self::Aborting,
        Self::Aborted,
        Self::Skipped,
        Self::Unknown,
    ];

    /// The state's name, as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::PendingRetry => "pendingRetry",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Error | Self::Aborted | Self::Skipped)
    }

    /// Whether a run may go from this state to that one. A state may always stay what it is.
    pub fn may_become(self, to: Self) -> bool {
        use RunState::*;
        match self {
            _ if self == to => true,
            Created => to != Unknown,
            Pending => !matches!(to, Created | Skipped),
            Running => matches!(to, Completed | Error | PendingRetry | Aborting | Aborted | Unknown),
            // Nothing runs: the next attempt begins as the first one did.
            PendingRetry => matches!(to, Pending | Running | Completed | Error | Aborting | Aborted),
            // What was asked to stop may have ended before it was reached. That it was asked is not forgotten, whatever is seen.
            Aborting => matches!(to, Aborted | Completed | Error),
            Unknown => {
                matches!(to, Pending | Running | Completed | Error | PendingRetry | Aborting | Aborted)
            }
            Completed | Error | Aborted | Skipped => false,
        }
    }

    pub(crate) fn check(self, to: Self) -> Result<()> {
        if self.may_become(to) {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Conflict, format!("a run that is {self} cannot become {to}"));
        Err(if self.is_terminal() { error.help(format!("{self} is final")) } else { error })
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RunState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("state", format!("{text:?} is not a state")).help(format!("one of: {all}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_terminal_state() {
        for from in RunState::ALL {
            for to in RunState::ALL {
                if from.is_terminal() && from != to {
                    assert!(!from.may_become(to), "{from} -> {to}");
                    assert!(from.check(to).is_err());
                }
            }
        }
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for state in RunState::ALL {
            let reached = RunState::ALL.iter().any(|from| *from != state && from.may_become(state));
            assert!(reached || state == RunState::Created, "{state}");
            let left = RunState::ALL.iter().any(|to| *to != state && state.may_become(*to));
            assert_eq!(left, !state.is_terminal(), "{state}");
            assert_eq!(state.as_str().parse::<RunState>().unwrap(), state);
        }
    }
}
