//! What all kinds share that are described as objects of a Kubernetes cluster. Pure: nothing here talks to one.
//!
//! A [`Cluster`] is all that a rendering must know beside the function and the run: names, versions, the settings of the
//! service, what the project has. [`Workload`] is a function and a run with all of that applied; a kind makes its
//! objects of it.

pub mod build;
mod env;
mod given;
mod image;
mod job;
mod mount;
mod names;
mod preemption;
#[cfg(feature = "python")]
mod program;
mod resources;
mod secrets;
mod selector;
mod settings;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Result, naming, yaml};

pub use env::{
    ENDPOINT_TOKEN, ENDPOINT_URL, MAX_VARIABLE, expand, object_field, token_secret, variable, verbatim,
};
pub use given::{SECRETS_DIR, fill_run_secret, run_secret_name};
pub use image::full_image;
pub use job::JobOptions;
pub use names::{label_value, object_name};
#[cfg(feature = "python")]
pub use program::{Agent, CODE_DIR, Carry, Program, check_handler};
pub use secrets::project_secret_name;
pub use settings::{
    Builder, Encoded, Httpdb, Requirements, Settings, StateThresholds, Storage, preset as preset_settings,
};
pub use workload::{Workload, check_service_account, pod_metadata};

/// The version of MLRun whose objects are rendered, and whose images are used where nothing else is said.
pub const MLRUN_VERSION: &str = "1.8.0";

/// The version of Python in that MLRun's images.
pub const MLRUN_PYTHON: &str = "3.9.18";

/// Whose objects are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Our own.
    #[default]
    Native,
    /// What MLRun's server would send.
    Mlrun,
}

/// What a rendering must know of the cluster, the service and the project.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Whose objects are wanted.
    pub style: Style,
    /// The namespace of the objects.
    pub namespace: String,
    /// The version of MLRun that the images are to have.
    pub client_version: String,
    /// The version of Python of whoever asks.
    pub client_python_version: String,
    /// The service's settings.
    pub settings: Settings,
    /// Labels that nodes must have for functions of this project.
    pub project_node_selector: BTreeMap<String, String>,
    /// The keys of the project's secrets.
    pub secrets: Vec<String>,
    /// The keys of the secret that all functions get (`secret_stores.kubernetes.global_function_env_secret_name`).
    pub global_secrets: Vec<String>,
    /// The service account of functions that name none; empty: the setting's.
    pub default_service_account: String,
    /// The service accounts that the project's functions may have; empty: all.
    pub allowed_service_accounts: Vec<String>,
    /// Which attempt of the run, from 0.
    pub attempt: u32,
    /// The URL of the endpoint at which runs report; empty: there is none of ours.
    pub endpoint: String,
    /// The context by which the cluster is found, for the record.
    pub context: String,
    /// The groups and versions that the cluster serves (`apps/v1`); `None`: not known.
    pub api_versions: Option<BTreeSet<String>>,
    /// The keys of the secrets that whoever starts the run gives to its pods; `None`: none.
    pub run_secrets: Option<Vec<String>>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            style: Style::Native,
            namespace: "default".to_owned(),
            client_version: MLRUN_VERSION.to_owned(),
            client_python_version: MLRUN_PYTHON.to_owned(),
            settings: Settings::default(),
            project_node_selector: BTreeMap::new(),
            secrets: Vec::new(),
            global_secrets: Vec::new(),
            default_service_account: String::new(),
            allowed_service_accounts: Vec::new(),
            attempt: 0,
            endpoint: String::new(),
            context: String::new(),
            api_versions: None,
            run_secrets: None,
        }
    }
}

/// A cluster as it is written down.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Context {
    namespace: String,
    #[allow(dead_code, reason = "the function and the run name their project themselves")]
    project: String,
    client_version: String,
    client_python_version: String,
    #[allow(dead_code, reason = "what a client did with its environment stands in the function")]
    client_env: Map<String, Value>,
    config: Map<String, Value>,
    #[allow(dead_code, reason = "how a cluster is asked changes nothing that is rendered")]
    client: Option<Value>,
    project_spec: Option<ProjectSpec>,
    secrets: Vec<String>,
    global_secrets: Vec<String>,
    default_service_account: String,
    allowed_service_accounts: Vec<String>,
    api_versions: Option<BTreeSet<String>>,
}

/// What of a project's spec counts; it has more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProjectSpec {
    default_function_node_selector: Option<BTreeMap<String, String>>,
}

impl Cluster {
    /// The namespace of what a function creates: its own, else that of the objects.
    pub fn namespace_of<'a>(&'a self, function: &'a crate::Function) -> &'a str {
        match (self.style, function.metadata.namespace.as_str()) {
            (Style::Native, own) if !own.is_empty() => own,
            _ => &self.namespace,
        }
    }

    /// Whether the cluster serves a group in a version (`kubernetes.dask.org/v1`); `None`, where that is not known.
    pub fn serves(&self, api_version: &str) -> Option<bool> {
        self.api_versions.as_ref().map(|served| served.contains(api_version))
    }

    /// Reads what a rendering must know: `namespace`, `client_version`, `config` (settings of MLRun by their names with
    /// dots), `project_spec`, `secrets` (keys of the project's secrets), and so on; what is left out has its default.
    ///
    /// # Errors
    /// `Invalid`, with the path of the wrong field.
    pub fn read(context: &Value, style: Style) -> Result<Self> {
        let context: Context = yaml::from_value(context, "context")?;
        if !context.namespace.is_empty() {
            naming::check("context.namespace", &context.namespace)?;
        }
        let or = |text: String, default: String| if text.is_empty() { default } else { text };
        let default = Self { style, ..Self::default() };
        Ok(Self {
            namespace: or(context.namespace, default.namespace),
            client_version: or(context.client_version, default.client_version),
            client_python_version: or(context.client_python_version, default.client_python_version),
            settings: Settings::read(&context.config, style)?,
            project_node_selector: context
                .project_spec
                .and_then(|spec| spec.default_function_node_selector)
                .unwrap_or_default(),
            secrets: context.secrets,
            global_secrets: context.global_secrets,
            default_service_account: context.default_service_account,
            allowed_service_accounts: context.allowed_service_accounts,
            style,
            attempt: 0,
            endpoint: String::new(),
            context: String::new(),
            api_versions: context.api_versions,
            run_secrets: None,
        })
    }
}
