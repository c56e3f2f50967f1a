//! Who may report what: a token for each attempt of a run.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind as Io, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use hmac::{Hmac, KeyInit, Mac};
use runtime_core::{
    Error, ErrorKind, Result, Store,
    run::RunKey,
    secret::Secret,
    serde_json::{Value, json},
    store::Document,
};
use sha2::Sha256;

use crate::Orchestrator;

/// How tokens begin. None has a `-`: a client of MLRun takes one that does for the session of another system.
const PREFIX: &str = "rt1";

/// The file in the home that holds the key.
const FILE: &str = "token-key";

/// The kind of the document that holds the key, where several homes share a store.
const KIND: &str = "token-key";

/// How long the key is, in bytes.
const LENGTH: usize = 32;

/// Makes the tokens with which runs report, and knows them again. Nothing is kept for a token: it says for which run and
/// attempt it is, and nobody without the key can make it.
///
/// The key is random. It lies in the home folder (`token-key`, which only its owner may read) or, where the store is
/// not the file of one home, in the store, so that all who share the store know each other's tokens: who can read or
/// write there needs no token.
#[derive(Clone)]
pub struct Tokens {
    key: [u8; LENGTH],
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(***)")
    }
}

/// What a token allows: to report for this attempt of this run.
#[cfg(any(test, feature = "api"))]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    pub(crate) run: RunKey,
    pub(crate) attempt: u32,
}

impl Tokens {
    /// With the key of this orchestrator's home or store; made where there is none.
    ///
    /// # Errors
    /// When it cannot be read or written; `PermissionDenied` where others can read the file.
    pub async fn open(orchestrator: &Orchestrator) -> Result<Self> {
        Self::find(&**orchestrator.store(), orchestrator.home(), orchestrator.shares_store()).await
    }

    /// With the key of the store, where several homes share it, or of this home.
    pub(crate) async fn find(store: &dyn Store, home: &Path, is_shared: bool) -> Result<Self> {
        let key = match is_shared {
            true => shared(store).await?,
            false => own(&home.join(FILE))?,
        };
        Ok(Self { key })
    }

    /// The token for an attempt of a run, from 0.
    pub fn token(&self, run: &RunKey, attempt: u32) -> Secret {
        let said = format!("{PREFIX}.{}.{}.{attempt}", run.uid, run.iteration);
        let mac = self.mac(&said).map(|mac| hex(&mac.finalize().into_bytes())).unwrap_or_default();
        Secret::new(format!("{said}.{mac}"))
    }

    /// What this token allows; `None` where it was not made with this key.
    #[cfg(any(test, feature = "api"))]
    pub(crate) fn verify(&self, token: &str) -> Option<Grant> {
        let (said, mac) = token.rsplit_once('.')?;
        // Takes as long for a token that is nearly right as for one that is not.
        self.mac(said)?.verify_slice(&unhex(mac)?).ok()?;
        let mut fields = said.split('.');
        let (prefix, uid) = (fields.next()?, fields.next()?);
        let (iteration, attempt) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let right =
            prefix == PREFIX && runtime_core::naming::check_uid(uid).is_ok() && fields.next().is_none();
        right.then(|| Grant { run: RunKey { uid: uid.to_owned(), iteration }, attempt })
    }

    fn mac(&self, said: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(said.as_bytes());
        Some(mac)
    }
}

/// The key of a store; of several that make one at once, one wins.
async fn shared(store: &dyn Store) -> Result<[u8; LENGTH]> {
    loop {
        if let Some(document) = store.get_document(KIND, "", "current").await? {
            let text = document.body.get("key").and_then(Value::as_str).unwrap_or_default();
            return key(text)
                .ok_or_else(|| Error::new(ErrorKind::Invalid, "the key for tokens in the store is no key"));
        }
        let document = Document::new(KIND, "", "current", json!({"key": hex(&random()?)}));
        match store.put_document(&document).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
}

/// The key of a home.
fn own(path: &Path) -> Result<[u8; LENGTH]> {
    if let Err(error) = std::fs::metadata(path) {
        if error.kind() != Io::NotFound {
            return Err(Error::io("read", path, error));
        }
        make(path)?;
    }
    let text = read_private(path)?;
    key(text.trim()).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("{} is no key for tokens", path.display()))
            .help("remove it, and another one is made; runs that go on cannot report any more then")
    })
}

/// Made under another name first, and linked into its place: whoever reads it reads all of it.
fn make(path: &Path) -> Result<()> {
    let text = hex(&random()?);
    let temporary = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&temporary, path)
    };
    let made = write();
    let _ = std::fs::remove_file(&temporary);
    match made {
        Err(error) if error.kind() != Io::AlreadyExists => Err(Error::io("write", path, error)),
        _ => Ok(()),
    }
}

fn read_private(path: &Path) -> Result<String> {
    use std::{io::Read, os::unix::fs::PermissionsExt};
    let fail = |error| Error::io("read", path, error);
    let mut file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.permissions().mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(Error::new(ErrorKind::PermissionDenied, format!("{shown} can be read by others"))
            .help(format!("rm '{shown}', and another one is made: who read it could report for every run")));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

fn random() -> Result<[u8; LENGTH]> {
    let mut key = [0; LENGTH];
    getrandom::fill(&mut key)
        .map_err(|error| Error::new(ErrorKind::Io, format!("this machine gives no random key: {error}")))?;
    Ok(key)
}

fn key(text: &str) -> Option<[u8; LENGTH]> {
    unhex(text)?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = |at: usize| text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn run(iteration: u32) -> RunKey {
        RunKey { uid: "0123456789abcdef0123456789abcdef".to_owned(), iteration }
    }

    #[test]
    fn a_token_is_for_one_attempt_of_one_run() {
        let tokens = Tokens { key: [7; LENGTH] };
        let token = tokens.token(&run(3), 2).expose().to_owned();
        assert_eq!(tokens.verify(&token), Some(Grant { run: run(3), attempt: 2 }));
        assert!(!token.contains('-') && !format!("{tokens:?}").contains('7'));
        // Whatever is changed in it, it is none any more.
        for at in 0..token.len() {
            for digit in ["0", "1", ".", "x"] {
                let mut other = token.clone();
                other.replace_range(at..=at, digit);
                assert!(other == token || tokens.verify(&other).is_none(), "{other}");
            }
        }
        for other in ["", ".", "rt1", &token[..token.len() - 2], &format!("{token}00"), "rt1.a.0.0.é"] {
            assert_eq!(tokens.verify(other), None, "{other}");
        }
        assert_eq!(Tokens { key: [8; LENGTH] }.verify(&token), None);
    }

    #[test]
    fn a_home_keeps_its_key_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = own(&path).unwrap();
        assert_eq!(own(&path).unwrap(), first);
        assert_ne!(first, [0; LENGTH]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = own(&path).unwrap_err();
        assert!(error.message().contains("can be read by others"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(own(&path).unwrap_err().message().contains("is no key"));
    }

    #[tokio::test]
    async fn those_who_share_a_store_share_its_key() {
        let store = runtime_core::store::MemoryStore::new();
        let (one, two) = tokio::join!(shared(&store), shared(&store));
        assert_eq!(one.unwrap(), two.unwrap());
    }
}
