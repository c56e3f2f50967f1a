//! Code in a folder of this machine, which pods cannot read: it goes with the run, as an archive in a config map.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use runtime_core::{
    Error, Function, Result, Run,
    cluster::{Cluster, object_name},
    k8s_openapi::{
        ByteString,
        api::core::v1::{ConfigMap, ConfigMapVolumeSource, Volume, VolumeMount},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    labels,
    plan::Manifest,
};

use crate::source::pack;

/// How much a config map may hold, less room for the rest of the object.
const LARGEST: usize = (1 << 20) - 16 * 1024;

/// What is behind the name of the run's other objects.
const SUFFIX: &str = "-source";
/// Where it is mounted.
const FOLDER: &str = "/runtimes/source";
/// The name of its volume.
const VOLUME: &str = "runtimes-source";

/// The function as its pod gets it, and the config map with its source; `None` where pods find it by themselves.
pub(super) fn source(
    function: &Function,
    run: &Run,
    attempt: u32,
    cluster: &Cluster,
) -> Result<Option<(Function, Manifest)>> {
    let base_dir = run.metadata.annotations.get(labels::BASE_DIR).map(PathBuf::from).unwrap_or_default();
    let Some(path) = here(function, &base_dir)? else { return Ok(None) };
    let archive = pack::pack(&path, LARGEST)?;
    let file = match path.extension().is_some_and(|extension| extension == "zip") {
        true => "source.zip",
        false => "source.tar.gz",
    };
    let name = format!("{}{SUFFIX}", object_name(run, attempt, SUFFIX.len()));
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(cluster.namespace_of(function).to_owned()),
            ..ObjectMeta::default()
        },
        binary_data: Some([(file.to_owned(), ByteString(archive))].into()),
        ..ConfigMap::default()
    };
    let mut function = function.clone();
    function.spec.build.source = format!("{FOLDER}/{file}");
    function.spec.build.load_source_on_run = true;
    let volume = Volume {
        name: VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: FOLDER.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let function = function.with_volume(volume).with_volume_mount(mount);
    Ok(Some((function, Manifest::ConfigMap(Arc::new(map)))))
}

/// The folder or archive of this machine that a source names. An absolute path is one of the image, unless it is said to
/// be fetched and is here.
fn here(function: &Function, base_dir: &Path) -> Result<Option<PathBuf>> {
    let build = &function.spec.build;
    let source = build.source.strip_prefix("file://").unwrap_or(&build.source);
    let relative = !source.contains("://") && !source.starts_with('/');
    let path = base_dir.join(source);
    if source.is_empty() || !(relative || build.load_source_on_run) {
        return Ok(None);
    }
    match path.exists() {
        true => Ok(Some(path)),
        // As git writes it: USER@HOST:PATH.
        false if relative && !source.contains('@') => {
            Err(Error::not_found(format!("there is no {}", path.display()))
                .at("spec.build.source")
                .help("relative paths are read against the function's folder"))
        }
        false => Ok(None),
    }
}
