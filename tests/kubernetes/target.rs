//! The target "kubernetes" does what every target does: its pods are processes on this machine.

#[path = "programs.rs"]
mod programs;

use std::{path::Path, sync::Arc};

use runtimes::{
    cluster::{ClusterOptions, Kubernetes},
    core::{
        Plan, Target, labels,
        run::RunKey,
        serde_json::Value,
        testkit::{
            Fixture, Nature, Program,
            cluster::{FakeCluster, Life},
            target_conformance,
        },
    },
};

use crate::client;
use programs::Programs;

/// A cluster, and how programs are run on it.
struct Fake {
    cluster: FakeCluster,
    folder: tempfile::TempDir,
    programs: Programs,
}

impl Fake {
    fn new(wrapper: &'static str) -> Self {
        let cluster = FakeCluster::new();
        cluster.on_pod(|_| Life::executes());
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs { wrapper, image: "sh", folder: folder.path().to_owned(), mounted: false };
        Self { cluster, folder, programs }
    }
}

impl Fixture for Fake {
    fn open(&self) -> Arc<dyn Target> {
        let options = ClusterOptions { requests_per_second: 10_000, ..ClusterOptions::default() };
        Arc::new(Kubernetes::with_client(client(&self.cluster), options))
    }

    fn nature(&self) -> Nature {
        Nature::cluster()
    }

    fn plan(&self, wanted: &Program, key: &RunKey, attempt: u32) -> Plan {
        self.programs.plan(wanted, key, attempt)
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn remains(&self, key: &RunKey) -> Vec<String> {
        let own = |object: &Value| object["metadata"]["labels"][labels::RUN] == key.to_string();
        let objects = ["pods", "jobs", "configmaps", "secrets"].map(|plural| self.cluster.objects(plural));
        objects.into_iter().flatten().filter(own).map(|object| object.to_string()).collect()
    }

    fn impossible(&self) -> Vec<(Plan, &'static str)> {
        self.programs.impossible()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_a_target_for_pods() {
    target_conformance(&Fake::new("Pod")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_a_target_for_jobs() {
    target_conformance(&Fake::new("Job")).await;
}
