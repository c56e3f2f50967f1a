//! The target "kubernetes" does what every target does, on a node on which pods really run; their programs have the suite's
//! folder mounted.

#[path = "../kubernetes/programs.rs"]
mod programs;

use std::{fmt::Debug, path::Path, sync::Arc};

use runtimes::{
    cluster::{
        ClusterOptions, Kubernetes,
        kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope},
    },
    core::{
        Plan, Target,
        k8s_openapi::api::{batch::v1::Job, core::v1::Pod},
        labels,
        run::RunKey,
        testkit::{Fixture, Nature, Program, target_conformance},
    },
};
use serde::de::DeserializeOwned;

use crate::{
    block_on,
    scene::{IMAGE, Scene, client},
};
use programs::Programs;

/// A namespace, and how programs are run in it.
struct Real {
    client: Client,
    namespace: String,
    programs: Programs,
}

impl Real {
    async fn new(scene: &Scene, wrapper: &'static str) -> Self {
        let folder = scene.home.path().canonicalize().unwrap();
        let programs = Programs { wrapper, image: IMAGE, folder, mounted: true };
        Self { client: client().await, namespace: scene.namespace.clone(), programs }
    }

    /// The objects of a run that nobody has deleted.
    async fn kept<K>(&self, key: &RunKey) -> Vec<String>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let own = ListParams::default().labels(&format!("{}={key}", labels::RUN));
        let found = api.list_metadata(&own).await.unwrap().items;
        let kept = found.into_iter().filter(|object| object.metadata.deletion_timestamp.is_none());
        kept.map(|object| format!("{} {}", K::kind(&()), object.name_any())).collect()
    }
}

impl Fixture for Real {
    fn open(&self) -> Arc<dyn Target> {
        let options = ClusterOptions { namespace: Some(self.namespace.clone()), ..ClusterOptions::default() };
        Arc::new(Kubernetes::with_client(self.client.clone(), options))
    }

    fn nature(&self) -> Nature {
        // The engine of this node is old: newer ones leave lines as they are.
        Nature { exact: false, ..Nature::cluster() }
    }

    fn plan(&self, wanted: &Program, key: &RunKey, attempt: u32) -> Plan {
        self.programs.plan(wanted, key, attempt)
    }

    fn folder(&self) -> &Path {
        &self.programs.folder
    }

    fn remains(&self, key: &RunKey) -> Vec<String> {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let jobs = self.kept::<Job>(key).await;
                jobs.into_iter().chain(self.kept::<Pod>(key).await).collect()
            })
        })
    }

    fn impossible(&self) -> Vec<(Plan, &'static str)> {
        self.programs.impossible()
    }
}

#[test]
fn a_node_is_a_target_for_pods() {
    block_on(async |scene| target_conformance(&Real::new(&scene, "Pod").await).await);
}

#[test]
fn a_node_is_a_target_for_jobs() {
    block_on(async |scene| target_conformance(&Real::new(&scene, "Job").await).await);
}
