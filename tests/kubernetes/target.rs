//! The target "kubernetes" does what every target does: its pods are processes on this machine.

use std::{path::Path, sync::Arc};

use runtimes::{
    cluster::{ClusterOptions, Kubernetes},
    core::{
        Plan, Target,
        cluster::verbatim,
        labels,
        plan::{ClusterPlan, Manifest},
        run::RunKey,
        serde_json::{Value, from_value, json},
        testkit::{
            Fixture, Nature, Program,
            cluster::{FakeCluster, Life},
            target_conformance,
        },
    },
};

use crate::client;

/// A cluster, and what a run on it is: a `Pod` or a `Job`.
struct Fake {
    cluster: FakeCluster,
    folder: tempfile::TempDir,
    wrapper: &'static str,
}

impl Fake {
    fn new(wrapper: &'static str) -> Self {
        let cluster = FakeCluster::new();
        cluster.on_pod(|_| Life::executes());
        Self { cluster, folder: tempfile::tempdir().unwrap(), wrapper }
    }

    fn manifest(&self, name: &str, grace: u64, script: &str) -> Value {
        let spec = json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace,
            "containers": [{
                "name": "base",
                "image": "sh",
                "command": ["sh", "-c", verbatim(script.to_owned())],
                "workingDir": self.folder.path(),
            }],
        });
        match self.wrapper {
            "Pod" => json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}),
            _ => json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                "spec": {"backoffLimit": 0, "template": {"spec": spec}},
            }),
        }
    }

    fn plan_of(&self, manifest: Value) -> ClusterPlan {
        let main = match self.wrapper {
            "Pod" => Manifest::Pod(from_value(manifest).unwrap()),
            _ => Manifest::Job(from_value(manifest).unwrap()),
        };
        ClusterPlan { objects: vec![main], ..ClusterPlan::default() }
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
        let name = format!("run-{key}-{attempt}");
        let plan = self.plan_of(self.manifest(&name, wanted.grace.as_secs(), &wanted.script));
        Plan::Cluster(ClusterPlan { deadline: wanted.deadline, ..plan })
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
        let mut elsewhere = self.manifest("elsewhere", 30, "exit 0");
        elsewhere["metadata"]["namespace"] = "nowhere".into();
        let mut named = self.manifest("named", 30, "exit 0");
        named["metadata"]["labels"] = json!({"owner": "nobody's own"});
        vec![
            (Plan::Cluster(self.plan_of(elsewhere)), "nowhere"),
            (Plan::Cluster(self.plan_of(named)), "labels"),
        ]
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
