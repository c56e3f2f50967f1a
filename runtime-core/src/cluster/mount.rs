//! What a service mounts into every function that does not say otherwise.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Map, Value};

use super::{env, settings::Storage};
use crate::{Error, ErrorKind, Function, Result};

/// Mounts what the settings say, unless the function says that nothing is to be mounted.
pub(super) fn apply(function: Function, storage: &Storage) -> Result<Function> {
    let kind = storage.auto_mount_type.as_str();
    if function.spec.disable_auto_mount || kind == "none" {
        return Ok(function);
    }
    let params = parameters(storage)?;
    let param = |name: &str| params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match kind {
        "auto" | "" if param("pvc_name").is_none() => Ok(function),
        "auto" | "" | "pvc" => {
            let claim = param("pvc_name").ok_or_else(|| {
                Error::invalid("config.storage.auto_mount_params", "the claim to mount is missing")
                    .help("write `pvc_name=CLAIM,volume_mount_path=/PATH`")
            })?;
            Ok(claimed(
                function,
                claim,
                param("volume_name").unwrap_or("pipeline"),
                param("volume_mount_path").unwrap_or("/mnt/pipeline"),
            ))
        }
        "s3" => s3(function, &params),
        "env" => Ok(params.iter().fold(function, |function, (name, value)| {
            function.set_env(name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })),
        other => Err(Error::new(ErrorKind::Unsupported, format!("{other:?} is not mounted"))
            .at("config.storage.auto_mount_type")
            .help("none, auto, pvc, s3 or env; a function can have any volume of its own")),
    }
}

fn claimed(function: Function, claim: &str, volume: &str, path: &str) -> Function {
    let source = core::PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: None };
    let volume = core::Volume {
        name: volume.to_owned(),
        persistent_volume_claim: Some(source),
        ..core::Volume::default()
    };
    let mount = core::VolumeMount {
        name: volume.name.clone(),
        mount_path: path.to_owned(),
        ..core::VolumeMount::default()
    };
    function.with_volume(volume).with_volume_mount(mount)
}

fn s3(mut function: Function, params: &Map<String, Value>) -> Result<Function> {
    let param = |name: &str| params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if param("aws_access_key").is_some() || param("aws_secret_key").is_some() {
        return Err(Error::invalid("config.storage.auto_mount_params", "credentials stand in the settings")
            .help("put them into a secret of the cluster, and name it: `secret_name=NAME`"));
    }
    let prefix = param("prefix").unwrap_or_default();
    let plain = [("endpoint_url", "S3_ENDPOINT_URL"), ("aws_region", "AWS_REGION")];
    for (name, variable) in plain {
        if let Some(value) = param(name) {
            function = function.set_env(format!("{prefix}{variable}"), value);
        }
    }
    if param("non_anonymous").is_some() || params.get("non_anonymous") == Some(&Value::Bool(true)) {
        function = function.set_env(format!("{prefix}S3_NON_ANONYMOUS"), "true");
    }
    if let Some(secret) = param("secret_name") {
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            function = function.set_env_var(env::from_secret(
                format!("{prefix}{key}"),
                secret.to_owned(),
                key.to_owned(),
            ));
        }
    }
    Ok(function)
}

/// `a=b,c=d`, or a JSON object in base64.
fn parameters(storage: &Storage) -> Result<Map<String, Value>> {
    let text = storage.auto_mount_params.trim();
    if let Some(params) =
        STANDARD.decode(text).ok().and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok())
    {
        return Ok(params);
    }
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().into())),
            None => Err(Error::invalid("config.storage.auto_mount_params", format!("{pair:?} has no value"))
                .help("write `name=value`, with commas between them")),
        })
        .collect()
}
