//! Runs of the kind `spark` on a cluster that does what a script says.

use std::time::Duration;

use runtimes::{
    ErrorKind, Function, Request, RunState,
    core::{
        run::Reason,
        serde_json::json,
        testkit::cluster::{FakeCluster, Fault, Life, Resource},
    },
};

use crate::{
    Scene, client, kills, open,
    operator::{Operator, part, spark},
    pods, within,
};

fn register(cluster: &FakeCluster) {
    cluster.register(Resource::new("sparkoperator.k8s.io", "v1beta2", "SparkApplication"));
}

async fn scene(lives: impl Fn(&str) -> Life + Send + Sync + 'static) -> (Scene, Operator) {
    let scene = Scene::new().await;
    scene.cluster.on_pod(move |pod| lives(&part(pod)));
    register(&scene.cluster);
    let operator = spark::operator(client(&scene.cluster), "default");
    (scene, operator)
}

/// A run with two executors.
fn total() -> Request {
    let code = "def total(spark): return 3\n";
    let function = Function::new("spark", "main").with_code(code).with_image("spark:1").with_replicas(2);
    Request::new(function).handler("total").on("kubernetes")
}

/// The executors wait for what the driver sends, and that does until it is told to end.
fn goes_on(part: &str) -> Life {
    match part {
        "main" => Life::started()
            .prints("begun")
            .wait("end")
            .exits_saying(0, r#"{"state": "completed", "results": {"return": 3}}"#),
        _ => Life::started().wait("never"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_is_the_run() {
    let (scene, _operator) = scene(goes_on).await;
    let handle = scene.orchestrator.submit(total()).await.unwrap();
    let there = |cluster: &FakeCluster| ["main", "executor"].map(|part| pods(cluster, part).len()) == [1, 2];
    within(scene.cluster.until(there)).await;
    scene.cluster.go("end");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(run.status.results["return"], json!(3));
    assert_eq!(scene.log(&run.key()).await, ["begun"]);
    scene.is_clean().await;
    let made = |verb| scene.cluster.count(verb, "sparkapplications");
    assert_eq!(made("create") + made("apply"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_the_driver_ends_is_how_the_run_does() {
    let error = |class: &str, message: &str| {
        json!({"state": "error", "error": {"type": class, "message": message, "traceback": ""}}).to_string()
    };
    let hurt = || Life::started().prints("begun").wait("hurt");
    for (life, reason, words) in [
        (hurt().exits(3), Reason::ExitCode, "exit code 3"),
        (hurt().killed(9), Reason::Signal, "SIGKILL"),
        (hurt().oom_killed(), Reason::OutOfMemory, "memory"),
        (hurt().exits_saying(1, &error("ValueError", "boom")), Reason::Exception, "ValueError: boom"),
        (
            hurt().exits_saying(1, &error("java.lang.OutOfMemoryError", "Java heap space")),
            Reason::OutOfMemory,
            "Java heap space",
        ),
    ] {
        let driver = life.clone();
        let (scene, _operator) = scene(move |part| match part {
            "main" => driver.clone(),
            part => goes_on(part),
        })
        .await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        scene.begins(&handle.key(), &["main"]).await;
        scene.cluster.go("hurt");
        let run = within(handle.wait()).await.unwrap();
        let cause = run.status.cause.clone().unwrap();
        assert_eq!((run.state(), cause.reason), (RunState::Error, reason), "{cause:?}");
        assert!(cause.message.contains(words), "{cause:?}");
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_an_executor_from_running_names_it() {
    let waiting = Life::new()
        .unschedulable("0/1 nodes are available: 1 Insufficient memory.")
        .wait("mended")
        .scheduled()
        .pulled()
        .running();
    let (scene, _operator) = scene(move |part| match part {
        "executor" => waiting.clone().wait("never"),
        _ => Life::started().wait("mended").exits(0),
    })
    .await;
    let mut handle = scene.orchestrator.submit(total()).await.unwrap();
    let cause = scene.trouble(&mut handle).await;
    assert_eq!(cause.reason, Reason::Unschedulable, "{cause:?}");
    assert!(cause.message.starts_with("executor-") && cause.message.contains("memory"), "{cause:?}");
    scene.cluster.go("mended");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!((run.state(), run.status.cause.clone()), (RunState::Completed, None));
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_cannot_submit_is_the_cause() {
    let scene = Scene::new().await;
    // Nobody acts on it.
    register(&scene.cluster);
    let handle = scene.orchestrator.submit(total()).await.unwrap();
    within(scene.cluster.until(|cluster| !cluster.objects("sparkapplications").is_empty())).await;
    let mut application = scene.cluster.objects("sparkapplications").remove(0);
    application["status"]["applicationState"] =
        json!({"state": "FAILED", "errorMessage": "failed to run spark-submit: no such image"});
    scene.cluster.put(&application).unwrap();
    let run = within(handle.wait()).await.unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::StartFailed));
    assert!(
        cause.message.contains("SparkApplication") && cause.message.contains("no such image"),
        "{cause:?}"
    );
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_leaves_nothing() {
    for waits in [false, true] {
        let (scene, _operator) = scene(move |part| match waits {
            true => Life::new().unschedulable("0/1 nodes are available"),
            false => goes_on(part),
        })
        .await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        within(scene.cluster.until(|cluster| pods(cluster, "executor").len() == 2)).await;
        let key = handle.key();
        let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_millis(10)));
        assert_eq!(within(abort).await.unwrap().state(), RunState::Aborted, "{waits}");
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_for_a_moment_is_made_once() {
    for fault in [
        Fault::too_many_requests(0).on("patch", "sparkapplications").times(3),
        Fault::answer_lost().on("patch", "sparkapplications"),
        Fault::internal().on("delete", "sparkapplications").times(2),
    ] {
        let what = format!("{fault:?}");
        let (scene, _operator) = scene(goes_on).await;
        scene.cluster.go("end");
        scene.cluster.fault(fault);
        let run = scene.run(total()).await;
        assert_eq!(run.state(), RunState::Completed, "{what}: {:?}", run.status.cause);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_orchestrator_goes_on_where_one_was_lost() {
    let (Scene { cluster, orchestrator, home }, _operator) = scene(goes_on).await;
    let key = orchestrator.submit(Request { detached: true, ..total() }).await.unwrap().key();
    within(cluster.until(|cluster| pods(cluster, "main").len() == 1)).await;
    drop(orchestrator);
    let orchestrator = open(&cluster, &home).await;
    let scene = Scene { cluster, orchestrator, home };
    let handle = scene.orchestrator.watch(&key).await.unwrap();
    scene.cluster.go("end");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(scene.log(&key).await, ["begun"], "each line once");
    scene.is_clean().await;
    assert!(scene.home.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_operator_it_says_how_to_have_it() {
    let scene = Scene::new().await;
    let error = scene.orchestrator.submit(total()).await.err().unwrap();
    assert_eq!((error.kind(), error.location()), (ErrorKind::Unsupported, Some("kind")), "{error}");
    assert!(error.message().contains("sparkoperator.k8s.io/v1beta2"), "{error}");
    assert!(error.help_text().unwrap().contains("helm install"), "{error}");
    assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    let scene = async || {
        let (scene, operator) = scene(goes_on).await;
        (scene, Some(operator))
    };
    kills::at_any_moment(&["executor", "main"], scene, total, |killed, run| {
        let cause = run.status.cause.as_ref().unwrap();
        let known = [Reason::Lost, Reason::Signal].contains(&cause.reason);
        assert!(killed == "main" && known, "{killed}: {cause:?}");
    })
    .await;
}
