//! Secrets on this machine: a folder a secret, a file a key, as Kubernetes mounts them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use runtime_core::{
    Error, ErrorKind, Result,
    secret::{Secret, SecretSource, check_key, project_secret},
};

/// Secrets in `<home>/secrets/NAME/KEY`, readable by their owner only.
#[derive(Clone, Debug)]
pub struct SecretFolder(PathBuf);

impl SecretFolder {
    /// The secrets in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    fn file(&self, name: &str, key: &str) -> Result<PathBuf> {
        // A name with a slash would lead out of the folder; a key may be a value in the wrong place.
        check_name(name)?;
        check_key(key)?;
        Ok(self.0.join(name).join(key))
    }
}

impl SecretSource for SecretFolder {
    fn get(&self, name: &str, key: &str) -> Result<Option<Secret>> {
        let path = self.file(name, key)?;
        let value = match read_private(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Ok(Some(Secret::new(value.strip_suffix('\n').unwrap_or(&value))))
    }

    fn how_to_set(&self, name: &str, key: &str) -> String {
        match name.strip_prefix(&project_secret("")) {
            Some("default") => format!("runtimes secret set {key}"),
            Some(project) => format!("runtimes secret set {key} --project {project}"),
            None => format!("runtimes secret set {name} --key {key}"),
        }
    }

    fn keys(&self, name: &str) -> Result<Vec<String>> {
        check_name(name)?;
        let folder = self.0.join(name);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| Error::io("read", &folder, error))?,
        };
        let mut keys: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|key| check_key(key).is_ok())
            .collect();
        keys.sort();
        Ok(keys)
    }

    fn put(&self, name: &str, key: &str, value: &Secret) -> Result<()> {
        let path = self.file(name, key)?;
        for folder in [&self.0, &self.0.join(name)] {
            make_private(folder)?;
        }
        write_private(&path, value.expose().as_bytes())
    }

    fn delete(&self, name: &str, key: &str) -> Result<bool> {
        let path = self.file(name, key)?;
        match fs::remove_file(&path) {
            Ok(()) => {
                // The last key takes the folder with it; where there are others, it stays.
                let _ = fs::remove_dir(self.0.join(name));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", &path, error)),
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    check_key(name).map_err(|_| {
        Error::new(ErrorKind::Invalid, "this is no name of a secret")
            .help("letters, digits, `-`, `_` and `.`, as Kubernetes names secrets")
    })
}

/// Reads a file that nobody but its owner may read.
///
/// # Errors
/// `PermissionDenied` where others may, saying how to mend it; `NotFound`.
pub fn read_private(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    let meta = file.metadata().map_err(|error| Error::io("read", path, error))?;
    if meta.permissions().mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(Error::new(ErrorKind::PermissionDenied, format!("{shown} can be read by others"))
            .help(format!("chmod 600 '{shown}'; what others may have read should be replaced")));
    }
    let mut value = String::new();
    file.read_to_string(&mut value).map_err(|error| Error::io("read", path, error))?;
    Ok(value)
}

/// Makes a folder that only its owner may enter.
pub(crate) fn make_private(folder: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("create", folder, error)),
        _ => Ok(()),
    }
}

/// Writes a file that only its owner may read: whole, or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A name that is no key's: what a killed process leaves is not listed.
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&beside);
        Error::io("write", path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = SecretFolder::new(folder.path());
        assert!(secrets.get("db", "password").unwrap().is_none());
        let file = folder.path().join("db/password");
        fs::create_dir(folder.path().join("db")).unwrap();
        fs::write(&file, "s3cret\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = secrets.get("db", "password").unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
        assert!(error.help_text().unwrap().starts_with("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = secrets.get("db", "password").unwrap().unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        for wrong in ["..", "a/b", ""] {
            assert!(secrets.get(wrong, "x").is_err() && secrets.get("x", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_put_is_private_and_listed_until_it_is_deleted() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("secrets");
        let secrets = SecretFolder::new(&folder);
        let name = project_secret("p");
        assert_eq!(secrets.keys(&name).unwrap(), [""; 0]);
        for value in ["one", "two\nlines\n"] {
            secrets.put(&name, "token", &Secret::new(value)).unwrap();
        }
        secrets.put(&name, "a.b", &Secret::new("")).unwrap();
        assert_eq!(secrets.get(&name, "token").unwrap().unwrap().expose(), "two\nlines");
        assert_eq!(secrets.keys(&name).unwrap(), ["a.b", "token"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(&name))), (0o700, 0o700));
        assert_eq!(mode(&folder.join(&name).join("token")), 0o600);
        assert!(secrets.delete(&name, "token").unwrap() && secrets.delete(&name, "a.b").unwrap());
        assert!(!secrets.delete(&name, "token").unwrap() && !folder.join(&name).exists());
        assert_eq!(secrets.how_to_set(&name, "token"), "runtimes secret set token --project p");
    }
}
