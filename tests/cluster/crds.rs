//! The definitions of operators' objects, in the server.

use std::path::PathBuf;

use runtimes::{
    cluster::kube::{
        self, Api, Client,
        api::PostParams,
        runtime::wait::{await_condition, conditions},
    },
    core::{
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition, yaml,
    },
};

use super::scene::PATIENCE;

/// Those of Dask's operator.
pub(crate) const DASK: [&str; 4] =
    ["daskcluster.yaml", "daskautoscaler.yaml", "daskworkergroup.yaml", "daskjob.yaml"];

/// That of Spark's operator.
pub(crate) const SPARK: [&str; 1] = ["spark-v2.5.2.yaml"];

/// Those of Kubeflow's operators, in both versions.
pub(crate) const MPI: [&str; 2] = ["mpijob-v2beta1-v0.8.0.yaml", "mpijob-v1-v0.3.0.yaml"];

/// Where captured cases and operators' definitions lie.
pub(crate) fn shared() -> PathBuf {
    match std::env::var_os("RUNTIMES_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")),
    }
}

/// The definitions of these files; `None`, having said so, where there are none. Of a resource that several define, later
/// ones add the versions that it lacks, and it is kept as the last of these: as older ones do, it keeps every field.
fn read(files: &[&str]) -> Option<Vec<CustomResourceDefinition>> {
    let mut found: Vec<CustomResourceDefinition> = Vec::new();
    for file in files {
        let path = shared().join("crds").join(file);
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: there is no definition at {}, or below RUNTIMES_SHARED", path.display());
            return None;
        };
        for document in text.split("\n---\n").filter(|document| document.contains("CustomResourceDefinition"))
        {
            let new: CustomResourceDefinition = yaml::from_str(document, file).unwrap();
            let Some(known) = found.iter_mut().find(|known| known.metadata.name == new.metadata.name) else {
                found.push(new);
                continue;
            };
            for version in new.spec.versions {
                if known.spec.versions.iter().all(|known| known.name != version.name) {
                    known.spec.versions.push(version);
                }
            }
            let last = known.spec.versions.len() - 1;
            for (number, version) in known.spec.versions.iter_mut().enumerate() {
                version.storage = number == last;
            }
        }
    }
    Some(found)
}

/// Installs the definitions of these files where they are absent, and waits until the server serves them. They stay: other
/// tests may need them at the same time. Whether they are there; where there are no files, it says so.
pub(crate) async fn install(client: &Client, files: &[&str]) -> bool {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let Some(read) = read(files) else { return false };
    for definition in read {
        let name = definition.metadata.name.clone().unwrap();
        match definitions.create(&PostParams::default(), &definition).await {
            // It was there, or another test made it just now.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => _ = made.unwrap(),
        }
        let served = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(PATIENCE, served).await.expect("it is served").unwrap();
    }
    true
}
