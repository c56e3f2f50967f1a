//! The secrets of runs: checked before a run is recorded, resolved when it starts, never written.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use runtime_core::{
    Error, ErrorKind, Result, Run,
    cluster::Cluster,
    labels,
    pod::parse_env_file,
    run::{Notification, SecretSources},
    secret::{INTERNAL, RunSecrets, Secret, SecretSource, check_key, is_internal, project_secret},
    serde_json::Value,
};

use super::{Inner, Orchestrator};

/// Parameters that are secret wherever they stand.
const SENSITIVE: [&str; 4] = ["webhook", "token", "password", "authorization"];

/// Keys of values that were found in a notification begin so, as MLRun has it.
const MASKED: &str = "mlrun.notifications.";

impl Orchestrator {
    /// Where the secrets of projects are kept: under the name [`project_secret`](runtime_core::secret::project_secret)
    /// of each.
    ///
    /// # Errors
    /// `Unsupported`, where this program was built without a place for them.
    pub fn secrets(&self) -> Result<&Arc<dyn SecretSource>> {
        self.inner.secret_source()
    }

    /// The names of the secrets of its project that a run's code may read.
    #[cfg(feature = "api")]
    pub(crate) fn secret_names(&self, run: &Run) -> Result<Vec<String>> {
        let asked = run.spec.secret_sources.iter().filter_map(|source| match source {
            SecretSources::Kubernetes(keys) => Some(keys.clone()),
            _ => None,
        });
        let allowed = RunSecrets {
            project: asked.reduce(|mut all, more| {
                all.extend(more);
                all
            }),
            ..RunSecrets::default()
        };
        let mut names = self.inner.secret_source()?.keys(&project_secret(&run.metadata.project))?;
        names.retain(|name| allowed.allows(name));
        Ok(names)
    }
}

impl Inner {
    /// Where the secrets of projects are kept.
    pub(super) fn secret_source(&self) -> Result<&Arc<dyn SecretSource>> {
        self.secrets.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "this program keeps no secrets").help(
                "build it with a kind of this machine, or give it a source of secrets: `Builder::secrets`",
            )
        })
    }

    /// Says what is wrong with the secrets and the notifications of a run, and takes values out of the latter.
    pub(super) fn check_secrets(
        &self,
        run: &mut Run,
        detached: bool,
        cluster: Option<&Cluster>,
    ) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let project = run.metadata.project.clone();
        for (index, source) in run.spec.secret_sources.iter().enumerate() {
            let at = |error: Error| error.under(&format!("spec.secret_sources[{index}]"));
            match source {
                SecretSources::Inline(values) => {
                    values.keys().try_for_each(|key| check_key(key)).map_err(at)?;
                    let gone = values.iter().find(|(_, value)| value.is_none());
                    if let Some((key, _)) = gone {
                        let error = Error::not_found(format!("the value of {key} was for another run alone"));
                        return Err(at(error.help("give it again, or keep it: runtimes secret set NAME")));
                    }
                    if detached {
                        let error = Error::new(
                            ErrorKind::Unsupported,
                            "values for one run alone cannot outlive the program that holds them",
                        );
                        return Err(at(error.help("keep them in the project: runtimes secret set NAME")));
                    }
                }
                SecretSources::Kubernetes(keys) => {
                    for key in keys {
                        if is_internal(key) {
                            let error = Error::invalid(
                                "source",
                                format!("keys that begin with {INTERNAL} are not for code"),
                            );
                            return Err(at(error.help("`runtimes secret list` lists those that are")));
                        }
                        check_key(key).map_err(at)?;
                        // What the cluster's own Secret of the project has, its pods get by name.
                        if !cluster.is_some_and(|cluster| cluster.secrets.contains(key)) {
                            self.has_key(&project, key).map_err(at)?;
                        }
                    }
                }
                SecretSources::Env(_) | SecretSources::File(_) => {
                    read_source(source, run).map_err(at)?;
                    notes.extend(readable_by_others(source, run));
                }
                // MLRun reads it in the pod; whether it is MLRun that is there, the kind knows.
                SecretSources::Vault { kind, .. } if cluster.is_some() && kind == "azure_vault" => {}
                other => {
                    let message = format!("secrets of the kind `{}` cannot be read from here", other.kind());
                    let error = Error::new(ErrorKind::Unsupported, message);
                    return Err(at(
                        error.help("env, file, inline or kubernetes: `runtimes secret set NAME` keeps one")
                    ));
                }
            }
        }
        for (index, notification) in run.spec.notifications.iter_mut().enumerate() {
            let at = |error: Error| error.under(&format!("spec.notifications[{index}]"));
            self.mask(&project, notification).map_err(at)?;
        }
        runtime_core::run::notification::prepare(&mut run.spec.notifications)?;
        for (index, notification) in run.spec.notifications.iter().enumerate() {
            for (name, key) in notification.secret_keys()? {
                self.has_key(&project, key)
                    .map_err(|error| error.at(format!("spec.notifications[{index}].secret_params.{name}")))?;
            }
        }
        Ok(notes)
    }

    /// The names of the secrets that the pods of a run get from here; `None` where it is none. What is wrong with them is
    /// said when they are read.
    pub(super) fn names_for_pods(&self, run: &Run) -> Option<Vec<String>> {
        let secrets = self.run_secrets(run);
        match secrets.names(self.secrets.as_deref(), &run.metadata.project) {
            Ok(names) if names.is_empty() && secrets.lost.is_empty() => None,
            Ok(names) => Some(names.into_iter().collect()),
            Err(_) => Some(Vec::new()),
        }
    }

    fn has_key(&self, project: &str, key: &str) -> Result<()> {
        let (source, name) = (self.secret_source()?, project_secret(project));
        match source.get(&name, key)? {
            Some(_) => Ok(()),
            None => Err(Error::not_found(format!("the project {project:?} has no secret {key:?}"))
                .help(source.how_to_set(&name, key))),
        }
    }

    /// Moves values that are secret from a notification to the project's secrets, as MLRun does.
    fn mask(&self, project: &str, notification: &mut Notification) -> Result<()> {
        let mut found: Vec<(String, Value)> = Vec::new();
        if let Some(params) = &mut notification.params {
            let names: Vec<_> = params
                .iter()
                .filter(|(name, value)| is_sensitive(name, value))
                .map(|(name, _)| name.clone())
                .collect();
            found.extend(names.into_iter().filter_map(|name| params.remove_entry(&name)));
        }
        if let Some(params) = &notification.secret_params {
            let plain = |value: &Value| value.as_str().is_none_or(|text| check_key(text).is_err());
            found.extend(
                params
                    .iter()
                    .filter(|(_, value)| plain(value))
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        for (name, value) in found {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let key = self.keep(project, &text)?;
            notification.secret_params.get_or_insert_default().insert(name, Value::String(key));
        }
        Ok(())
    }

    /// Keeps a value as a secret of the project, once; returns its key.
    fn keep(&self, project: &str, value: &str) -> Result<String> {
        let (source, name) = (self.secret_source()?, project_secret(project));
        for key in source.keys(&name)?.into_iter().filter(|key| key.starts_with(MASKED)) {
            if source.get(&name, &key)?.is_some_and(|known| known.expose() == value) {
                return Ok(key);
            }
        }
        let key = format!("{MASKED}{}", uuid::Uuid::new_v4().simple());
        source.put(&name, &key, &Secret::new(value))?;
        Ok(key)
    }

    /// The secrets that a run's code may read. What cannot be had any more is named as lost.
    pub(super) fn run_secrets(&self, run: &Run) -> RunSecrets {
        let mut secrets = RunSecrets::default();
        for source in &run.spec.secret_sources {
            match source {
                SecretSources::Kubernetes(keys) => {
                    secrets.project.get_or_insert_default().extend(keys.iter().cloned());
                }
                SecretSources::Inline(values) => {
                    for (key, value) in values {
                        match value {
                            Some(value) => drop(secrets.own.insert(key.clone(), value.clone())),
                            None => secrets.lost.push(key.clone()),
                        }
                    }
                }
                SecretSources::Env(_) | SecretSources::File(_) => match read_source(source, run) {
                    Ok(values) => secrets.own.extend(values),
                    Err(error) => secrets.lost.push(error.message().to_owned()),
                },
                _ => {}
            }
        }
        secrets
    }
}

/// Reads variables, or a file.
fn read_source(source: &SecretSources, run: &Run) -> Result<BTreeMap<String, Secret>> {
    match source {
        SecretSources::Env(names) => names.iter().map(|name| Ok((name.clone(), variable(name)?))).collect(),
        SecretSources::File(_) => {
            let Some(path) = file_of(source, run) else { return Ok(BTreeMap::new()) };
            let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
            // What stands there is not quoted, whatever is wrong with it.
            let pairs = parse_env_file(&text, &path.display().to_string()).map_err(|error| {
                Error::invalid(error.location().unwrap_or_default(), "this line cannot be read as a secret")
                    .help("write NAME=value")
            })?;
            pairs
                .into_iter()
                .map(|(key, value)| {
                    check_key(&key).map_err(|error| error.at(path.display().to_string()))?;
                    Ok((key, Secret::new(value)))
                })
                .collect()
        }
        _ => Ok(BTreeMap::new()),
    }
}

fn variable(name: &str) -> Result<Secret> {
    check_key(name)?;
    std::env::var(name).map(Secret::new).map_err(|_| {
        Error::not_found(format!("there is no variable {name} in the environment, or it is no text"))
            .help(format!("set it before the run is started: export {name}=..."))
    })
}

fn file_of(source: &SecretSources, run: &Run) -> Option<PathBuf> {
    let SecretSources::File(path) = source else { return None };
    let folder = run.metadata.annotations.get(labels::WORK_DIR).map(PathBuf::from).unwrap_or_default();
    Some(folder.join(path))
}

fn readable_by_others(source: &SecretSources, run: &Run) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let path = file_of(source, run)?;
    let mode = std::fs::metadata(&path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| format!("{} can be read by others: chmod 600 it", path.display()))
}

/// Whether a parameter of a notification is secret by its name, or an address that says who one is.
fn is_sensitive(name: &str, value: &Value) -> bool {
    let name = name.to_ascii_lowercase();
    if SENSITIVE.contains(&name.as_str()) {
        return value.as_str().is_some_and(|text| !text.is_empty());
    }
    match value {
        Value::String(url) if name == "url" => Notification::is_secret_address(url),
        Value::Object(headers) if name == "headers" => !headers.is_empty(),
        _ => false,
    }
}

/// Whether code in a pod can still read of this source. What the others say is read here, and given to it.
pub(super) fn stays(source: &SecretSources) -> bool {
    matches!(source, SecretSources::Kubernetes(_) | SecretSources::Vault { .. })
}
