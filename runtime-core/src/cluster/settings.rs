//! The settings of MLRun's service that change what is rendered, with MLRun's names and defaults.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Toleration;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Map, Value};

use super::Style;
use crate::{Error, Result, yaml};

/// Declares a group of settings: its names, types and defaults.
macro_rules! settings {
    ($($(#[$doc:meta])* $group:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Deserialize)]
            #[serde(default)]
            pub struct $group {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl Default for $group {
                fn default() -> Self {
                    Self { $($field: $default,)* }
                }
            }
        )*
    };
}

settings! {
    /// The settings of MLRun's service that change what is rendered.
    Settings {
        /// The service, and how it builds images.
        httpdb: Httpdb = Httpdb::default(),
        /// The tag of MLRun's images; empty: the client's version.
        images_tag: String = String::new(),
        /// The registry of MLRun's images.
        images_registry: String = String::new(),
        /// The registry of other images that are in `images_to_enrich_registry`.
        vendor_images_registry: String = String::new(),
        /// Which images get a registry: patterns, with commas between them.
        images_to_enrich_registry: String = "^mlrun/*,python:3.9".to_owned(),
        /// MLRun's image for applications of Spark.
        spark_app_image: String = "gcr.io/iguazio/spark-app".to_owned(),
        /// Its tag.
        spark_app_image_tag: String = "v3.2.1-mlk".to_owned(),
        /// The name of MLRun's package.
        package_path: String = "mlrun".to_owned(),
        /// The image to build on where nothing else is said.
        default_base_image: String = "mlrun/mlrun".to_owned(),
        /// Whether metrics of runs are collected.
        scrape_metrics: bool = true,
        /// What functions have that do not say it.
        function_defaults: FunctionDefaults = FunctionDefaults::default(),
        /// What the specs of functions may have.
        function: FunctionSettings = FunctionSettings::default(),
        /// Labels that nodes must have, for all functions.
        default_function_node_selector: Encoded<BTreeMap<String, String>> = Encoded::default(),
        /// Resources of functions that name none.
        default_function_pod_resources: Requirements = Requirements::default(),
        /// The priority of functions that name none.
        default_function_priority_class_name: Option<String> = None,
        /// The priorities that there are, with commas between them; empty: none is used.
        valid_function_priority_class_names: String = String::new(),
        /// How preemptible nodes are known.
        preemptible_nodes: PreemptibleNodes = PreemptibleNodes::default(),
        /// Where secrets are.
        secret_stores: SecretStores = SecretStores::default(),
        /// What is mounted without being asked for.
        storage: Storage = Storage::default(),
    }

    /// The service, and how it builds images.
    Httpdb {
        /// Its address for pods.
        api_url: String = String::new(),
        /// How images are built.
        builder: Builder = Builder::default(),
    }

    /// How images are built.
    Builder {
        /// The registry, and the folder in it, of images that are built: what a `.` in front of an image's name means.
        docker_registry: String = String::new(),
        /// The secret with its credentials.
        docker_registry_secret: String = String::new(),
        /// What builds: `buildkit` (without root) or `kaniko`, as MLRun does it. A setting of our own.
        builder: String = "buildkit".to_owned(),
        /// BuildKit's image, one that needs no root. A setting of our own.
        buildkit_image: String = "moby/buildkit:v0.32.2-rootless".to_owned(),
        /// Kaniko's image.
        kaniko_image: String = "gcr.io/kaniko-project/executor:v1.23.2".to_owned(),
        /// What writes the Dockerfile.
        kaniko_init_container_image: String = "alpine:3.18".to_owned(),
        /// How often unpacking the base image is tried again.
        kaniko_image_fs_extraction_retries: String = "3".to_owned(),
        /// How often pushing is tried again.
        kaniko_image_push_retry: String = "3".to_owned(),
        /// `auto` (where there are no credentials), `enabled` or `disabled`.
        insecure_pull_registry_mode: String = "auto".to_owned(),
        /// `auto` (where there are no credentials), `enabled` or `disabled`.
        insecure_push_registry_mode: String = "auto".to_owned(),
        /// What MLRun is installed as; empty: the client's version.
        mlrun_version_specifier: String = String::new(),
        /// The version of pip that is installed, with its operator: `~=23.0`.
        pip_version: String = "~=23.0".to_owned(),
    }

    /// What functions have that do not say it.
    FunctionDefaults {
        /// Images by kind.
        image_by_kind: BTreeMap<String, String> = images(),
        /// Whether they run on preemptible nodes.
        preemption_mode: String = "prevent".to_owned(),
    }

    /// What the specs of functions may have.
    FunctionSettings {
        /// Its part for specs.
        spec: FunctionSpecSettings = FunctionSpecSettings::default(),
    }

    /// What the specs of functions may have.
    FunctionSpecSettings {
        /// How long runs may stay in a state.
        state_thresholds: StateThresholds = StateThresholds::default(),
        /// Their service accounts.
        service_account: ServiceAccount = ServiceAccount::default(),
    }

    /// How long runs may stay in a state.
    StateThresholds {
        /// By the state's name.
        default: BTreeMap<String, String> = thresholds(),
    }

    /// Service accounts of functions.
    ServiceAccount {
        /// Where a function names none.
        default: Option<String> = None,
    }

    /// Resources, and what is kept free of them.
    Requirements {
        /// What is kept free.
        requests: Amounts = Amounts::default(),
        /// What may be used at most.
        limits: Amounts = Amounts::default(),
    }

    /// Amounts of resources.
    Amounts {
        /// CPUs.
        cpu: Option<String> = None,
        /// Bytes.
        memory: Option<String> = None,
        /// GPUs.
        gpu: Option<Value> = None,
    }

    /// How preemptible nodes are known.
    PreemptibleNodes {
        /// By these labels.
        node_selector: Encoded<BTreeMap<String, String>> = Encoded::default(),
        /// By taints, which these bear.
        tolerations: Encoded<Vec<Toleration>> = Encoded::default(),
    }

    /// Where secrets are.
    SecretStores {
        /// In secrets of the cluster.
        kubernetes: KubernetesSecrets = KubernetesSecrets::default(),
        /// In a vault of Azure.
        azure_vault: AzureVault = AzureVault::default(),
    }

    /// Secrets of the cluster.
    KubernetesSecrets {
        /// Whether a run gets all secrets of its project without asking.
        auto_add_project_secrets: bool = true,
        /// The name of a project's secret.
        project_secret_name: String = "mlrun-project-secrets-{project}".to_owned(),
        /// The name of a secret that holds an access key.
        auth_secret_name: String = "mlrun-auth-secrets.{hashed_access_key}".to_owned(),
        /// What variables with secrets begin with.
        env_variable_prefix: String = "MLRUN_K8S_SECRET__".to_owned(),
        /// A secret that all functions get.
        global_function_env_secret_name: Option<String> = None,
    }

    /// A vault of Azure.
    AzureVault {
        /// The secret with its credentials.
        default_secret_name: Option<String> = None,
        /// Where that is mounted.
        secret_path: String = "~/.mlrun/azure_vault".to_owned(),
    }

    /// What is mounted without being asked for.
    Storage {
        /// `none`, `auto`, `pvc`, `s3`, `env`, `v3io_credentials` or `v3io_fuse`.
        auto_mount_type: String = "auto".to_owned(),
        /// Its parameters: `a=b,c=d`, or JSON in base64.
        auto_mount_params: String = String::new(),
    }
}

fn images() -> BTreeMap<String, String> {
    let mlrun = ["job", "serving", "nuclio", "remote", "mpijob"].map(|kind| (kind, "mlrun/mlrun"));
    let others = [("dask", "mlrun/ml-base"), ("application", "python:3.9")];
    mlrun.into_iter().chain(others).map(|(kind, image)| (kind.to_owned(), image.to_owned())).collect()
}

fn thresholds() -> BTreeMap<String, String> {
    let all = [
        ("pending_scheduled", "1h"),
        ("pending_not_scheduled", "-1"),
        ("image_pull_backoff", "1h"),
        ("executing", "24h"),
    ];
    all.map(|(state, text)| (state.to_owned(), text.to_owned())).into()
}

/// A value that is written as JSON in base64, or as it is.
#[derive(Clone, Debug, Default)]
pub struct Encoded<T>(pub T);

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Encoded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = match Value::deserialize(deserializer)? {
            Value::Null => return Ok(Self::default()),
            Value::String(text) if text.is_empty() => return Ok(Self::default()),
            Value::String(text) => {
                let bytes = STANDARD.decode(text.trim()).map_err(|_| D::Error::custom("not base64"))?;
                serde_json::from_slice(&bytes).map_err(|_| D::Error::custom("not JSON in base64"))?
            }
            value => value,
        };
        serde_json::from_value(value).map(Self).map_err(D::Error::custom)
    }
}

impl Settings {
    /// Reads settings by their names with dots (`storage.auto_mount_type`), over those of the style.
    ///
    /// # Errors
    /// `Invalid`, with the name of the wrong setting.
    pub fn read(config: &Map<String, Value>, style: Style) -> Result<Self> {
        let mut nested = preset(style);
        for (path, value) in config {
            put(&mut nested, path, value.clone())?;
        }
        yaml::from_value(&Value::Object(nested), "config")
    }

    /// Whether there are preemptible nodes, and how they are known.
    pub(super) fn knows_preemptible_nodes(&self) -> bool {
        let nodes = &self.preemptible_nodes;
        !nodes.node_selector.0.is_empty() || !nodes.tolerations.0.is_empty()
    }

    /// Whether functions may have priorities.
    pub(super) fn has_priorities(&self) -> bool {
        self.valid_function_priority_class_names.split(',').any(|name| !name.trim().is_empty())
    }
}

/// The settings of a style where they are not the defaults of MLRun's code: an MLRun that is installed says where it is,
/// and has a registry.
pub fn preset(style: Style) -> Map<String, Value> {
    let mut preset = Map::new();
    if style == Style::Mlrun {
        let builder = serde_json::json!({"docker_registry": "registry.local:5000/mlrun"});
        preset.insert(
            "httpdb".to_owned(),
            serde_json::json!({"api_url": "http://mlrun-api:8080", "builder": builder}),
        );
    }
    preset
}

fn put(map: &mut Map<String, Value>, path: &str, value: Value) -> Result<()> {
    let Some((first, rest)) = path.split_once('.') else {
        map.insert(path.to_owned(), value);
        return Ok(());
    };
    match map.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => put(inner, rest, value),
        _ => Err(Error::invalid(format!("config.{first}"), "is a value, and has settings below it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_by_their_names() {
        let config = serde_json::json!({
            "preemptible_nodes.node_selector": "eyJhIjogImIifQ==",
            "default_function_pod_resources.limits": {"cpu": "2", "gpu": null},
            "storage": {"auto_mount_type": "none"},
            "of.another.kind": 1,
        });
        let settings = Settings::read(config.as_object().unwrap(), Style::Native).unwrap();
        assert_eq!(settings.preemptible_nodes.node_selector.0["a"], "b");
        assert_eq!(settings.default_function_pod_resources.limits.cpu.as_deref(), Some("2"));
        assert_eq!(settings.storage.auto_mount_type, "none");
        assert_eq!(settings.httpdb.api_url, "");

        let wrong = serde_json::json!({"preemptible_nodes.tolerations": "no base64!"});
        let error = Settings::read(wrong.as_object().unwrap(), Style::Mlrun).unwrap_err();
        assert_eq!(error.location(), Some("config.preemptible_nodes.tolerations"));
    }
}
