//! Code in a folder of this machine, for pods.
#![cfg(all(feature = "kubernetes", feature = "sqlite", feature = "job", feature = "source"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path, sync::Arc, time::Duration};

use runtimes::{
    ErrorKind, Function, Orchestrator, Request, RunState,
    cluster::{ClusterOptions, Kubernetes, kube},
    core::{
        serde_json::{Value, json},
        testkit::cluster::{FakeCluster, Life},
    },
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens")
}

async fn open(cluster: &FakeCluster, home: &Path) -> Orchestrator {
    let client = kube::Client::new(cluster.clone(), "default");
    let target = Kubernetes::with_client(client, ClusterOptions::default());
    Orchestrator::builder(home).target(Arc::new(target)).open().await.unwrap()
}

/// A function with its code in `code`, below this folder.
fn fit(folder: &Path) -> Request {
    let mut function = Function::new("job", "main").with_image("python:3").with_command("train.py");
    function.spec.build.source = "./code".to_owned();
    function.metadata.namespace = "other".to_owned();
    Request { base_dir: folder.to_owned(), ..Request::new(function) }.handler("fit").on("kubernetes")
}

fn sources(cluster: &FakeCluster) -> Vec<Value> {
    let mut maps = cluster.objects("configmaps");
    maps.retain(|map| map["binaryData"].is_object());
    maps
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_with_the_run_and_is_gone_with_it() {
    let (cluster, folder) = (FakeCluster::new(), tempfile::tempdir().unwrap());
    cluster.add_namespace("other");
    cluster.on_pod(|_| Life::started().wait("go").exits(0));
    fs::create_dir(folder.path().join("code")).unwrap();
    fs::write(folder.path().join("code/train.py"), "def fit(): pass\n").unwrap();
    let orchestrator = open(&cluster, folder.path()).await;
    let handle = orchestrator.submit(fit(folder.path())).await.unwrap();
    within(cluster.until(|cluster| !cluster.objects("pods").is_empty())).await;
    let found = sources(&cluster);
    let [map] = &found[..] else { panic!("{found:?}") };
    assert_eq!(map["metadata"]["namespace"], "other");
    let job = &cluster.objects("jobs")[0];
    let pod = &job["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(
        volumes.iter().any(|volume| volume["configMap"]["name"] == map["metadata"]["name"]),
        "{volumes:?}"
    );
    let args = pod["containers"][0]["args"][1].as_str().unwrap();
    let what: Value = args.parse().unwrap();
    assert_eq!(
        what["source"],
        json!({"address": "/runtimes/source/source.tar.gz", "target": null, "workdir": ""})
    );
    cluster.go("go");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    within(orchestrator.idle()).await;
    within(cluster.until(|cluster| sources(cluster).is_empty())).await;
    let kept = orchestrator.function(&run.spec.function).await.unwrap();
    assert_eq!(kept.function.spec.build.source, "./code", "the function stays what it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_is_refused_before_anything_is_recorded() {
    let (cluster, folder) = (FakeCluster::new(), tempfile::tempdir().unwrap());
    let orchestrator = open(&cluster, folder.path()).await;
    let error = orchestrator.submit(fit(folder.path())).await.err().unwrap();
    assert_eq!((error.kind(), error.location()), (ErrorKind::NotFound, Some("spec.build.source")), "{error}");

    fs::create_dir(folder.path().join("code")).unwrap();
    let noise: Vec<u8> = (0..600_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(folder.path().join("code/noise.bin"), noise).unwrap();
    let error = orchestrator.submit(fit(folder.path())).await.err().unwrap();
    assert!(error.to_string().contains("noise.bin (2400000 bytes)"), "{error}");
    assert_eq!(error.location(), Some("spec.build.source"));

    for (source, words) in [
        ("s3://bucket/a.tar.gz", "s3://"),
        ("https://me:hunter2@host/a.tar.gz", "credentials"),
        ("https://host/a.html", "neither an archive nor a repository"),
    ] {
        let mut request = fit(folder.path());
        request.function.spec.build.source = source.to_owned();
        request.function.spec.build.load_source_on_run = true;
        let error = orchestrator.submit(request).await.err().unwrap();
        assert!(error.to_string().contains(words) && !error.to_string().contains("hunter2"), "{error}");
        assert_eq!(error.location(), Some("spec.build.source"));
    }
    assert!(orchestrator.list(&Default::default()).await.unwrap().is_empty());
    assert_eq!(
        cluster.requests().iter().filter(|seen| seen.verb != "list").count(),
        0,
        "nothing was asked for"
    );
}
