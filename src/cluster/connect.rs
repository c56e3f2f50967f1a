//! Finding a cluster: in the pod that this runs in, or by a kubeconfig.

use std::time::Duration;

use kube::{Client, Config, config::KubeConfigOptions};
use runtime_core::{Error, ErrorKind, Result};

use super::error::chain;

/// How long a server may take to be reached.
const CONNECT: Duration = Duration::from_secs(5);

/// A client, and what it is connected to.
pub(super) struct Found {
    pub(super) client: Client,
    /// The server's address.
    pub(super) server: String,
    /// The context, or `in-cluster`.
    pub(super) context: String,
    /// The namespace of that context.
    pub(super) namespace: String,
}

/// What a context of the kubeconfig, or the pod that this runs in, says.
pub(super) async fn find(context: Option<&str>) -> Result<Found> {
    let inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let has_file = std::env::var_os("KUBECONFIG").is_some_and(|paths| !paths.is_empty());
    let (mut config, context) = match context {
        None if inside && !has_file => {
            let config = Config::incluster().map_err(|error| wrong(&error, "in-cluster"))?;
            (config, "in-cluster".to_owned())
        }
        context => from_file(context).await?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = None;
    config.default_retry = false;
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let namespace = config.default_namespace.clone();
    // Somebody may have chosen who does the arithmetic of TLS; then theirs counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(config).map_err(|error| wrong(&error, &context))?;
    Ok(Found { client, server, context, namespace })
}

async fn from_file(context: Option<&str>) -> Result<(Config, String)> {
    let wrong = |error: kube::config::KubeconfigError| wrong(&error, context.unwrap_or("the current one"));
    let file = kube::config::Kubeconfig::read().map_err(wrong)?;
    let known: Vec<_> = file.contexts.iter().map(|context| context.name.clone()).collect();
    let name = context.map(str::to_owned).or_else(|| file.current_context.clone()).unwrap_or_default();
    if !known.contains(&name) {
        let message = match name.as_str() {
            "" => "the kubeconfig has no current context".to_owned(),
            name => format!("the kubeconfig has no context {name:?}"),
        };
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Error::not_found(message).help(format!("contexts: {known}; choose one with --context")));
    }
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    Ok((Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?, name))
}

fn wrong(error: &(dyn std::error::Error + 'static), context: &str) -> Error {
    // What is wrong with a kubeconfig is shown with the lines around it, and these hold keys: the first line says it.
    let text = chain(error);
    let text = text.lines().next().unwrap_or_default();
    Error::new(ErrorKind::Unavailable, format!("there is no way to a cluster (context {context}): {text}"))
        .help("set KUBECONFIG or write ~/.kube/config, and choose a context with --context; without --on it runs here")
}
