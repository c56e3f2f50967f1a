//! The target "kubernetes" on a real cluster with a node on which pods run: `KUBECONFIG` says which. Each test has a
//! namespace of its own.
#![cfg(all(feature = "kubernetes", feature = "sqlite", feature = "job"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cluster/scene.rs"]
mod scene;

use std::time::Duration;

use runtimes::{
    Request, RunState,
    core::{run::Reason, serde_json::json},
};
use scene::{Scene, python};

fn block_on(test: impl AsyncFnOnce(Scene)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if let Some(scene) = Scene::new().await {
            let namespace = scene.namespace.clone();
            test(scene).await;
            Scene::remove(&namespace).await;
        }
    });
}

#[test]
fn a_handler_runs_in_a_pod() {
    block_on(async |scene| {
        let code = "def fit(context, n: int):\n    print('fitting', n)\n    context.log_result('twice', 2 * n)\n    return n + 1\n";
        let run = scene.run(python(code).handler("fit").parameter("n", 20)).await;
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        assert_eq!(run.status.results["twice"], json!(40));
        assert_eq!(run.status.results["return"], json!(21));
        assert_eq!(run.status.exit_code, Some(0));
        assert_eq!(scene.log(&run).await, ["fitting 20"]);
        scene.is_clean().await;
    });
}

#[test]
fn an_exception_has_its_place_and_an_exit_code_its_number() {
    block_on(async |scene| {
        let run =
            scene.run(python("def fit():\n    raise ValueError('no such column')\n").handler("fit")).await;
        let cause = run.status.cause.clone().unwrap();
        assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::Exception));
        assert!(cause.message.contains("main.py:2: ValueError: no such column"), "{}", cause.message);

        let run = scene.run(scene::program("sh", &["-c", "echo going; exit 7"])).await;
        assert_eq!(run.status.exit_code, Some(7));
        assert_eq!(run.status.cause.clone().unwrap().reason, Reason::ExitCode);
        assert_eq!(scene.log(&run).await, ["going"]);

        let run = scene.run(scene::program("no-such-program", &[])).await;
        let cause = run.status.cause.clone().unwrap();
        assert_eq!(cause.reason, Reason::StartFailed, "{cause:?}");
        assert!(cause.message.contains("no-such-program"), "{}", cause.message);
        scene.is_clean().await;
    });
}

#[test]
fn too_much_memory_is_named_with_its_limit() {
    block_on(async |scene| {
        let mut request =
            python("def fit():\n    x = bytearray(200 << 20)\n    print(len(x))\n").handler("fit");
        request.function = request.function.with_limits(Some("48Mi"), None, None, None).unwrap();
        let run = scene.run(request).await;
        let cause = run.status.cause.clone().unwrap();
        assert_eq!(cause.reason, Reason::OutOfMemory, "{cause:?}");
        assert!(cause.message.contains("48Mi"), "{}", cause.message);
        scene.is_clean().await;
    });
}

#[test]
fn what_keeps_a_run_from_starting_is_said() {
    block_on(async |scene| {
        let mut image = python("def fit(): pass\n").handler("fit");
        image.function.spec.image = "k8s.local/nope:1".to_owned();
        let cause = scene.trouble(image, Reason::ImagePull).await;
        assert!(cause.message.contains("k8s.local/nope:1"), "{}", cause.message);

        let mut secret = python("def fit(): pass\n").handler("fit");
        secret.function = secret.function.set_env_from_secret("KEY", "absent", "key");
        let cause = scene.trouble(secret, Reason::ContainerConfig).await;
        assert!(cause.message.contains("absent"), "{}", cause.message);

        let mut nowhere = python("def fit(): pass\n").handler("fit");
        nowhere.function.spec.pod.node_selector.insert("moon".to_owned(), "yes".to_owned());
        let cause = scene.trouble(nowhere, Reason::Unschedulable).await;
        assert!(cause.message.contains("0/1 nodes"), "{}", cause.message);
        scene.is_clean().await;
    });
}

#[test]
fn a_run_is_stopped_on_request_and_by_its_limit() {
    block_on(async |scene| {
        let request =
            python("import time\n\ndef fit():\n    print('begun')\n    time.sleep(600)\n").handler("fit");
        let handle = scene.orchestrator.submit(request.clone().on("kubernetes")).await.unwrap();
        let key = handle.key();
        scene.wait_for_line(&key, "begun").await;
        let run = scene.orchestrator.abort_within(&key, Some(Duration::from_secs(1))).await.unwrap();
        assert_eq!(run.state(), RunState::Aborted);

        let run = scene.run(request.timeout(Duration::from_secs(2))).await;
        assert_eq!(run.status.cause.clone().unwrap().reason, Reason::DeadlineExceeded);
        scene.is_clean().await;
    });
}

#[test]
fn a_pod_that_somebody_deletes_is_missed() {
    block_on(async |scene| {
        let request =
            python("import time\n\ndef fit():\n    print('begun')\n    time.sleep(600)\n").handler("fit");
        let handle = scene.orchestrator.submit(request.on("kubernetes")).await.unwrap();
        scene.wait_for_line(&handle.key(), "begun").await;
        scene.delete_pods().await;
        let run = handle.wait().await.unwrap();
        let cause = run.status.cause.clone().unwrap();
        assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::Lost), "{cause:?}");
        assert!(cause.message.contains("deleted"), "{}", cause.message);
        scene.is_clean().await;
    });
}

#[test]
fn an_orchestrator_that_goes_is_followed_by_another() {
    block_on(async |scene| {
        let code = "import time\n\ndef fit(context):\n    for i in range(30):\n        print('line', i)\n        time.sleep(0.1)\n    context.log_result('x', 1)\n";
        let request = Request { detached: true, ..python(code).handler("fit").on("kubernetes") };
        let key = scene.orchestrator.submit(request).await.unwrap().key();
        scene.wait_for_line(&key, "line 3").await;
        let scene = scene.reopen().await;
        let run = scene.orchestrator.watch(&key).await.unwrap().wait().await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        assert_eq!(run.status.results["x"], json!(1));
        let lines: Vec<_> = (0..30).map(|i| format!("line {i}")).collect();
        assert_eq!(scene.log(&run).await, lines, "each line once");
        scene.is_clean().await;
    });
}

#[test]
fn what_the_cluster_would_refuse_is_refused_before_anything_is_recorded() {
    block_on(async |scene| {
        let mut request = python("def fit(): pass\n").handler("fit").on("kubernetes");
        request.function.metadata.namespace = "no-such-namespace".to_owned();
        let error = scene.orchestrator.submit(request).await.err().unwrap();
        assert!(error.message().contains("no-such-namespace"), "{error}");

        let mut request = python("def fit(): pass\n").handler("fit").on("kubernetes");
        request.function.spec.pod.service_account = "No Such".to_owned();
        let error = scene.orchestrator.submit(request).await.err().unwrap();
        assert_eq!(error.kind(), runtimes::ErrorKind::Invalid, "{error}");

        let request = python("def fit(x): pass\n").handler("fit").on("kubernetes").input("x", "data.csv");
        let error = scene.orchestrator.submit(request).await.err().unwrap();
        assert_eq!(error.location(), Some("inputs.x"), "{error}");
        assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
    });
}
