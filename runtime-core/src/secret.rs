//! A value that must not be seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

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

/// The secrets that one run may read by name: its own, over those of its project. Never recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSecrets {
    /// Those that were given to this run alone.
    pub own: BTreeMap<String, Secret>,
    /// Keys of its project's secrets; `None`: all of them.
    pub project: Option<Vec<String>>,
    /// Keys that were given to this run alone, and are gone with the program that held them; or why a source of them
    /// cannot be read any more.
    pub lost: Vec<String>,
}

impl RunSecrets {
    /// Whether the run may read this key of its project's secrets; those that are kept for notifications and the like
    /// are no business of its code.
    pub fn allows(&self, key: &str) -> bool {
        !is_internal(key) && self.project.as_ref().is_none_or(|keys| keys.iter().any(|known| known == key))
    }

    /// The names of all that the run may read: its own, those that are lost, and those of its project.
    ///
    /// # Errors
    /// When the project's may not be listed.
    pub fn names(&self, source: Option<&dyn SecretSource>, project: &str) -> crate::Result<BTreeSet<String>> {
        let lost = self.lost.iter().filter(|lost| check_key(lost).is_ok());
        let mut names: BTreeSet<_> = self.own.keys().chain(lost).cloned().collect();
        if let Some(source) = source {
            let keys = source.keys(&project_secret(project))?;
            names.extend(keys.into_iter().filter(|key| self.allows(key)));
        }
        Ok(names)
    }

    /// All that the run may read.
    ///
    /// # Errors
    /// When one may not be read, or is lost; the error says which, never its value.
    pub fn values(
        &self,
        source: Option<&dyn SecretSource>,
        project: &str,
    ) -> crate::Result<BTreeMap<String, Secret>> {
        self.check_lost()?;
        let mut values = self.own.clone();
        let Some(source) = source else { return Ok(values) };
        let name = project_secret(project);
        for key in source.keys(&name)? {
            if self.allows(&key)
                && !values.contains_key(&key)
                && let Some(value) = source.get(&name, &key)?
            {
                values.insert(key, value);
            }
        }
        Ok(values)
    }

    /// Whether all are there that were given to the run alone.
    ///
    /// # Errors
    /// `NotFound`, with the names of those that are not.
    pub fn check_lost(&self) -> crate::Result<()> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let keys = self.lost.join(", ");
        let message = format!(
            "secrets that were given to this run alone are gone with the program that held them: {keys}"
        );
        Err(crate::Error::not_found(message)
            .at("spec.secret_sources")
            .help("start the run again with them, or keep them in the project: runtimes secret set NAME"))
    }
}

impl fmt::Debug for dyn SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource")
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

    /// The keys of the secret `name`, sorted; none where there is no such secret, or the source cannot list.
    ///
    /// # Errors
    /// When it may not be read.
    fn keys(&self, name: &str) -> crate::Result<Vec<String>> {
        let _ = name;
        Ok(Vec::new())
    }

    /// Keeps a value as `key` of the secret `name`, in place of what was there.
    ///
    /// # Errors
    /// `Unsupported` where this source only reads.
    fn put(&self, name: &str, key: &str, value: &Secret) -> crate::Result<()> {
        let _ = value;
        Err(read_only(name, key))
    }

    /// Forgets `key` of the secret `name`; returns whether it was there.
    ///
    /// # Errors
    /// `Unsupported` where this source only reads.
    fn delete(&self, name: &str, key: &str) -> crate::Result<bool> {
        Err(read_only(name, key))
    }
}

fn read_only(name: &str, key: &str) -> crate::Error {
    let message = format!("the key {key:?} of the secret {name:?} cannot be changed from here");
    crate::Error::new(crate::ErrorKind::Unsupported, message).help("change it where these secrets come from")
}

/// Keys of a project's secrets that begin so are the orchestrator's own, as MLRun has it.
pub const INTERNAL: &str = "mlrun.";

/// Whether a key of a project's secrets is the orchestrator's own.
pub fn is_internal(key: &str) -> bool {
    key.starts_with(INTERNAL)
}

/// The longest name of a key.
const MAX_KEY: usize = 253;

/// Checks the name of a secret's key: letters, digits, `-`, `_` and `.`, as Kubernetes has it.
///
/// # Errors
/// `Invalid`. What was given is not quoted: it may be the value, put in the wrong place.
pub fn check_key(key: &str) -> crate::Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || key.len() > MAX_KEY || key.starts_with('.') || !key.chars().all(allowed) {
        return Err(crate::Error::new(crate::ErrorKind::Invalid, "this is no name of a secret's key")
            .help("letters, digits, `-`, `_` and `.`; the value itself goes to `runtimes secret set NAME`"));
    }
    Ok(())
}

/// The secret that holds what belongs to a project, by the name that MLRun gives it.
pub fn project_secret(project: &str) -> String {
    format!("mlrun-project-secrets-{project}")
}
