//! The target "kubernetes" on a real cluster with a node on which pods run: `KUBECONFIG` says which. Each test has a
//! namespace of its own.
#![cfg(all(
    feature = "kubernetes",
    feature = "sqlite",
    feature = "dask",
    feature = "job",
    feature = "mpijob",
    feature = "spark"
))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cluster/crds.rs"]
mod crds;
#[path = "cluster/dask.rs"]
mod dask;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/kills.rs"]
mod kills;
#[path = "cluster/mpi.rs"]
mod mpi;
#[path = "cluster/node.rs"]
mod node;
#[path = "cluster/objects.rs"]
mod objects;
#[path = "operator/mod.rs"]
mod operator;
#[path = "cluster/packages.rs"]
mod packages;
#[path = "cluster/proxy.rs"]
mod proxy;
#[path = "cluster/restart.rs"]
mod restart;
#[path = "cluster/rights.rs"]
mod rights;
#[path = "cluster/scene.rs"]
mod scene;
#[path = "cluster/spark.rs"]
mod spark;
#[path = "cluster/target.rs"]
mod target;
#[path = "cluster/works.rs"]
mod works;

use std::time::Duration;

use runtimes::{
    Function, Request, RunState,
    cluster::ElectionOptions,
    core::{
        run::{Reason, SecretSources},
        secret::{Secret, project_secret},
        serde_json::{from_value, json},
    },
};
use scene::{Scene, python};

/// A secret.
const VALUE: &str = "s3cret-value-1f0a";

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
fn code_in_a_pod_reads_the_secrets_that_it_is_given() {
    block_on(async |scene| {
        let keep = |key: &str, value: &str| {
            let secrets = scene.orchestrator.secrets().unwrap();
            secrets.put(&project_secret("default"), key, &Secret::new(value)).unwrap();
        };
        keep("TOKEN", VALUE);
        keep("big", &"x".repeat(1_000_000));
        let code = "import hashlib\n\ndef fit(context):\n    for key in ('TOKEN', 'own', 'big'):\n        print(hashlib.sha256(context.get_secret(key).encode()).hexdigest())\n";
        let own = [("own".to_owned(), Some(Secret::new(VALUE)))].into();
        let request = python(code).handler("fit").secrets(SecretSources::Inline(own));
        // Also as somebody who owns none of the files.
        let mut user = request.clone();
        let who = json!({"runAsUser": 65534, "runAsGroup": 65534});
        user.function.spec.pod.security_context = Some(from_value(who).unwrap());
        for request in [request, user] {
            let run = scene.run(request).await;
            assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
            let digest = "916529f0dd4e5cf74c9efaa93e4de2b0ec17c2f9a822f76cdfbd7f3afb9389bb";
            let big = "1b977e9f84f1b26b6ed7f68b0498faee2385ea4125bd29adce4a7d9106ba3134";
            assert_eq!(scene.log(&run).await, [digest, digest, big]);
        }
        // A program of any kind finds them as files.
        let run = scene.run(scene::program("sh", &["-c", "sha256sum < $RUNTIMES_SECRETS_DIR/TOKEN"])).await;
        assert_eq!(
            scene.log(&run).await,
            ["916529f0dd4e5cf74c9efaa93e4de2b0ec17c2f9a822f76cdfbd7f3afb9389bb  -"]
        );
        scene.is_clean().await;
    });
}

#[test]
fn the_rights_of_the_manifest_are_enough_for_secrets_and_an_election() {
    block_on(async |scene| {
        scene.apply(include_str!("../deploy/rbac.yaml")).await;
        let scene = scene.reopen_as("runtimes").await;
        let secrets = scene.orchestrator.secrets().unwrap();
        secrets.put(&project_secret("default"), "TOKEN", &Secret::new(VALUE)).unwrap();
        let code = "def fit(context):\n    print(len(context.get_secret('TOKEN')))\n";
        let run = scene.run(python(code).handler("fit")).await;
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        assert_eq!(scene.log(&run).await, [VALUE.len().to_string()]);
        scene.is_clean().await;

        let target = scene.target().await;
        let term = target.election(ElectionOptions::default()).await.unwrap().win(drop).await;
        term.give_back().await.unwrap();
        let other = ElectionOptions { lease: "other".to_owned(), ..ElectionOptions::default() };
        let error = target.election(other).await.err().unwrap();
        assert!(error.help_text().unwrap().contains("`get` on `leases`"), "{error}");
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

#[test]
fn all_that_is_rendered_is_taken_field_by_field() {
    block_on(async |scene| {
        let client = scene::client().await;
        objects::a_dropped_field_is_found(client.clone(), &scene.namespace).await;
        objects::all_are_taken(client, &scene.namespace).await;
    });
}

#[test]
fn the_rights_of_the_manifest_are_enough() {
    block_on(rights::are_enough);
}

#[test]
fn a_right_that_is_missing_is_named() {
    block_on(rights::one_is_missing);
}

#[test]
fn the_rights_of_the_manifest_are_enough_for_dask() {
    // Before the test's clock begins: it may have to be fetched.
    if dask::environment().is_some() {
        block_on(rights::are_enough_for_dask);
    }
}

#[test]
fn dask_runs_on_deployments() {
    if dask::environment().is_some() {
        block_on(dask::plain);
    }
}

#[test]
fn dask_runs_with_its_operator() {
    if dask::environment().is_some() {
        block_on(dask::with_operator);
    }
}

#[test]
fn the_rights_of_the_manifest_are_enough_for_mpi() {
    if mpi::environment().is_some() {
        block_on(rights::are_enough_for_mpi);
    }
}

#[test]
fn ranks_run_where_the_launcher_is() {
    if mpi::environment().is_some() {
        block_on(mpi::runs);
    }
}

#[test]
fn the_rights_of_the_manifest_are_enough_for_spark() {
    if spark::environment().is_some() {
        block_on(rights::are_enough_for_spark);
    }
}

#[test]
fn spark_runs_in_the_driver_s_pod() {
    if spark::environment().is_some() {
        block_on(spark::runs);
    }
}

#[test]
fn a_server_that_goes_wrong_at_random_is_lived_with() {
    block_on(faults::at_random);
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    block_on(faults::away_for_a_while);
}

#[test]
fn an_api_server_that_is_killed_and_started_is_lived_with() {
    block_on(restart::survived);
}

#[test]
fn a_node_that_stops_answering_is_named_and_lived_with() {
    block_on(node::silent);
}

#[test]
fn a_quota_that_is_used_up_is_named() {
    block_on(faults::quota);
}

#[test]
fn an_evicted_pod_is_missed() {
    block_on(faults::evicted);
}

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    kills::other();
}

#[test]
fn orchestrators_are_killed_at_any_moment() {
    kills::at_any_moment();
}

#[test]
fn code_in_a_folder_of_this_machine_goes_with_the_run() {
    block_on(async |scene| {
        let folder = tempfile::tempdir().unwrap();
        let code = folder.path().join("code");
        std::fs::create_dir_all(code.join("lib")).unwrap();
        std::fs::write(
            code.join("train.py"),
            "from lib.words import SAID\n\ndef fit(context):\n    context.log_result('said', SAID)\n",
        )
        .unwrap();
        std::fs::write(code.join("lib/words.py"), "SAID = 'hello'\n").unwrap();
        let mut function =
            Function::new("job", "main").with_image("k8s.local/python:3").with_command("train.py");
        function.spec.build.source = "./code".to_owned();
        let request = Request { base_dir: folder.path().to_owned(), ..Request::new(function) };
        let run = scene.run(request.handler("fit").on("kubernetes")).await;
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        assert_eq!(run.status.results["said"], json!("hello"));
        scene.is_clean().await;
    });
}
