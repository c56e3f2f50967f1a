//! The target "kubernetes" on a cluster that does what a script says: how each end and each trouble is named, what
//! happens to a request that fails, and that there is one set of objects and one end for each run.
#![cfg(all(feature = "kubernetes", feature = "sqlite", feature = "job"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "dask")]
#[path = "kubernetes/dask.rs"]
mod dask;
#[cfg(any(feature = "dask", feature = "mpijob", feature = "spark"))]
#[path = "kubernetes/kills.rs"]
mod kills;
#[cfg(feature = "mpijob")]
#[path = "kubernetes/mpi.rs"]
mod mpi;
#[cfg(any(feature = "dask", feature = "mpijob", feature = "spark"))]
#[path = "operator/mod.rs"]
mod operator;
#[path = "kubernetes/secrets.rs"]
mod secrets;
#[cfg(feature = "spark")]
#[path = "kubernetes/spark.rs"]
mod spark;
#[path = "kubernetes/target.rs"]
mod target;

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use runtimes::{
    ErrorKind, Function, Orchestrator, Request, Run, RunState, Update,
    cluster::{
        ClusterOptions, Kubernetes,
        kube::{self, api::DeleteParams},
    },
    core::{
        k8s_openapi::api::core::v1::Pod,
        run::{Reason, RunKey},
        serde_json::{from_value, json},
        testkit::cluster::{FakeCluster, Fault, Forbid, Life},
    },
};

/// What runs are made of, and what others make for them.
const REMAINS: [&str; 10] = [
    "daskautoscalers",
    "daskclusters",
    "deployments",
    "jobs",
    "mpijobs",
    "pods",
    "replicasets",
    "secrets",
    "services",
    "sparkapplications",
];

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    cluster: FakeCluster,
    orchestrator: Orchestrator,
    home: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (cluster, home) = (FakeCluster::new(), tempfile::tempdir().unwrap());
        let orchestrator = open(&cluster, &home).await;
        Self { cluster, orchestrator, home }
    }

    async fn living(life: Life) -> Self {
        let scene = Self::new().await;
        scene.cluster.on_pod(move |_| life.clone());
        scene
    }

    async fn run(&self, request: Request) -> Run {
        within(self.orchestrator.run(request)).await.unwrap()
    }

    async fn log(&self, key: &RunKey) -> Vec<String> {
        let lines: Vec<_> = self.orchestrator.logs(key, false).await.unwrap().try_collect().await.unwrap();
        lines.iter().filter(|line| line.source == "main").map(|line| line.text().into_owned()).collect()
    }

    /// Waits until these parts of a run have printed something.
    #[cfg(any(feature = "dask", feature = "mpijob", feature = "spark"))]
    async fn begins(&self, key: &RunKey, parts: &[&str]) {
        let mut lines = self.orchestrator.logs(key, true).await.unwrap();
        let mut missing = parts.to_vec();
        while !missing.is_empty() {
            let line = within(lines.try_next()).await.unwrap().unwrap();
            missing.retain(|part| line.source != *part);
        }
    }

    /// Why a run waits, as soon as that is said.
    #[cfg(any(feature = "dask", feature = "mpijob", feature = "spark"))]
    async fn trouble(&self, handle: &mut runtimes::Handle) -> runtimes::core::run::Cause {
        within(async {
            loop {
                if let Some(Update::Run(run)) = handle.next().await
                    && let Some(cause) = run.status.cause
                {
                    return cause;
                }
            }
        })
        .await
    }

    /// Nothing of any run is left, as soon as what was deleted has had its grace.
    async fn is_clean(&self) {
        within(self.orchestrator.idle()).await;
        let gone = |cluster: &FakeCluster| REMAINS.iter().all(|plural| cluster.objects(plural).is_empty());
        within(self.cluster.until(gone)).await;
    }
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens")
}

fn client(cluster: &FakeCluster) -> kube::Client {
    kube::Client::new(cluster.clone(), "default")
}

/// The pods that are a part of their run, and stay.
#[cfg(any(feature = "dask", feature = "mpijob", feature = "spark"))]
fn pods(cluster: &FakeCluster, wanted: &str) -> Vec<Pod> {
    let mut pods: Vec<Pod> =
        cluster.objects("pods").into_iter().map(|pod| from_value(pod).unwrap()).collect();
    pods.retain(|pod| operator::part(pod) == wanted && pod.metadata.deletion_timestamp.is_none());
    pods
}

async fn open(cluster: &FakeCluster, home: &tempfile::TempDir) -> Orchestrator {
    let options = ClusterOptions { requests_per_second: 10_000, ..ClusterOptions::default() };
    let target = Kubernetes::with_client(client(cluster), options);
    Orchestrator::builder(home.path()).target(Arc::new(target)).open().await.unwrap()
}

fn fit() -> Request {
    let function = Function::new("job", "main").with_code("def fit(): pass\n").with_image("python:3");
    Request::new(function).handler("fit").on("kubernetes")
}

/// As a bare Pod.
fn bare() -> Request {
    let mut request = fit();
    request.function.spec.extra.insert("wrapper".to_owned(), "pod".into());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_with_the_end_and_nothing_stays() {
    for request in [fit(), bare()] {
        let report = r#"{"state": "completed", "results": {"accuracy": 0.5}}"#;
        let scene = Scene::living(Life::started().prints("one").prints("two").exits_saying(0, report)).await;
        let run = scene.run(request).await;
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        assert_eq!(run.status.results["accuracy"], json!(0.5));
        assert_eq!(scene.log(&run.key()).await, ["one", "two"]);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_has_its_name() {
    for (life, reason, words, exit_code) in [
        (Life::started().exits(3), Reason::ExitCode, "exit code 3", Some(3)),
        (Life::started().killed(11), Reason::Signal, "SIGSEGV", Some(139)),
        (Life::started().oom_killed(), Reason::OutOfMemory, "memory", Some(137)),
        (Life::new().scheduled().start_error("no such file: fit"), Reason::StartFailed, "no such file", None),
        (Life::started().evicted("low on memory"), Reason::Evicted, "low on memory", None),
        (Life::started().preempted("default/urgent"), Reason::Preempted, "make room", None),
    ] {
        for request in [fit(), bare()] {
            let scene = Scene::living(life.clone()).await;
            let run = scene.run(request).await;
            let cause = run.status.cause.clone().unwrap();
            assert_eq!((run.state(), cause.reason), (RunState::Error, reason), "{cause:?}");
            assert!(cause.message.contains(words), "{}", cause.message);
            assert_eq!(run.status.exit_code, exit_code, "{cause:?}");
            scene.is_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_has_its_name_until_it_is_over() {
    let waits = |life: Life| life.wait("mended");
    for (life, reason, words) in [
        (
            Life::new().unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
            Reason::Unschedulable,
            "nvidia.com/gpu",
        ),
        (Life::new().scheduled().pull_fails("not found"), Reason::ImagePull, "python:3"),
        (Life::new().scheduled().pull_fails("x").pull_backs_off(), Reason::ImagePull, "python:3"),
        (Life::new().scheduled().invalid_image_name(), Reason::InvalidImageName, "python:3"),
        (Life::new().scheduled().config_error("secret \"db\" not found"), Reason::ContainerConfig, "\"db\""),
        (Life::new().scheduled().mount_fails("data", "configmap \"c\" not found"), Reason::Mount, "\"c\""),
    ] {
        let scene = Scene::living(waits(life).scheduled().pulled().running().exits(0)).await;
        let mut handle = scene.orchestrator.submit(fit()).await.unwrap();
        let cause = within(async {
            loop {
                if let Some(Update::Run(run)) = handle.next().await
                    && let Some(cause) = run.status.cause
                {
                    return cause;
                }
            }
        })
        .await;
        assert_eq!(cause.reason, reason, "{cause:?}");
        assert!(cause.message.contains(words) && cause.help.is_some(), "{cause:?}");
        scene.cluster.go("mended");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!((run.state(), run.status.cause), (RunState::Completed, None));
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_whatever_it_does() {
    for life in [
        Life::started().prints("begun").wait("never"),
        Life::started().prints("begun").ignores_term().wait("never"),
        Life::new().unschedulable("0/1 nodes are available: 1 Insufficient cpu.").wait("never"),
    ] {
        let scene = Scene::living(life).await;
        let handle = scene.orchestrator.submit(fit()).await.unwrap();
        let key = handle.key();
        within(scene.cluster.until(|cluster| cluster.count("create", "jobs") > 0)).await;
        let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_millis(10)));
        let run = within(abort).await.unwrap();
        assert_eq!(run.state(), RunState::Aborted);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_done_again_and_once() {
    for fault in [
        // When it is tried out.
        Fault::too_many_requests(0).on("patch", "jobs").times(3),
        Fault::internal().on("patch", "configmaps").times(2),
        // When it is made.
        Fault::too_many_requests(0).on("create", "jobs").times(3),
        Fault::internal().on("create", "configmaps").times(2),
        Fault::unavailable().on("create", "jobs"),
        Fault::unreachable().on("create", "jobs").times(2),
        // The Job was made, and nobody heard of it.
        Fault::answer_lost().on("create", "jobs"),
        Fault::answer_lost().on("delete", "jobs"),
        Fault::gone().on("watch", "pods"),
        Fault::internal().on("list", "pods").times(2),
    ] {
        let what = format!("{fault:?}");
        let scene = Scene::living(Life::completes()).await;
        scene.cluster.fault(fault);
        let run = scene.run(fit()).await;
        assert_eq!(run.state(), RunState::Completed, "{what}: {:?}", run.status.cause);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_share_their_watches() {
    let scene = Scene::living(Life::completes()).await;
    let runs = (0..20).map(|_| scene.run(fit()));
    for run in futures_util::future::join_all(runs).await {
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    }
    for resource in ["pods", "jobs", "events"] {
        assert_eq!(scene.cluster.count("watch", resource), 1, "{resource}");
    }
    // The agent is the namespace's, and tried out once before it is made.
    assert_eq!(
        (scene.cluster.count("patch", "configmaps"), scene.cluster.count("create", "configmaps")),
        (1, 1)
    );
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_break_off_lose_nothing() {
    let scene = Scene::living(Life::started().prints("one").wait("go").prints("two").exits(0)).await;
    let handle = scene.orchestrator.submit(fit()).await.unwrap();
    let key = handle.key();
    let mut lines = scene.orchestrator.logs(&key, true).await.unwrap();
    assert_eq!(within(lines.try_next()).await.unwrap().unwrap().text(), "one");
    scene.cluster.drop_watches();
    scene.cluster.go("go");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(scene.log(&key).await, ["one", "two"]);
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_is_said_before_anything_is_recorded() {
    let scene = Scene::living(Life::completes()).await;
    scene.cluster.forbid(Forbid::verb("patch").on("jobs"));
    let error = scene.orchestrator.submit(fit()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.help_text().unwrap().contains("`patch` on `jobs`"), "{error}");
    scene.cluster.heal();
    assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_orchestrator_goes_on_where_one_was_lost() {
    let report = r#"{"state": "completed", "results": {"x": 1}}"#;
    let Scene { cluster, orchestrator, home } =
        Scene::living(Life::started().prints("one").wait("go").prints("two").exits_saying(0, report)).await;
    let request = Request { detached: true, ..fit() };
    let key = orchestrator.submit(request).await.unwrap().key();
    let mut lines = orchestrator.logs(&key, true).await.unwrap();
    assert_eq!(within(lines.try_next()).await.unwrap().unwrap().text(), "one");
    drop(lines);
    drop(orchestrator);
    cluster.go("go");
    let orchestrator = open(&cluster, &home).await;
    let scene = Scene { cluster, orchestrator, home };
    let run = within(scene.orchestrator.watch(&key).await.unwrap().wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(run.status.results["x"], json!(1));
    assert_eq!(scene.log(&key).await, ["one", "two"], "each line once");
    scene.is_clean().await;
    assert!(scene.home.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_is_followed_by_another_with_objects_of_its_own() {
    let scene = Scene::new().await;
    scene.cluster.on_pod(|pod| {
        let first = pod.metadata.labels.as_ref().is_some_and(|labels| labels["runtimes/attempt"] == "0");
        if first { Life::started().exits(3) } else { Life::started().exits(0) }
    });
    let mut request = fit();
    let retry = json!({"count": 2, "backoff": {"base_delay": "0s"}});
    request.spec.retry = Some(from_value(retry).unwrap());
    let run = scene.run(request).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(run.status.attempts.len(), 2);
    assert_eq!(run.status.attempts[0].exit_code, Some(3));
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_a_cluster_that_does_not_answer_is_left_to_go_on() {
    let Scene { cluster, orchestrator, home } =
        Scene::living(Life::started().prints("one").wait("go").exits(0)).await;
    let key = orchestrator.submit(Request { detached: true, ..fit() }).await.unwrap().key();
    let mut lines = orchestrator.logs(&key, true).await.unwrap();
    within(lines.try_next()).await.unwrap().unwrap();
    drop(lines);
    drop(orchestrator);
    cluster.fault(Fault::unauthorized().times(usize::MAX));
    let orchestrator = open(&cluster, &home).await;
    let record = orchestrator.find(&key.uid).await.unwrap();
    assert_eq!(record.run.state(), RunState::Running, "{:?}", record.run.status.cause);
    let error = within(orchestrator.abort(&key)).await.err().unwrap();
    assert!(error.help_text().unwrap().contains("log in again"), "{error}");

    cluster.heal();
    orchestrator.recover().await.unwrap();
    let run = within(orchestrator.watch(&key).await.unwrap().wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Aborted, "as was asked");
    Scene { cluster, orchestrator, home }.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_named_whoever_meets_it() {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": "default"}, "spec": {"hard": {"pods": "0"}},
    });
    let scene = Scene::living(Life::completes()).await;
    scene.cluster.put(&quota);
    let error = scene.orchestrator.submit(bare()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");

    // Of a Job, it is the cluster that may not make the pod.
    let mut handle = scene.orchestrator.submit(fit()).await.unwrap();
    let cause = within(async {
        loop {
            if let Some(Update::Run(run)) = handle.next().await
                && let Some(cause) = run.status.cause
            {
                return cause;
            }
        }
    });
    let cause = cause.await;
    assert_eq!(cause.reason, Reason::Quota, "{cause:?}");
    assert!(cause.message.contains("none"), "{cause:?}");
    within(scene.orchestrator.abort(&handle.key())).await.unwrap();
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_objects_somebody_took_away_is_lost() {
    let Scene { cluster, orchestrator, home } =
        Scene::living(Life::started().prints("one").wait("never")).await;
    let key = orchestrator.submit(Request { detached: true, ..fit() }).await.unwrap().key();
    let mut lines = orchestrator.logs(&key, true).await.unwrap();
    within(lines.try_next()).await.unwrap().unwrap();
    drop(lines);
    drop(orchestrator);
    for plural in ["jobs", "pods"] {
        for object in cluster.objects(plural) {
            cluster.remove(plural, "default", object["metadata"]["name"].as_str().unwrap());
        }
    }
    let orchestrator = open(&cluster, &home).await;
    let run = within(orchestrator.watch(&key).await.unwrap().wait()).await.unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::Lost), "{cause:?}");
    assert_eq!(cluster.count("create", "jobs"), 1, "made, and not made again");
}

/// A node that does not answer keeps its pods for ever: the cluster deletes them, and nobody there does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_a_node_that_is_lost_ends_and_is_tried_again() {
    let scene = Scene::new().await;
    scene.cluster.on_pod(|pod| {
        let labels = pod.metadata.labels.as_ref().unwrap();
        match labels["runtimes/attempt"].as_str() {
            "0" => Life::new().scheduled_on("far").pulled().running().ready().prints("one").wait("never"),
            _ => Life::started().prints("two").exits(0),
        }
    });
    let mut request = fit();
    let retry = json!({"count": 1, "backoff": {"base_delay": "0s"}});
    request.spec.retry = Some(from_value(retry).unwrap());
    let mut handle = scene.orchestrator.submit(request).await.unwrap();
    let key = handle.key();
    let mut lines = scene.orchestrator.logs(&key, true).await.unwrap();
    within(lines.try_next()).await.unwrap().unwrap();
    scene.cluster.lose_node("far");
    let cause = within(async {
        loop {
            if let Some(Update::Run(run)) = handle.next().await
                && let Some(cause) = run.status.cause
            {
                assert_eq!(run.status.state, RunState::Running);
                return cause;
            }
        }
    });
    assert_eq!(cause.await.reason, Reason::NodeLost);

    let name = scene.cluster.objects("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let pods: kube::Api<Pod> = kube::Api::default_namespaced(client(&scene.cluster));
    pods.delete(&name, &DeleteParams::default().grace_period(1)).await.unwrap();
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    let cause = run.status.attempts[0].cause.clone().unwrap();
    assert_eq!(cause.reason, Reason::NodeLost, "{cause:?}");
    assert!(cause.message.contains("far does not say that it ended"), "{cause:?}");
    assert_eq!(scene.log(&key).await, ["one", "two"], "by nobody else");
    scene.cluster.find_node("far");
    scene.is_clean().await;
}
