//! The secrets that whoever starts a run gives to its pods: one Secret of the run and the attempt, mounted as files. A
//! rendering knows their names; their values are put in when the Secret is made.

use k8s_openapi::{ByteString, api::core::v1 as core};

use super::{Cluster, Style, env::from_secret, env::variable, names::object_name, workload::pod_metadata};
use crate::{
    Error, ErrorKind, Function, Result, Run,
    plan::Manifest,
    secret::{RunSecrets, SecretSource},
};

/// The variable that says where a run's secrets are: a folder with a file for each.
pub const SECRETS_DIR: &str = "RUNTIMES_SECRETS_DIR";

/// Where that is in a container.
const FOLDER: &str = "/runtimes/secrets";
/// The name of the volume.
const VOLUME: &str = "runtimes-secrets";
/// What a Secret may hold: Kubernetes' limit, in bytes.
const MAX_SECRET: usize = 1024 * 1024;
/// Whoever the container runs as may read it; nobody may write it.
const MODE: i32 = 0o444;

/// The name of the Secret with what a run is given, in this attempt.
pub fn run_secret_name(run: &Run, attempt: u32) -> String {
    format!("{}-secrets", object_name(run, attempt, "-secrets".len()))
}

/// The keys that the run is given; `None`, where it is given none.
pub(super) fn keys(cluster: &Cluster) -> Option<&[String]> {
    cluster.run_secrets.as_deref().filter(|_| cluster.style == Style::Native)
}

/// The function with the Secret mounted, and the Secret, without its values.
pub(super) fn mounted(function: Function, run: &Run, cluster: &Cluster) -> (Function, Option<Manifest>) {
    let Some(keys) = keys(cluster) else { return (function, None) };
    let name = run_secret_name(run, cluster.attempt);
    let secret = core::Secret {
        metadata: pod_metadata(&function, run, cluster, name.clone()),
        data: Some(keys.iter().map(|key| (key.clone(), ByteString(Vec::new()))).collect()),
        ..core::Secret::default()
    };
    let files = core::SecretVolumeSource {
        secret_name: Some(name),
        default_mode: Some(MODE),
        ..core::SecretVolumeSource::default()
    };
    let mount = core::VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: FOLDER.to_owned(),
        read_only: Some(true),
        ..core::VolumeMount::default()
    };
    let volume = core::Volume { name: VOLUME.to_owned(), secret: Some(files), ..core::Volume::default() };
    let function = function.with_volume(volume).with_volume_mount(mount);
    (function, Some(Manifest::Secret(Box::new(secret))))
}

/// The variable that says where they are.
pub(super) fn folder(cluster: &Cluster) -> Option<core::EnvVar> {
    keys(cluster).map(|_| variable(SECRETS_DIR, FOLDER))
}

/// The variables by which MLRun's own context finds them: references, by MLRun's names.
pub(super) fn for_mlrun(run: &Run, cluster: &Cluster) -> Vec<core::EnvVar> {
    let prefix = &cluster.settings.secret_stores.kubernetes.env_variable_prefix;
    let secret = run_secret_name(run, cluster.attempt);
    let reference =
        |key: &String| from_secret(format!("{prefix}{}", key.to_uppercase()), secret.clone(), key.clone());
    keys(cluster).unwrap_or_default().iter().map(reference).collect()
}

/// The Secret of a run with its values, read now.
///
/// # Errors
/// `NotFound`, where one of them is gone; `Invalid`, where they are more than a Secret holds; whatever the source says.
pub fn fill_run_secret(
    manifest: &Manifest,
    project: &str,
    secrets: &RunSecrets,
    source: Option<&dyn SecretSource>,
) -> Result<Manifest> {
    let Manifest::Secret(secret) = manifest else { return Ok(manifest.clone()) };
    let mut secret = secret.clone();
    let values = secrets.values(source, project)?;
    let named = secret.data.take().unwrap_or_default();
    if let Some(gone) = named.into_keys().find(|key| !values.contains_key(key)) {
        return Err(Error::not_found(format!("the secret {gone:?} was deleted meanwhile"))
            .help(format!("set it again, then start the run again: runtimes secret set {gone}")));
    }
    let size: usize = values.values().map(|value| value.expose().len()).sum();
    if size > MAX_SECRET {
        let mut largest: Vec<_> = values.iter().collect();
        largest.sort_by_key(|(_, value)| std::cmp::Reverse(value.expose().len()));
        let largest =
            largest.iter().take(3).map(|(key, value)| format!("{key} ({} bytes)", value.expose().len()));
        let largest = largest.collect::<Vec<_>>().join(", ");
        let message = format!(
            "the secrets of this run have {size} bytes, and a Secret of Kubernetes holds {MAX_SECRET}; the largest: {largest}"
        );
        return Err(Error::new(ErrorKind::Invalid, message).at("spec.secret_sources").help(
            "name those that the code needs (a source of the kind `kubernetes` with their keys), \
             or keep large ones in a volume",
        ));
    }
    let bytes = |value: crate::secret::Secret| ByteString(value.expose().as_bytes().to_vec());
    secret.data = Some(values.into_iter().map(|(key, value)| (key, bytes(value))).collect());
    Ok(Manifest::Secret(secret))
}
