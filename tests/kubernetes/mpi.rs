//! Runs of the kind `mpijob` on a cluster that does what a script says.

use std::time::Duration;

use runtimes::{
    ErrorKind, Function, Request, RunState,
    cluster::kube::{Api, ResourceExt},
    core::{
        k8s_openapi::api::core::v1::Pod,
        run::Reason,
        serde_json::json,
        testkit::cluster::{FakeCluster, Fault, Life, Resource},
    },
};

use crate::{
    Scene, client, kills, open,
    operator::{
        Operator,
        mpi::{self, VERSIONS},
        part,
    },
    pods, within,
};

fn operator(cluster: &FakeCluster, version: &str) -> Operator {
    cluster.register(Resource::new("kubeflow.org", version, "MPIJob"));
    mpi::operator(client(cluster), "default", version)
}

async fn scene(version: &str, lives: impl Fn(&str) -> Life + Send + Sync + 'static) -> (Scene, Operator) {
    let scene = Scene::new().await;
    scene.cluster.on_pod(move |pod| lives(&part(pod)));
    let operator = operator(&scene.cluster, version);
    (scene, operator)
}

/// A run with two workers. Which MPIJob it is is found out.
fn total() -> Request {
    let code = "def total(): return 3\n";
    let function = Function::new("mpijob", "main").with_code(code).with_image("mpi:1").with_replicas(2);
    Request::new(function).handler("total").on("kubernetes")
}

/// The workers wait for what the launcher sends, and that does until it is told to end.
fn goes_on(part: &str) -> Life {
    match part {
        "main" => Life::started()
            .prints("[rank 0] begun")
            .wait("end")
            .exits_saying(0, r#"{"state": "completed", "results": {"return": 3}}"#),
        _ => Life::started().wait("never"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_launcher_is_the_run() {
    for version in VERSIONS {
        let (scene, _operator) = scene(version, goes_on).await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        let there =
            |cluster: &FakeCluster| ["main", "worker"].map(|part| pods(cluster, part).len()) == [1, 2];
        within(scene.cluster.until(there)).await;
        scene.cluster.go("end");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{version}: {:?}", run.status.cause);
        assert_eq!(run.status.results["return"], json!(3));
        assert_eq!(scene.log(&run.key()).await, ["[rank 0] begun"]);
        scene.is_clean().await;
        assert_eq!(scene.cluster.count("create", "mpijobs") + scene.cluster.count("apply", "mpijobs"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_the_launcher_ends_is_how_the_run_does() {
    let error = |class: &str, message: &str| {
        json!({"state": "error", "error": {"type": class, "message": message, "traceback": ""}}).to_string()
    };
    let hurt = || Life::started().prints("begun").wait("hurt");
    for version in VERSIONS {
        for (life, reason, words) in [
            (hurt().exits(3), Reason::ExitCode, "exit code 3"),
            (hurt().killed(9), Reason::Signal, "SIGKILL"),
            (hurt().oom_killed(), Reason::OutOfMemory, "memory"),
            (
                hurt().exits_saying(1, &error("ValueError", "boom (rank 1 of 2)")),
                Reason::Exception,
                "boom (rank 1",
            ),
            (
                hurt().exits_saying(
                    139,
                    &error("mpirun.Signal", "rank 1 of 2 was ended by signal 11 (SIGSEGV)"),
                ),
                Reason::Signal,
                "rank 1 of 2 was ended by signal 11",
            ),
            (
                hurt().exits_saying(
                    1,
                    &error("mpirun.Refused", "mpirun ended with code 1 and started no rank: -y"),
                ),
                Reason::StartFailed,
                "started no rank",
            ),
        ] {
            let launcher = life.clone();
            let (scene, _operator) = scene(version, move |part| match part {
                "main" => launcher.clone(),
                part => goes_on(part),
            })
            .await;
            let handle = scene.orchestrator.submit(total()).await.unwrap();
            scene.begins(&handle.key(), &["main"]).await;
            scene.cluster.go("hurt");
            let run = within(handle.wait()).await.unwrap();
            let cause = run.status.cause.clone().unwrap();
            assert_eq!((run.state(), cause.reason), (RunState::Error, reason), "{version}: {cause:?}");
            assert!(cause.message.contains(words), "{version}: {cause:?}");
            scene.is_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_worker_from_running_names_it() {
    for version in VERSIONS {
        for (life, reason, words) in [
            (
                Life::new().scheduled().pull_fails("no such image").wait("mended").pulled().running(),
                Reason::ImagePull,
                "mpi:1",
            ),
            (
                Life::new()
                    .unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
                    .wait("mended")
                    .scheduled()
                    .pulled()
                    .running(),
                Reason::Unschedulable,
                "nvidia.com/gpu",
            ),
        ] {
            let worker = life.clone();
            let (scene, _operator) = scene(version, move |part| match part {
                "worker" => worker.clone().wait("never"),
                // Where it is there at once, it waits for the workers.
                _ => Life::started().wait("mended").exits(0),
            })
            .await;
            let mut handle = scene.orchestrator.submit(total()).await.unwrap();
            let cause = scene.trouble(&mut handle).await;
            assert_eq!(cause.reason, reason, "{version}: {cause:?}");
            assert!(cause.message.starts_with("worker-") && cause.message.contains(words), "{cause:?}");
            scene.cluster.go("mended");
            let run = within(handle.wait()).await.unwrap();
            assert_eq!((run.state(), run.status.cause.clone()), (RunState::Completed, None), "{version}");
            scene.is_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_says_is_wrong_is_the_cause() {
    let scene = Scene::new().await;
    // One that only reads it.
    scene.cluster.register(Resource::new("kubeflow.org", "v2beta1", "MPIJob"));
    let handle = scene.orchestrator.submit(total()).await.unwrap();
    within(scene.cluster.until(|cluster| !cluster.objects("mpijobs").is_empty())).await;
    let mut job = scene.cluster.objects("mpijobs").remove(0);
    job["status"]["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "ValidationError",
        "message": "spec.mpiReplicaSpecs is wrong"}]);
    scene.cluster.put(&job).unwrap();
    let run = within(handle.wait()).await.unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert_eq!(run.state(), RunState::Error);
    assert!(cause.message.contains("MPIJob") && cause.message.contains("is wrong"), "{cause:?}");
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_goes_is_not_the_end_of_the_run() {
    for version in VERSIONS {
        let (scene, _operator) = scene(version, goes_on).await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        scene.begins(&handle.key(), &["main"]).await;
        within(scene.cluster.until(|cluster| pods(cluster, "worker").len() == 2)).await;
        let gone = pods(&scene.cluster, "worker").remove(0);
        let api: Api<Pod> = Api::default_namespaced(client(&scene.cluster));
        api.delete(&gone.name_any(), &Default::default()).await.unwrap();
        let uids = move |cluster: &FakeCluster| {
            let pods = pods(cluster, "worker");
            pods.len() == 2 && pods.iter().all(|pod| pod.uid() != gone.uid())
        };
        within(scene.cluster.until(uids)).await;
        scene.cluster.go("end");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{version}: {:?}", run.status.cause);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_leaves_nothing() {
    for version in VERSIONS {
        for waits in [false, true] {
            let (scene, _operator) = scene(version, move |part| match waits {
                true => Life::new().unschedulable("0/1 nodes are available"),
                false => goes_on(part),
            })
            .await;
            let handle = scene.orchestrator.submit(total()).await.unwrap();
            within(scene.cluster.until(|cluster| pods(cluster, "worker").len() == 2)).await;
            let key = handle.key();
            let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_millis(10)));
            assert_eq!(within(abort).await.unwrap().state(), RunState::Aborted, "{version} {waits}");
            scene.is_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_for_a_moment_is_made_once() {
    for fault in [
        Fault::too_many_requests(0).on("patch", "mpijobs").times(3),
        Fault::answer_lost().on("patch", "mpijobs"),
        Fault::internal().on("delete", "mpijobs").times(2),
    ] {
        let what = format!("{fault:?}");
        let (scene, _operator) = scene("v2beta1", goes_on).await;
        scene.cluster.go("end");
        scene.cluster.fault(fault);
        let run = scene.run(total()).await;
        assert_eq!(run.state(), RunState::Completed, "{what}: {:?}", run.status.cause);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_orchestrator_goes_on_where_one_was_lost() {
    let (Scene { cluster, orchestrator, home }, _operator) = scene("v2beta1", goes_on).await;
    let key = orchestrator.submit(Request { detached: true, ..total() }).await.unwrap().key();
    within(cluster.until(|cluster| pods(cluster, "main").len() == 1)).await;
    drop(orchestrator);
    let orchestrator = open(&cluster, &home).await;
    let scene = Scene { cluster, orchestrator, home };
    let handle = scene.orchestrator.watch(&key).await.unwrap();
    scene.cluster.go("end");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(scene.log(&key).await, ["[rank 0] begun"], "each line once");
    scene.is_clean().await;
    assert!(scene.home.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_operator_it_says_how_to_have_it() {
    let scene = Scene::new().await;
    let error = scene.orchestrator.submit(total()).await.err().unwrap();
    assert_eq!((error.kind(), error.location()), (ErrorKind::Unsupported, Some("kind")), "{error}");
    assert!(error.message().contains("kubeflow.org/v2beta1 or kubeflow.org/v1"), "{error}");
    assert!(error.help_text().unwrap().contains("kubectl apply"), "{error}");
    assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());

    let _operator = operator(&scene.cluster, "v2beta1");
    let mut request = total();
    request.function.spec.extra.insert("api_version".to_owned(), "v1".into());
    let error = scene.orchestrator.submit(request).await.err().unwrap();
    assert_eq!(error.location(), Some("spec.api_version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    for version in VERSIONS {
        let scene = async || {
            let (scene, operator) = scene(version, goes_on).await;
            (scene, Some(operator))
        };
        kills::at_any_moment(&["worker", "main"], scene, total, |killed, run| {
            let cause = run.status.cause.as_ref().unwrap();
            let known = [Reason::Lost, Reason::Signal].contains(&cause.reason);
            assert!(killed == "main" && known, "{version}: {killed}: {cause:?}");
        })
        .await;
    }
}
