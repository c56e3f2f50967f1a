//! Which cluster, and how much is asked of it.

use std::time::Duration;

use runtime_core::{
    Error, Result,
    cluster::{Cluster, Style},
    serde_json::Value,
    yaml,
};
use serde::Deserialize;

/// Which cluster, and how it is used.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The context of the kubeconfig; `None`: the current one, or, in a pod, the cluster of that pod.
    pub context: Option<String>,
    /// The namespace of functions that name none; `None`: the context's.
    pub namespace: Option<String>,
    /// What a rendering must know: settings, and what projects have.
    pub cluster: Cluster,
    /// How many requests are made in a second, beside watches and logs. Twice as many may be made at once.
    pub requests_per_second: u32,
    /// How many of them are under way at the same time, each on a connection of its own.
    pub parallel_requests: usize,
    /// How long one request may take until it is given up and, where that may help, made again.
    pub request_timeout: Duration,
    /// How many logs of runs that go on are read at the same time, each by a connection of its own. Where there are more
    /// runs, they take turns of ten seconds; what a run wrote is read to its end in any case.
    pub log_streams: usize,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            context: None,
            namespace: None,
            cluster: Cluster::default(),
            requests_per_second: 200,
            parallel_requests: 64,
            request_timeout: Duration::from_secs(30),
            log_streams: 500,
        }
    }
}

/// How a cluster is used, as it is written down.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientSettings {
    requests_per_second: u32,
    parallel_requests: usize,
    /// In seconds.
    request_timeout: u64,
    log_streams: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        let ClusterOptions { requests_per_second, parallel_requests, request_timeout, log_streams, .. } =
            ClusterOptions::default();
        let request_timeout = request_timeout.as_secs();
        Self { requests_per_second, parallel_requests, request_timeout, log_streams }
    }
}

impl ClusterOptions {
    /// Reads options as they are written down: what a rendering must know ([`Cluster::read`]), with its `namespace`, and
    /// `client`, with `requests_per_second`, `parallel_requests`, `request_timeout` (seconds) and `log_streams`.
    ///
    /// # Errors
    /// `Invalid`, with the path of the wrong field.
    pub fn read(settings: &Value) -> Result<Self> {
        let cluster = Cluster::read(settings, Style::Native)?;
        let client: ClientSettings = match settings.get("client").filter(|client| !client.is_null()) {
            Some(client) => yaml::from_value(client, "client")?,
            None => ClientSettings::default(),
        };
        let ClientSettings { requests_per_second, parallel_requests, request_timeout, log_streams } = client;
        for (name, nothing) in [
            ("requests_per_second", requests_per_second == 0),
            ("parallel_requests", parallel_requests == 0),
            ("request_timeout", request_timeout == 0),
            ("log_streams", log_streams == 0),
        ] {
            if nothing {
                return Err(Error::invalid(format!("client.{name}"), "with 0 nothing can be done")
                    .help("leave it out, or give a number from 1 on"));
            }
        }
        let namespace = settings.get("namespace").and_then(Value::as_str).filter(|own| !own.is_empty());
        Ok(Self {
            context: None,
            namespace: namespace.map(str::to_owned),
            cluster,
            requests_per_second,
            parallel_requests,
            request_timeout: Duration::from_secs(request_timeout),
            log_streams,
        })
    }
}

#[cfg(test)]
mod tests {
    use runtime_core::serde_json::json;

    use super::*;

    #[test]
    fn options_are_read_and_what_is_wrong_is_named() {
        let read = |client: Value| ClusterOptions::read(&json!({"namespace": "ml", "client": client}));
        let options = read(json!({"requests_per_second": 5, "request_timeout": 3})).unwrap();
        assert_eq!((options.requests_per_second, options.request_timeout), (5, Duration::from_secs(3)));
        assert_eq!((options.namespace.as_deref(), options.log_streams), (Some("ml"), 500));
        assert_eq!(read(Value::Null).unwrap().parallel_requests, 64);
        for (wrong, at) in [
            (json!({"log_streams": 0}), "client.log_streams"),
            (json!({"request_timeout": -1}), "client.request_timeout"),
            (json!({"qps": 5}), "client.qps"),
            (json!(5), "client"),
        ] {
            assert_eq!(read(wrong).unwrap_err().location(), Some(at));
        }
    }
}
