//! Where the record is kept, by its address: a file, a database, this process's memory.

use std::{path::Path, sync::Arc};

use runtime_core::{Error, ErrorKind, Result, Store, store::MemoryStore};

/// What an address may look like.
const FORMS: &str = "write postgres://USER@HOST/DATABASE, sqlite:FILE, or memory:";

/// Opens the store of this address.
pub(super) async fn open(address: &str) -> Result<Arc<dyn Store>> {
    let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
    let opened: Result<Arc<dyn Store>> = match scheme {
        "postgres" | "postgresql" => postgres(address).await,
        "sqlite" => sqlite(Path::new(rest.strip_prefix("//").unwrap_or(rest))).await,
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryStore::new())),
        // The address may hold a password: no more of it is quoted than the scheme.
        "" => Err(Error::invalid("store", "this is not the address of a store").help(FORMS)),
        _ => Err(Error::invalid(
            "store",
            format!("there is no store for addresses that begin with `{scheme}:`"),
        )
        .help(FORMS)),
    };
    opened.map_err(|error| error.operation("store.open"))
}

/// The store of a home: a file in it.
pub(super) async fn default(home: &Path) -> Result<Arc<dyn Store>> {
    if cfg!(feature = "sqlite") { sqlite(&home.join("runtimes.db")).await } else { open("memory:").await }
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(crate::store::PostgresStore::connect(url).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Arc<dyn Store>> {
    Err(left_out("postgres"))
}

#[cfg(feature = "sqlite")]
async fn sqlite(file: &Path) -> Result<Arc<dyn Store>> {
    if file.as_os_str().is_empty() {
        return Err(Error::invalid("store", "the address names no file").help(FORMS));
    }
    Ok(Arc::new(crate::store::SqliteStore::open(file).await?))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &Path) -> Result<Arc<dyn Store>> {
    Err(left_out("sqlite"))
}

#[allow(dead_code, reason = "with all features there is nothing to leave out")]
fn left_out(feature: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this build has no {feature} store"))
        .help(format!("build it with the feature `{feature}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_address_is_named_without_what_may_be_secret() {
        for (address, expected) in [
            ("mysql://me:s3cret@h/d", "begin with `mysql:`"),
            ("s3cret", "not the address of a store"),
            ("memory:s3cret", "begin with `memory:`"),
        ] {
            let error = open(address).await.err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{address}: {error}");
            assert!(error.contains("postgres://USER@HOST"), "{error}");
        }
        assert!(open("memory:").await.is_ok());
    }
}
