//! Inputs and artifacts: where they lie, and how they get from there to here and back.

mod artifact;
#[cfg(feature = "data")]
mod credentials;
mod describe;
#[cfg(feature = "data")]
mod error;
#[cfg(feature = "http")]
mod http;
mod meter;
#[cfg(feature = "_net")]
pub(crate) mod net;
mod place;
#[cfg(feature = "data")]
mod profile;
#[cfg(feature = "data")]
mod read;
#[cfg(feature = "data")]
mod storage;
mod uri;
#[cfg(not(feature = "data"))]
mod without;
#[cfg(feature = "data")]
mod write;

pub(crate) use artifact::POD;
pub use artifact::{ARTIFACT, ArtifactFilter, ArtifactRecord, documents};
pub(crate) use describe::describe;
pub use meter::Meter;
pub use place::{Place, Scheme, is_url, redacted};
#[cfg(feature = "data")]
pub use read::Entry;
#[cfg(feature = "data")]
pub use storage::Storage;
pub use uri::{ArtifactUri, STORE};
#[cfg(not(feature = "data"))]
pub use without::Storage;

/// What a file of this name holds, as MIME says it.
pub fn content_type(name: &str) -> &'static str {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}
