//! What the kind `local` reads of a function.

use runtime_core::{Error, Function, Result};

/// How a program is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A Python file is run by the agent, which gives it its context; other programs are started as they are.
    #[default]
    Agent,
    /// `pass`: the command is started exactly as it stands, whatever it is.
    Pass,
}

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
        let mode = match function.spec.mode.as_str() {
            "" | "args" => Mode::Agent,
            "pass" => Mode::Pass,
            other => {
                return Err(Error::invalid("spec.mode", format!("{other:?} is no mode"))
                    .help("leave it out, or write `pass` to start the command exactly as it stands"));
            }
        };
        Ok(Self { mode })
    }
}
