//! Images that functions need: built once for the same content, by a run that is followed, stopped and taken up as every
//! other one; the function gets the image by its digest.
#![cfg(all(feature = "kubernetes", feature = "sqlite", feature = "job"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use runtimes::{
    Build, ErrorKind, Function, Handle, Orchestrator, Request, Run, RunState, Update,
    cluster::{ClusterOptions, Kubernetes, kube},
    core::{
        cluster::{Cluster, Style},
        k8s_openapi::api::core::v1::Pod,
        run::{Reason, RunKey},
        serde_json::{Value, json},
        testkit::cluster::{FakeCluster, Forbid, Life},
    },
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    cluster: FakeCluster,
    orchestrator: Orchestrator,
    home: tempfile::TempDir,
    pods: Arc<AtomicUsize>,
}

impl Scene {
    async fn living(build: Life) -> Self {
        let (cluster, home) = (FakeCluster::new(), tempfile::tempdir().unwrap());
        let pods = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&pods);
        cluster.on_pod(move |pod| {
            if !is_build(pod) {
                return Life::completes();
            }
            count.fetch_add(1, Ordering::SeqCst);
            build.clone()
        });
        let orchestrator = open(&cluster, &home, json!({})).await;
        Self { cluster, orchestrator, home, pods }
    }

    async fn start(&self, request: Request) -> Handle {
        match within(self.orchestrator.build(request, false)).await.unwrap() {
            Build::Running(handle) => *handle,
            Build::Ready(record) => panic!("built already: {}", record.function.spec.image),
            _ => panic!("there is nothing to build"),
        }
    }

    async fn build(&self, request: Request) -> Run {
        within(self.start(request).await.wait()).await.unwrap()
    }

    /// How many pods were made that build.
    fn builds(&self) -> usize {
        self.pods.load(Ordering::SeqCst)
    }

    async fn is_clean(&self) {
        within(self.orchestrator.idle()).await;
        let gone = |cluster: &FakeCluster| {
            let own = |object: &Value| object["metadata"]["labels"]["runtimes/run"].is_string();
            ["jobs", "pods", "configmaps"].iter().all(|plural| !cluster.objects(plural).iter().any(own))
        };
        within(self.cluster.until(gone)).await;
    }
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens")
}

fn is_build(pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().is_some_and(|labels| labels["mlrun/class"] == "build")
}

async fn open(cluster: &FakeCluster, home: &tempfile::TempDir, config: Value) -> Orchestrator {
    let cluster_settings = Cluster::read(&json!({"config": config}), Style::Native).unwrap();
    let options = ClusterOptions {
        requests_per_second: 10_000,
        cluster: cluster_settings,
        ..ClusterOptions::default()
    };
    let client = kube::Client::new(cluster.clone(), "default");
    let target = Arc::new(Kubernetes::with_client(client, options));
    Orchestrator::builder(home.path()).target(target).open().await.unwrap()
}

fn function() -> Function {
    let mut function =
        Function::new("job", "train").with_code("def fit(): pass\n").with_requirements(["pandas"]);
    function.spec.build.base_image = "python:3.12".to_owned();
    function.spec.build.registry = "r.io/ml".to_owned();
    function.spec.default_handler = "fit".to_owned();
    function
}

fn train() -> Request {
    Request::new(function()).on("kubernetes")
}

fn digest() -> String {
    format!("sha256:{}", "0a".repeat(32))
}

fn image() -> String {
    format!("r.io/ml/func-default-train@{}", digest())
}

fn builds_well() -> Life {
    Life::started().prints("#1 building").exits_saying(0, &format!("{}\n", digest()))
}

async fn lines(orchestrator: &Orchestrator, key: &RunKey) -> Vec<String> {
    let lines: Vec<_> = orchestrator.logs(key, false).await.unwrap().try_collect().await.unwrap();
    lines.iter().filter(|line| line.source == "main").map(|line| line.text().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_gets_the_image_that_was_built() {
    let scene = Scene::living(builds_well()).await;
    let stored = scene.orchestrator.save(Request { tag: "prod".to_owned(), ..train() }).await.unwrap();
    let run =
        scene.build(Request { target: "kubernetes".to_owned(), ..Request::stored(stored.clone()) }).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(
        (&run.status.results["image"], &run.status.results["digest"]),
        (&json!(image()), &json!(digest()))
    );
    assert_eq!(run.metadata.labels["kind"], "build");
    assert_eq!(lines(&scene.orchestrator, &run.key()).await, ["#1 building"]);

    let built = scene.orchestrator.built(&run).await.unwrap();
    let spec = &built.function.spec;
    assert_eq!((spec.image.as_str(), spec.build.base_image.as_str()), (image().as_str(), "python:3.12"));
    assert_eq!(built.function.status.state, "ready");
    assert_ne!(built.function.metadata.hash, stored.function.metadata.hash);
    let mut tags = built.tags.clone();
    tags.sort();
    assert_eq!(tags, ["latest", "prod"], "the tags of what was built go to what was built of it");
    scene.is_clean().await;

    // It runs as it is, and is not built again.
    let run =
        within(scene.orchestrator.run(Request::stored(built).on("kubernetes").auto_build())).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(scene.builds(), 1);
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_is_built_once() {
    let scene = Scene::living(builds_well()).await;
    let run = within(scene.orchestrator.run(train().auto_build())).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    let function = scene.orchestrator.function(&run.spec.function).await.unwrap().function;
    assert_eq!(function.spec.image, image(), "what runs is what was built");
    // Other code needs no other image.
    let mut other = train().auto_build();
    other.function = other.function.with_code("def fit(): print('more')\n");
    let run = within(scene.orchestrator.run(other)).await.unwrap();
    let function = scene.orchestrator.function(&run.spec.function).await.unwrap().function;
    assert_eq!((function.spec.image, scene.builds()), (image(), 1));
    // The record of a build may go; its image stays known.
    let builds = scene.orchestrator.list(&Default::default()).await.unwrap();
    let build = builds.iter().find(|record| record.run.metadata.labels["kind"] == "build").unwrap();
    scene.orchestrator.delete(&build.run.key(), false).await.unwrap();
    assert!(matches!(scene.orchestrator.build(train(), false).await.unwrap(), Build::Ready(_)));
    // Unless it is wanted again, or has something else in it.
    let Build::Running(handle) = scene.orchestrator.build(train(), true).await.unwrap() else {
        panic!("it is built again");
    };
    assert_eq!(within(handle.wait()).await.unwrap().state(), RunState::Completed);
    let mut more = train();
    more.function.spec.build.requirements.push("numpy".to_owned());
    assert_eq!(scene.build(more).await.state(), RunState::Completed);
    assert_eq!(scene.builds(), 3);
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_it_is_built_gets_that_build() {
    let life = Life::started().wait("go").exits_saying(0, &digest());
    let scene = Scene::living(life).await;
    let first = scene.start(train()).await;
    let other = open(&scene.cluster, &scene.home, json!({})).await;
    let Build::Running(second) = within(other.build(train(), false)).await.unwrap() else {
        panic!("it is being built")
    };
    assert_eq!(first.key(), second.key());
    scene.cluster.go("go");
    let (first, second) = within(futures_util::future::join(first.wait(), second.wait())).await;
    assert_eq!(first.unwrap().status.results["image"], json!(image()));
    let run = second.unwrap();
    assert_eq!(other.built(&run).await.unwrap().function.spec.image, image());
    assert_eq!(scene.builds(), 1);
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_says_why() {
    let step = "#6 0.1 ERROR: No matching distribution found for nosuch\n------\n > [2/2] RUN python -m pip install:\n#6 0.1 \
                ERROR: No matching distribution found for nosuch\n------\nerror: failed to solve: process \"/bin/sh -c \
                python -m pip install\" did not complete successfully: exit code: 1\n";
    let push = "error: failed to solve: failed to push r.io/ml/func-default-train:1: unexpected status: 401 Unauthorized";
    for (life, reason, words) in [
        (
            Life::started().prints("x").exits_saying(1, step),
            Reason::BuildFailed,
            "No matching distribution found for nosuch",
        ),
        (Life::started().exits_saying(1, push), Reason::ImagePush, "401 Unauthorized"),
        (Life::started().exits(0), Reason::BuildFailed, "digest"),
        (Life::started().oom_killed(), Reason::OutOfMemory, "memory"),
        (Life::started().evicted("low on ephemeral-storage"), Reason::Evicted, "ephemeral-storage"),
    ] {
        let scene = Scene::living(life).await;
        let error = within(scene.orchestrator.run(train().auto_build())).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Environment, "{error}");
        assert!(
            error.message().contains(words) && error.message().contains("r.io/ml/func-default-train"),
            "{error}"
        );
        let all = scene.orchestrator.list(&Default::default()).await.unwrap();
        let [build] = all.as_slice() else { panic!("nothing else was started") };
        let cause = build.run.status.cause.clone().unwrap();
        assert_eq!((build.run.state(), cause.reason), (RunState::Error, reason), "{cause:?}");
        assert!(cause.help.is_some());
        // What was in vain is begun again, by another run.
        let again = scene.start(train()).await;
        assert_ne!(again.key(), build.run.key());
        within(again.wait()).await.unwrap();
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_waits_says_for_what() {
    let no_secret = "MountVolume.SetUp failed for volume \"credentials\" : secret \"login\" not found";
    for (life, reason, words) in [
        (Life::new().scheduled().mount_fails("credentials", no_secret), Reason::Mount, "\"login\""),
        (Life::new().scheduled().pull_fails("not found"), Reason::ImagePull, "moby/buildkit"),
        (
            Life::new().scheduled().config_error("secret \"mlrun-project-secrets-default\" not found"),
            Reason::ContainerConfig,
            "secrets-default",
        ),
    ] {
        let scene = Scene::living(life.wait("never")).await;
        let mut request = train();
        request.function.spec.build.secret = "login".to_owned();
        let mut handle = scene.start(request).await;
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
        let run = within(scene.orchestrator.abort_within(&handle.key(), Some(Duration::ZERO))).await.unwrap();
        assert_eq!(run.state(), RunState::Aborted);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_orchestrator_goes_on_with_a_build() {
    let life = Life::started().prints("#1 one").wait("go").prints("#1 two").exits_saying(0, &digest());
    let Scene { cluster, orchestrator, home, pods } = Scene::living(life).await;
    let Build::Running(handle) = orchestrator.build(train(), false).await.unwrap() else {
        panic!("it is built")
    };
    let key = handle.key();
    drop(handle);
    let mut log = orchestrator.logs(&key, true).await.unwrap();
    assert_eq!(within(log.try_next()).await.unwrap().unwrap().text(), "#1 one");
    drop(log);
    drop(orchestrator);
    cluster.go("go");
    // Other settings change nothing about what was begun.
    let config = json!({"httpdb.builder.builder": "kaniko", "default_base_image": "other"});
    let orchestrator = open(&cluster, &home, config).await;
    let run = within(orchestrator.watch(&key).await.unwrap().wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(orchestrator.built(&run).await.unwrap().function.spec.image, image());
    assert_eq!(lines(&orchestrator, &key).await, ["#1 one", "#1 two"]);
    let scene = Scene { cluster, orchestrator, home, pods };
    assert_eq!(scene.builds(), 1);
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_of_a_function_that_is_not_built() {
    let scene = Scene::living(builds_well()).await;
    let error = scene.orchestrator.submit(train()).await.err().unwrap();
    assert_eq!(error.location(), Some("spec.image"), "{error}");
    assert!(error.help_text().unwrap().contains("--auto-build"), "{error}");
    // Where no registry is known there is none to build it for.
    let mut nowhere = train().auto_build();
    nowhere.function.spec.build.registry.clear();
    let error = scene.orchestrator.submit(nowhere).await.err().unwrap();
    assert_eq!(error.location(), Some("spec.build.image"), "{error}");
    scene.cluster.forbid(Forbid::verb("patch").on("pods"));
    let error = scene.orchestrator.submit(train().auto_build()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
    scene.cluster.heal();

    // An image that is named is used as it is, as ever; what it need not have is said.
    let mut named = train();
    named.function.spec.image = std::mem::take(&mut named.function.spec.build.base_image);
    let run = within(scene.orchestrator.run(named.clone())).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert!(run.status.notes.iter().any(|note| note.contains("--auto-build")), "{:?}", run.status.notes);
    // Or it is what is built on.
    let run = within(scene.orchestrator.run(named.auto_build())).await.unwrap();
    let spec = scene.orchestrator.function(&run.spec.function).await.unwrap().function.spec;
    assert_eq!((spec.image, spec.build.base_image), (image(), "python:3.12".to_owned()));
    let mut plain = train();
    plain.function.spec.build.requirements.clear();
    assert!(matches!(scene.orchestrator.build(plain, false).await.unwrap(), Build::Nothing));
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_stays_the_latest() {
    let life = Life::started().wait("go").exits_saying(0, &digest());
    let scene = Scene::living(life).await;
    let handle = scene.start(train()).await;
    let mut later = train();
    later.function = later.function.with_code("def fit(): return 2\n");
    let later = scene.orchestrator.save(later).await.unwrap();
    scene.cluster.go("go");
    let run = within(handle.wait()).await.unwrap();
    let built = scene.orchestrator.built(&run).await.unwrap();
    assert_eq!(built.function.spec.image, image());
    let latest = scene.orchestrator.function("train").await.unwrap();
    assert_eq!(latest.function.metadata.hash, later.function.metadata.hash);
    scene.is_clean().await;
}
