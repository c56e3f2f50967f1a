//! What is known of an artifact by looking at it.

use std::path::Path;

use runtime_core::{
    Run,
    run::{Artifact, RunMetadata},
    serde_json::{Map, Value, json},
};

use super::{ARTIFACT, content_type, is_url};

/// What is to be known of an artifact that its writer did not say.
pub(crate) fn describe(mut artifact: Artifact, run: &Run) -> Artifact {
    say_whose(&mut artifact, run);
    let path = artifact.target_path().to_owned();
    let local = path.strip_prefix("file://").unwrap_or(&path);
    if is_url(local) || !Path::new(local).is_file() {
        return artifact;
    }
    let name = Path::new(local).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let spec = &mut artifact.spec;
    spec.entry("content_type").or_insert_with(|| json!(content_type(name)));
    if !(spec.contains_key("size") && spec.contains_key("hash"))
        && let Ok((size, hash)) = measure(Path::new(local))
    {
        spec.insert("size".to_owned(), json!(size));
        spec.entry("hash").or_insert_with(|| json!(hash));
    }
    artifact
}

/// Who wrote it, by MLRun's names.
pub(super) fn say_whose(artifact: &mut Artifact, run: &Run) {
    fn set(map: &mut Map<String, Value>, name: &str, value: Value) {
        if map.get(name).is_none_or(|known| known.is_null() || *known == json!("")) {
            map.insert(name.to_owned(), value);
        }
    }
    if artifact.kind.is_empty() {
        artifact.kind = ARTIFACT.to_owned();
    }
    let RunMetadata { uid, name, project, iteration, .. } = &run.metadata;
    let db_key = format!("{name}_{}", artifact.metadata.key);
    let meta = &mut artifact.metadata.extra;
    set(meta, "project", json!(project));
    set(meta, "iter", json!(iteration));
    set(meta, "tree", json!(uid));
    let uri = format!("{project}/{}", run.key());
    set(&mut artifact.spec, "producer", json!({"name": name, "kind": "run", "uri": uri}));
    set(&mut artifact.spec, "db_key", json!(db_key));
}

/// Size and SHA-1 of a file.
fn measure(path: &Path) -> std::io::Result<(u64, String)> {
    use sha1::{Digest, Sha1};
    let (mut file, mut digest) = (std::fs::File::open(path)?, Sha1::new());
    let (mut buffer, mut size) = (vec![0; 1 << 20], 0);
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            count => {
                digest.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    Ok((size, digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
