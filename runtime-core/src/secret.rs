//! A value that must not be seen.

use std::fmt;

/// A secret's value. It cannot be printed or serialized; [`Secret::expose`] is the only way to it, to be
/// called at the last moment, where the value goes to the process that needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Where the secrets of a target come from: a folder, the environment, a cluster.
pub trait SecretSource: Send + Sync {
    /// The value of `key` in the secret `name`; `None` where there is no such secret or key.
    ///
    /// # Errors
    /// When it exists and may not be read; the error says why, never the value.
    fn get(&self, name: &str, key: &str) -> crate::Result<Option<Secret>>;

    /// What to do to make a missing secret available, for the error that says it is missing.
    fn how_to_set(&self, name: &str, key: &str) -> String;
}

/// The secret that holds what belongs to a project, by the name that MLRun gives it.
pub fn project_secret(project: &str) -> String {
    format!("mlrun-project-secrets-{project}")
}
