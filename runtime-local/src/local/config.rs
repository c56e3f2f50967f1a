//! What the kind `local` reads of a function.

use runtime_core::{Function, Result};

pub use runtime_core::plan::program::Mode;

/// What the kind `local` reads of a function: `spec.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalConfig {
    /// How the program is started.
    pub mode: Mode,
}

impl LocalConfig {
    /// Reads it.
    ///
    /// # Errors
    /// `Invalid` where the mode is none.
    pub fn of(function: &Function) -> Result<Self> {
        Mode::of(function).map(|mode| Self { mode })
    }
}
