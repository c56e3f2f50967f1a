//! Secrets on this machine: a folder a secret, a file a key, as Kubernetes mounts them.

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use runtime_core::{
    Error, ErrorKind, Result,
    secret::{Secret, SecretSource},
};

/// Secrets in `<home>/secrets/NAME/KEY`, readable by their owner only.
#[derive(Clone, Debug)]
pub struct SecretFolder(PathBuf);

impl SecretFolder {
    /// The secrets in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }
}

impl SecretSource for SecretFolder {
    fn get(&self, name: &str, key: &str) -> Result<Option<Secret>> {
        // A name with a slash would lead out of the folder.
        if [name, key].iter().any(|part| part.is_empty() || part.contains('/') || part.starts_with("..")) {
            return Err(Error::invalid(
                "secretKeyRef",
                format!("{name:?}, {key:?}: no names of a secret and a key"),
            ));
        }
        let path = self.0.join(name).join(key);
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("{} can be read by others", path.display()),
            )
            .help(format!("chmod 600 '{}'", path.display())));
        }
        let value = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        Ok(Some(Secret::new(value.strip_suffix('\n').unwrap_or(&value))))
    }

    fn how_to_set(&self, name: &str, key: &str) -> String {
        let folder = self.0.join(name);
        format!(
            "put it into a file that only you can read: install -D -m 600 /dev/stdin '{}' (then type it, and Ctrl-D)",
            folder.join(key).display()
        )
    }
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
        assert!(secrets.get("..", "x").is_err());
    }
}
