//! Stands for Kubeflow's operators: makes the pods of an MPIJob's workers and, when these run or at once, its launcher: a Job,
//! or, in v1, a pod. Ranks are all where the launcher is: nothing says where else they could be.

use runtimes::{
    cluster::kube::{Client, ResourceExt, api::DynamicObject},
    core::{
        k8s_openapi::api::core::v1::Pod,
        serde_json::{Value, json},
    },
};

use super::{Operator, part};

/// The versions that there are, the newest first.
pub(crate) const VERSIONS: [&str; 2] = ["v2beta1", "v1"];

/// The operator of one of the versions.
pub(crate) fn operator(client: Client, namespace: &str, version: &str) -> Operator {
    let parts = if version == "v1" { of_v1 } else { of_v2beta1 };
    Operator::of(client, namespace, (&format!("kubeflow.org/{version}"), "MPIJob"), parts)
}

/// An object of a template of the job.
fn made(job: &DynamicObject, part: &str, api_version: &str, kind: &str) -> Value {
    let template = &job.data["spec"]["mpiReplicaSpecs"][part]["template"];
    let name = format!("{}-{}", job.name_any(), part.to_lowercase());
    let mut labels = template["metadata"]["labels"].clone();
    labels["training.kubeflow.org/job-name"] = job.name_any().into();
    labels["training.kubeflow.org/job-role"] = part.to_lowercase().into();
    let mut spec = template["spec"].clone();
    spec["restartPolicy"] = "Never".into();
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec})
}

fn workers(job: &DynamicObject) -> Vec<Value> {
    let replicas = job.data["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"].as_u64().unwrap();
    let worker = |number| {
        let mut pod = made(job, "Worker", "v1", "Pod");
        pod["metadata"]["name"] = format!("{}-worker-{number}", job.name_any()).into();
        // In place of a server for SSH.
        pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", "trap exit TERM; sleep 1000000 & wait"]);
        pod
    };
    (0..replicas).map(worker).collect()
}

fn of_v1(job: &DynamicObject, _: &[Pod]) -> Vec<Value> {
    let mut all = workers(job);
    all.push(made(job, "Launcher", "v1", "Pod"));
    all
}

fn of_v2beta1(job: &DynamicObject, pods: &[Pod]) -> Vec<Value> {
    let mut all = workers(job);
    let runs = |pod: &&Pod| pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running");
    let waits = job.data["spec"]["launcherCreationPolicy"] == "WaitForWorkersReady";
    let ready = pods.iter().filter(|pod| part(pod) == "worker").filter(runs).count();
    if !waits || ready == all.len() {
        let mut launcher = made(job, "Launcher", "batch/v1", "Job");
        let template =
            json!({"metadata": {"labels": launcher["metadata"]["labels"]}, "spec": launcher["spec"]});
        let limit = &job.data["spec"]["runPolicy"]["backoffLimit"];
        launcher["spec"] = json!({"backoffLimit": limit, "template": template});
        all.push(launcher);
    }
    all
}
