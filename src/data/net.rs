//! Clients of the clouds.

#[cfg(feature = "_cloud")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "_cloud")]
use object_store::{ClientOptions, HeaderValue, ObjectStore, RetryConfig};

#[cfg(feature = "_cloud")]
use super::{Place, credentials::Options};

/// How long a server may take to be reached.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may be silent. A transfer as a whole may take as long as it does.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// What this program calls itself.
pub(super) const AGENT: &str = concat!("runtimes/", env!("CARGO_PKG_VERSION"));

/// TLS needs somebody who does the arithmetic; where the program has chosen nobody, that is ring.
pub(crate) fn choose_crypto() {
    // Somebody may have been faster; then theirs counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How often a request is made again that failed for a reason which may pass.
#[cfg(feature = "_cloud")]
const RETRIES: usize = 6;

/// After so long it is not made again.
#[cfg(feature = "_cloud")]
const PATIENCE: Duration = Duration::from_secs(90);

#[cfg(feature = "_cloud")]
fn retry() -> RetryConfig {
    RetryConfig { max_retries: RETRIES, retry_timeout: PATIENCE, ..RetryConfig::default() }
}

#[cfg(feature = "_cloud")]
fn client(endpoint: Option<&String>) -> ClientOptions {
    choose_crypto();
    ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(AGENT))
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(SILENCE)
        // Who writes http:// means it: a server in the same network, or a test's.
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
}

/// S3, and servers that speak as it does.
#[cfg(feature = "s3")]
pub(super) fn s3(place: &Place, options: &Options) -> object_store::Result<Arc<dyn ObjectStore>> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    let endpoint = options.get("AWS_ENDPOINT_URL_S3").or_else(|| options.get("AWS_ENDPOINT_URL"));
    let mut builder = AmazonS3Builder::new().with_client_options(client(endpoint)).with_retry(retry());
    for (name, value) in options {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.with_bucket_name(place.bucket()).build()?))
}

/// Google Cloud Storage.
#[cfg(feature = "gcs")]
pub(super) fn gcs(place: &Place, options: &Options) -> object_store::Result<Arc<dyn ObjectStore>> {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    let endpoint = options.get("GOOGLE_BASE_URL");
    let mut builder =
        GoogleCloudStorageBuilder::new().with_client_options(client(endpoint)).with_retry(retry());
    for (name, value) in options {
        // The key itself may stand in the place of the path to its file.
        let name = match name.as_str() {
            "GOOGLE_APPLICATION_CREDENTIALS" if value.trim_start().starts_with('{') => {
                "GOOGLE_SERVICE_ACCOUNT_KEY"
            }
            name => name,
        };
        if let Ok(key) = name.to_ascii_lowercase().parse::<GoogleConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.with_bucket_name(place.bucket()).build()?))
}

/// Azure Blob Storage: `az://container/…`, or `abfss://container@account.…/…`.
#[cfg(feature = "azure")]
pub(super) fn azure(place: &Place, options: &Options) -> object_store::Result<Arc<dyn ObjectStore>> {
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
    let endpoint = options.get("AZURE_STORAGE_ENDPOINT");
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client(endpoint)).with_retry(retry());
    for (name, value) in options {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder = match place.bucket().split_once('@') {
        Some((container, host)) => {
            builder.with_container_name(container).with_account(host.split('.').next().unwrap_or(host))
        }
        None => builder.with_container_name(place.bucket()),
    };
    Ok(Arc::new(builder.build()?))
}
