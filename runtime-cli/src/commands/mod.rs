//! The commands, one a file.

pub(crate) mod abort;
pub(crate) mod artifacts;
pub(crate) mod build;
pub(crate) mod close;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod delete;
pub(crate) mod deploy;
pub(crate) mod env;
pub(crate) mod follow;
pub(crate) mod function;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod hub;
pub(crate) mod kinds;
pub(crate) mod logs;
pub(crate) mod render;
pub(crate) mod rerun;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod why;

use std::path::PathBuf;

use jiff::{Timestamp, tz::TimeZone};

use crate::output::{Terminal, run::View};

/// Shows runs as seen from the current folder, by the clock of this machine.
fn with_view<T>(terminal: &Terminal, show: impl FnOnce(&View<'_>) -> T) -> T {
    let here: PathBuf = std::env::current_dir().unwrap_or_default();
    show(&View { terminal, here: &here, zone: TimeZone::system(), now: Timestamp::now() })
}
