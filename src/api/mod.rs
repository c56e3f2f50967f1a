//! The endpoint at which runs report from elsewhere: the part of MLRun's HTTP API that code inside a pod calls, and one
//! path for our own agent. So an image with MLRun in it reports as it is.
//!
//! [`Tokens`] makes a token for each attempt of a run; [`Api`] serves. A token allows to read and change its run, with
//! the iterations that its code makes, and to read its function, its artifacts and inputs, and the names of its secrets.

#[cfg(feature = "api")]
mod artifacts;
pub(crate) mod endpoint;
#[cfg(feature = "api")]
mod error;
#[cfg(feature = "api")]
mod files;
#[cfg(feature = "api")]
mod gate;
#[cfg(feature = "api")]
mod json;
#[cfg(feature = "api")]
mod limit;
#[cfg(feature = "api")]
mod mlrun;
#[cfg(feature = "api")]
mod project;
#[cfg(feature = "api")]
mod request;
#[cfg(feature = "api")]
mod runs;
#[cfg(feature = "api")]
mod serve;
mod token;

pub use endpoint::check_url;
#[cfg(feature = "api")]
pub use limit::Limits;
#[cfg(feature = "api")]
pub use serve::Api;
pub use token::Tokens;
