//! Runs of the kind `dask`: their clusters made of plain Deployments, and by Dask's own operator.
//!
//! Dask and its operator come from PyPI, into a folder that is kept and that the node's pods have as a volume.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use runtimes::{
    Request, RunState,
    cluster::kube::{
        Api, ResourceExt,
        api::{DeleteParams, ListParams, PostParams},
    },
    core::{
        k8s_openapi::api::{
            core::v1::{Namespace, Pod},
            rbac::v1::ClusterRoleBinding,
        },
        run::{Reason, RunKey},
        serde_json::{Value, from_value, json},
    },
};

use super::{
    crds, packages,
    scene::{self, IMAGE, Scene},
    works::LONG,
};

/// What handlers do.
const CODE: &str = include_str!("work.py");

/// A Python environment with Dask and its operator; `None` where it cannot be made, and it says so.
pub(crate) fn environment() -> Option<PathBuf> {
    packages::environment("dask-operator", &["dask", "distributed", "dask-kubernetes"])
}

/// Dask's operator for one namespace, in a pod, as it looks for schedulers by their names there. It goes with the namespace.
const OPERATOR: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator}
---
apiVersion: v1
kind: Pod
metadata: {name: operator}
spec:
  serviceAccountName: operator
  containers:
    - name: operator
      image: IMAGE
      command: [python3, -m, kopf, run, --standalone, -n, NAMESPACE, -m, dask_kubernetes.operator.controller]
      env: [{name: PYTHONPATH, value: /packages}]
      volumeMounts: [{name: packages, mountPath: /packages, readOnly: true}]
  volumes: [{name: packages, hostPath: {path: PACKAGES}}]
";

/// Starts it, unless the cluster has one that looks after all namespaces.
async fn start_operator(environment: &Path, scene: &Scene) {
    let pods: Api<Pod> = Api::all(scene::client().await);
    let there = pods.list(&ListParams::default()).await.unwrap();
    if let Some(pod) = there.iter().find(|pod| is_operator(pod)) {
        println!("Dask's operator is there: {} in {}", pod.name_any(), pod.namespace().unwrap());
        return;
    }
    // It reads what is of no namespace, too. That also goes with the namespace.
    let client = scene::client().await;
    let namespace = Api::<Namespace>::all(client.clone()).get(&scene.namespace).await.unwrap();
    let rights = json!({
        "metadata": {"name": format!("{}-operator", scene.namespace), "ownerReferences": [
            {"apiVersion": "v1", "kind": "Namespace", "name": scene.namespace, "uid": namespace.uid()}]},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": scene.namespace}],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    bindings.create(&PostParams::default(), &from_value(rights).unwrap()).await.unwrap();
    let manifest = OPERATOR.replace("NAMESPACE", &scene.namespace).replace("IMAGE", IMAGE);
    scene.apply(&manifest.replace("PACKAGES", packages::packages(environment).to_str().unwrap())).await;
}

/// One that another test has is not for all.
fn is_operator(pod: &Pod) -> bool {
    let runs = format!("{:?}", pod.spec).contains("dask_kubernetes.operator");
    let installed = pod.labels().get("app.kubernetes.io/name");
    let ours = pod.namespace().is_some_and(|namespace| namespace.starts_with("runtimes-test-"));
    !ours && (runs || installed.is_some_and(|name| name == "dask-kubernetes-operator"))
}

/// A run with a cluster that `engine` makes, with these fields of its own.
pub(crate) fn request(environment: &Path, engine: &str, handler: &str, mut fields: Value) -> Request {
    fields["engine"] = engine.into();
    packages::request("dask", environment, (CODE, handler), fields)
}

async fn ended(scene: &Scene, request: Request) -> runtimes::Run {
    let run = scene.orchestrator.run(request);
    tokio::time::timeout(LONG, run).await.expect("the run ends").unwrap()
}

/// Deletes a pod of this part of a run.
async fn delete(scene: &Scene, key: &RunKey, part: &str) {
    let pods: Api<Pod> = Api::namespaced(scene::client().await, &scene.namespace);
    let of_part = ListParams::default().labels(&format!("runtimes/run={key},runtimes/part={part}"));
    let found = pods.list(&of_part).await.unwrap();
    let pod = found.items.first().unwrap_or_else(|| panic!("there is a pod of {part}"));
    pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(1)).await.unwrap();
}

/// What holds whoever makes the clusters.
pub(crate) async fn runs(scene: &Scene, environment: &Path, engine: &str) {
    let two = |handler: &str| request(environment, engine, handler, json!({"replicas": 2}));
    let run = ended(scene, two("total")).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!((&run.status.results["workers"], &run.status.results["total"]), (&json!(2), &json!(285)));
    scene.is_clean().await;

    // A worker that goes is replaced; the run goes on.
    let handle = scene.orchestrator.submit(two("replaced")).await.unwrap();
    scene.wait_for_line(&handle.key(), "ready").await;
    delete(scene, &handle.key(), "worker").await;
    let run = tokio::time::timeout(LONG, handle.wait()).await.expect("the run ends").unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(run.status.results["total"], json!(285));
    scene.is_clean().await;

    // A scheduler that goes knows nothing of it any more, and it ends.
    let handle = scene.orchestrator.submit(two("wait")).await.unwrap();
    scene.wait_for_line(&handle.key(), "ready").await;
    delete(scene, &handle.key(), "scheduler").await;
    let run = tokio::time::timeout(LONG, handle.wait()).await.expect("the run ends").unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::ServiceEnded), "{cause:?}");
    assert!(cause.message.starts_with("scheduler, which it needs, ended first: "), "{}", cause.message);
    scene.is_clean().await;

    let handle = scene.orchestrator.submit(two("wait")).await.unwrap();
    scene.wait_for_line(&handle.key(), "ready").await;
    let key = handle.key();
    let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_secs(1)));
    assert_eq!(abort.await.unwrap().state(), RunState::Aborted);
    scene.is_clean().await;
}

/// Without an operator.
pub(crate) async fn plain(scene: Scene) {
    runs(&scene, &environment().unwrap(), "plain").await;
}

/// With the real one.
pub(crate) async fn with_operator(scene: Scene) {
    if !crds::install(&scene::client().await, &crds::DASK).await {
        return;
    }
    let environment = environment().unwrap();
    start_operator(&environment, &scene).await;
    runs(&scene, &environment, "operator").await;

    let fields = json!({"min_replicas": 1, "max_replicas": 3});
    let run = ended(&scene, request(&environment, "operator", "burst", fields)).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    let result = |name: &str| run.status.results[name].clone();
    assert_eq!(["first", "most", "last"].map(result), [json!(1), json!(3), json!(1)]);
    assert_eq!(result("total"), json!(59 * 60 / 2), "no task is lost");
    scene.is_clean().await;
}
