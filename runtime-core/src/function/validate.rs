//! What is wrong with a function, whatever its kind.

use super::Function;
use crate::{Error, Result, naming};

impl Function {
    /// Says what is wrong with it, whatever its kind: names, environment, resources, volumes, thresholds. Fields that
    /// are not known are found by [`Self::check_fields`].
    ///
    /// # Errors
    /// `Invalid`, for the first field that is wrong: its place and path, its value and what would be right.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|error| self.locate(error))
    }

    fn check(&self) -> Result<()> {
        if self.kind.is_empty() {
            return Err(Error::invalid("kind", "is missing")
                .help("write `kind: local` for code that runs on this machine"));
        }
        if self.metadata.name.is_empty() {
            return Err(Error::invalid("metadata.name", "is missing")
                .help("write `name: my-function` under `metadata:`"));
        }
        naming::check("metadata.name", &self.metadata.name)?;
        if !self.metadata.project.is_empty() {
            naming::check("metadata.project", &self.metadata.project)?;
        }
        if !matches!(self.spec.mode.as_str(), "" | "pass" | "args") {
            return Err(Error::invalid("spec.mode", format!("{:?} is not known", self.spec.mode))
                .help("`pass` runs the command as it is; leave it out otherwise"));
        }
        self.spec.pod.validate()
    }
}
