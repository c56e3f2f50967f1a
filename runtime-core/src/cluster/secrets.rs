//! Secrets of projects, and credentials that a function carries: what a container gets of them, by name.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use sha2::{Digest, Sha224};

use super::{Cluster, env::from_secret, names::label_value};
use crate::{Function, Run, plan::Manifest, run::SecretSources};

/// The driver of Iguazio's data layer, and the type of the secrets that it reads.
const V3IO: &str = "v3io/fuse";
const ACCESS_KEY: &str = "V3IO_ACCESS_KEY";
const USERNAME: &str = "V3IO_USERNAME";

/// The name of a project's secret.
pub fn project_secret_name(project: &str, cluster: &Cluster) -> String {
    cluster.settings.secret_stores.kubernetes.project_secret_name.replace("{project}", project)
}

/// The variables with the secrets that the run gets: those of all functions, then those of its project.
pub(super) fn of_project(run: &Run, cluster: &Cluster) -> Vec<core::EnvVar> {
    let store = &cluster.settings.secret_stores.kubernetes;
    let variable = |key: &str, secret: &str| {
        let name = format!("{}{}", store.env_variable_prefix, key.to_uppercase());
        from_secret(name, secret.to_owned(), key.to_owned())
    };
    let global = store.global_function_env_secret_name.as_deref().filter(|name| !name.is_empty());
    let mut env = Vec::new();
    if let Some(global) = global {
        env.extend(cluster.global_secrets.iter().map(|key| variable(key, global)));
    }
    let asked = run.spec.secret_sources.iter().find_map(|source| match source {
        SecretSources::Kubernetes(keys) => Some(keys),
        _ => None,
    });
    if asked.is_none() && !store.auto_add_project_secrets {
        return env;
    }
    let secret = project_secret_name(&run.metadata.project, cluster);
    let given = super::given::keys(cluster).unwrap_or_default();
    let wanted = |key: &&String| {
        // Keys of the service itself are not for code.
        !key.starts_with("mlrun.")
            && !given.contains(key)
            && Some(key.as_str()) != global
            && asked.is_none_or(|keys| keys.is_empty() || keys.contains(key))
    };
    env.extend(cluster.secrets.iter().filter(wanted).map(|key| variable(key, &secret)));
    env
}

/// The secret with the credentials of a vault of Azure, as files.
pub(super) fn with_vault(mut function: Function, run: &Run, cluster: &Cluster) -> Function {
    let store = &cluster.settings.secret_stores.azure_vault;
    for source in &run.spec.secret_sources {
        let SecretSources::Vault { kind, source } = source else { continue };
        let named = source["k8s_secret"].as_str().or(store.default_secret_name.as_deref());
        let Some(secret) = named.filter(|name| kind == "azure_vault" && !name.is_empty()) else { continue };
        let name = "azure-vault-secret".to_owned();
        let files = core::SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(0o644),
            ..core::SecretVolumeSource::default()
        };
        let mount = core::VolumeMount {
            name: name.clone(),
            mount_path: store.secret_path.replace('~', "/root"),
            ..core::VolumeMount::default()
        };
        function = function
            .with_volume(core::Volume { name, secret: Some(files), ..core::Volume::default() })
            .with_volume_mount(mount);
    }
    function
}

/// Puts access keys that stand in the function into secrets, and names these in their place.
pub(super) fn hide_access_keys(mut function: Function, cluster: &Cluster) -> (Function, Vec<Manifest>) {
    let mut made = BTreeMap::new();
    let value = |function: &Function, name: &str| {
        let found = function.spec.pod.env.iter().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.clone()).filter(|value| !value.is_empty())
    };
    let username = value(&function, USERNAME);
    if let (Some(key), Some(user)) = (value(&function, ACCESS_KEY), &username) {
        let name = secret(&mut made, user, &key, cluster);
        function = function.set_env_var(from_secret(ACCESS_KEY.to_owned(), name, "accessKey".to_owned()));
    }
    let pod = &mut function.spec.pod;
    for volume in &mut pod.volumes {
        let Some(flex) = volume.flex_volume.as_mut().filter(|flex| flex.driver == V3IO) else { continue };
        if flex.secret_ref.is_some() {
            continue;
        }
        let mounts = pod.volume_mounts.iter().filter(|mount| mount.name == volume.name);
        let Some(user) = user_of(mounts, username.as_deref()) else { continue };
        let key = flex.options.as_mut().and_then(|options| options.remove("accessKey"));
        let Some(key) = key.filter(|key| !key.is_empty()) else { continue };
        let name = secret(&mut made, &user, &key, cluster);
        flex.secret_ref = Some(core::LocalObjectReference { name });
    }
    let secrets = made.into_values().map(|secret| Manifest::Secret(Box::new(secret))).collect();
    (function, secrets)
}

/// Whose folder is mounted: by its path, else by the environment; nobody's where there are several.
fn user_of<'a>(
    mounts: impl Iterator<Item = &'a core::VolumeMount>,
    username: Option<&str>,
) -> Option<String> {
    let folders = mounts.filter_map(|mount| mount.sub_path.as_deref()?.strip_prefix("users/"));
    let mut users: Vec<&str> = folders.filter(|user| !user.is_empty()).collect();
    users.dedup();
    match users.as_slice() {
        [] => username.map(str::to_owned),
        [user] => Some((*user).to_owned()),
        _ => None,
    }
}

/// The secret with an access key, named by the key's digest: one for all who have it.
fn secret(made: &mut BTreeMap<String, core::Secret>, user: &str, key: &str, cluster: &Cluster) -> String {
    let digest: String = Sha224::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    let template = &cluster.settings.secret_stores.kubernetes.auth_secret_name;
    let name = template.replace("{hashed_access_key}", &digest);
    made.entry(name.clone()).or_insert_with(|| {
        let mut labels = BTreeMap::new();
        let (user_name, domain) = match user.split_once('@') {
            Some((name, domain)) => (name, Some(domain)),
            None => (user, None),
        };
        labels.insert("mlrun/username".to_owned(), label_value(user_name));
        if let Some(domain) = domain {
            labels.insert("mlrun/username_domain".to_owned(), label_value(domain));
        }
        let data = [("username", user), ("accessKey", key)];
        core::Secret {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(cluster.namespace.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            type_: Some(V3IO.to_owned()),
            string_data: Some(data.map(|(name, text)| (name.to_owned(), text.to_owned())).into()),
            ..core::Secret::default()
        }
    });
    name
}
