//! The secrets that a run's code reads by name: files in a folder of its attempt, gone with it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use runtime_core::{
    Error, Result,
    secret::{RunSecrets, Secret, SecretSource, project_secret},
};

use super::secrets::make_private;

pub(crate) use runtime_core::cluster::SECRETS_DIR as VARIABLE;

/// The value of one key, for a run of this project.
pub(crate) fn find(
    source: &dyn SecretSource,
    project: &str,
    secrets: &RunSecrets,
    key: &str,
) -> Result<Option<Secret>> {
    if let Some(own) = secrets.own.get(key) {
        return Ok(Some(own.clone()));
    }
    if secrets.lost.iter().any(|lost| lost == key) {
        secrets.check_lost()?;
    }
    if secrets.allows(key) { source.get(&project_secret(project), key) } else { Ok(None) }
}

/// Puts the secrets of a run into its attempt's folder, unless they are there. `None` where it has none.
pub(crate) fn lay_out(
    source: &dyn SecretSource,
    project: &str,
    secrets: &RunSecrets,
    attempt: &Path,
) -> Result<Option<PathBuf>> {
    let folder = attempt.join("secrets");
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    let all = secrets.values(Some(source), project)?;
    if all.is_empty() {
        return Ok(None);
    }
    // The name says that all of them are there.
    let beside = attempt.join("secrets.partial");
    let _ = fs::remove_dir_all(&beside);
    make_private(&beside)?;
    for (key, value) in all {
        let path = beside.join(key);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(value.expose().as_bytes()))
            .map_err(|error| Error::io("write", &path, error))?;
    }
    fs::rename(&beside, &folder).map_err(|error| Error::io("create", &folder, error))?;
    Ok(Some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::SecretFolder;
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

    #[test]
    fn a_run_reads_its_own_over_its_projects() {
        let home = tempfile::tempdir().unwrap();
        let source = SecretFolder::new(home.path().join("secrets"));
        let attempt = tempfile::tempdir().unwrap();
        for key in ["a", "b", "c", "mlrun.notifications.1"] {
            source.put(&project_secret("p"), key, &Secret::new(format!("project {key}"))).unwrap();
        }
        let own = BTreeMap::from([("a".to_owned(), Secret::new("own a"))]);
        let only = Some(vec!["a".to_owned(), "b".to_owned()]);
        let secrets = RunSecrets { own, project: only, lost: Vec::new() };
        let folder = lay_out(&source, "p", &secrets, attempt.path()).unwrap().unwrap();
        let read = |key: &str| fs::read_to_string(folder.join(key)).ok();
        assert_eq!((read("a"), read("b"), read("c")), (Some("own a".into()), Some("project b".into()), None));
        for (path, mode) in [(folder.clone(), 0o700), (folder.join("a"), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        let found =
            |key: &str| find(&source, "p", &secrets, key).unwrap().map(|value| value.expose().to_owned());
        assert_eq!((found("a"), found("c")), (Some("own a".into()), None));
        // What is kept for notifications is nobody's but the orchestrator's.
        let every = RunSecrets::default();
        assert!(find(&source, "p", &every, "mlrun.notifications.1").unwrap().is_none());
        let keys: Vec<_> = every.values(Some(&source), "p").unwrap().into_keys().collect();
        assert_eq!(keys, ["a", "b", "c"]);

        // What lies there is not written again; what is lost is missed where it does not.
        let lost = RunSecrets { lost: vec!["a".to_owned()], ..RunSecrets::default() };
        assert_eq!(lay_out(&source, "p", &lost, attempt.path()).unwrap(), Some(folder));
        let other = tempfile::tempdir().unwrap();
        assert!(lay_out(&source, "p", &lost, other.path()).unwrap_err().message().ends_with(": a"));
        assert_eq!(lay_out(&source, "q", &RunSecrets::default(), other.path()).unwrap(), None);
    }
}
