//! How things are shown: tables for people, JSON and YAML for programs.

pub(crate) mod error;
pub(crate) mod human;
mod iterations;
pub(crate) mod log;
pub(crate) mod run;
pub(crate) mod stdio;
pub(crate) mod table;
mod terminal;

use runtimes::{
    Error, Result,
    core::{serde_json, yaml},
};
use serde::Serialize;

pub(crate) use terminal::{Color, Terminal};

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For files
    Yaml,
}

/// The option `-o`, the same everywhere.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// Writes a value as JSON or YAML.
pub(crate) fn data(value: &impl Serialize, format: Format) -> Result<String> {
    Ok(match format {
        Format::Yaml => yaml::to_string(value)?,
        Format::Json | Format::Table => {
            serde_json::to_string_pretty(value)
                .map_err(|error| Error::internal(format!("cannot write the output: {error}")))?
                + "\n"
        }
    })
}
