//! How the programs of the suite for targets become objects of a cluster.

use std::path::PathBuf;

use runtimes::core::{
    Plan,
    cluster::verbatim,
    plan::{ClusterPlan, Manifest},
    run::RunKey,
    serde_json::{Value, from_value, json},
    testkit::Program,
};

/// What a run is: a `Pod` or a `Job`, of which image, and in which folder.
pub(crate) struct Programs {
    pub(crate) wrapper: &'static str,
    pub(crate) image: &'static str,
    pub(crate) folder: PathBuf,
    /// The folder is the node's, and has to be mounted.
    pub(crate) mounted: bool,
}

impl Programs {
    pub(crate) fn plan(&self, wanted: &Program, key: &RunKey, attempt: u32) -> Plan {
        let manifest = self.manifest(&format!("run-{key}-{attempt}"), wanted.grace.as_secs(), &wanted.script);
        let main = self.main(manifest);
        Plan::Cluster(ClusterPlan {
            objects: vec![main],
            deadline: wanted.deadline,
            ..ClusterPlan::default()
        })
    }

    /// Plans that no cluster takes, and what is wrong with them.
    pub(crate) fn impossible(&self) -> Vec<(Plan, &'static str)> {
        let wrong = |path: &str, value: Value, says| {
            let mut manifest = self.manifest("impossible", 30, "exit 0");
            manifest["metadata"][path] = value;
            let objects = vec![self.main(manifest)];
            (Plan::Cluster(ClusterPlan { objects, ..ClusterPlan::default() }), says)
        };
        vec![
            wrong("namespace", "nowhere".into(), "nowhere"),
            wrong("labels", json!({"owner": "nobody's own"}), "labels"),
            wrong("name", "No Name".into(), "No Name"),
        ]
    }

    fn manifest(&self, name: &str, grace: u64, script: &str) -> Value {
        let container = json!({
            "name": "base",
            "image": self.image,
            "command": ["sh", "-c", verbatim(script.to_owned())],
            "workingDir": self.folder,
        });
        let mut spec = json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace,
            "containers": [container],
        });
        if self.mounted {
            spec["volumes"] = json!([{"name": "folder", "hostPath": {"path": self.folder}}]);
            spec["containers"][0]["volumeMounts"] = json!([{"name": "folder", "mountPath": self.folder}]);
            // The first process of a container of its own takes no signals that it does not expect.
            spec["shareProcessNamespace"] = true.into();
        }
        match self.wrapper {
            "Pod" => json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}),
            _ => json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                "spec": {"backoffLimit": 0, "template": {"spec": spec}},
            }),
        }
    }

    fn main(&self, manifest: Value) -> Manifest {
        match self.wrapper {
            "Pod" => Manifest::Pod(from_value(manifest).unwrap()),
            _ => Manifest::Job(from_value(manifest).unwrap()),
        }
    }
}
