//! What runs leave on a cluster is taken away: by whoever comes next, and by `gc`.
#![cfg(all(feature = "kubernetes", feature = "sqlite", feature = "job"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use runtimes::{
    Function, Orchestrator, Request, RunState,
    cluster::{ClusterOptions, Kubernetes, kube},
    core::testkit::cluster::{FakeCluster, Forbid, Life},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens")
}

async fn open(cluster: &FakeCluster, home: &Path, namespace: &str) -> Orchestrator {
    let options = ClusterOptions {
        namespace: Some(namespace.to_owned()),
        requests_per_second: 10_000,
        ..ClusterOptions::default()
    };
    let client = kube::Client::new(cluster.clone(), "default");
    let target = Kubernetes::with_client(client, options);
    Orchestrator::builder(home).target(Arc::new(target)).open().await.unwrap()
}

fn living(life: Life) -> FakeCluster {
    let cluster = FakeCluster::new();
    cluster.add_namespace("other");
    cluster.on_pod(move |_| life.clone());
    cluster
}

fn fit() -> Request {
    let function = Function::new("job", "main").with_code("def fit(): pass\n").with_image("python:3");
    Request::new(function).handler("fit").on("kubernetes")
}

fn is_clean(cluster: &FakeCluster) -> bool {
    ["jobs", "pods"].iter().all(|plural| cluster.objects(plural).is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_taken_away_is_noted_and_taken_by_the_next() {
    let (cluster, home) = (living(Life::completes()), tempfile::tempdir().unwrap());
    let orchestrator = open(&cluster, home.path(), "other").await;
    cluster.forbid(Forbid::verb("delete").on("jobs"));
    let run = within(orchestrator.run(fit())).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "the end is recorded all the same");
    within(orchestrator.idle()).await;
    assert_eq!(cluster.objects("jobs").len(), 1);
    assert!(within(orchestrator.release_ended(false)).await.is_err(), "it is still forbidden");
    assert_eq!(within(orchestrator.release_ended(true)).await.unwrap(), 1);
    // Also of a run that nobody remembers, and in another namespace than the next one's.
    orchestrator.delete(&run.key(), false).await.unwrap();
    orchestrator.close().await.unwrap();
    cluster.heal();

    let orchestrator = open(&cluster, home.path(), "default").await;
    within(cluster.until(is_clean)).await;
    within(async {
        while orchestrator.release_ended(true).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_looked_through_and_what_others_have_is_known() {
    let cluster = living(Life::started().prints("one").wait("go").exits(0));
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = open(&cluster, theirs.path(), "default").await;
    let handle = other.submit(fit()).await.unwrap();
    let running =
        |cluster: &FakeCluster| cluster.objects("pods").iter().any(|pod| pod["status"]["phase"] == "Running");
    within(cluster.until(running)).await;

    let orchestrator = open(&cluster, ours.path(), "default").await;
    let found = within(orchestrator.garbage("kubernetes")).await.unwrap();
    let [garbage] = &found[..] else { panic!("{found:?}") };
    assert!(garbage.run.is_none() && garbage.left.active, "{garbage:?}");
    assert_eq!(garbage.left.key, handle.key());
    assert!(garbage.left.objects.iter().any(|object| object.starts_with("job/")), "{garbage:?}");
    assert!(within(other.garbage("kubernetes")).await.unwrap().is_empty(), "it goes on");

    cluster.forbid(Forbid::verb("delete").on("jobs"));
    cluster.go("go");
    assert_eq!(within(handle.wait()).await.unwrap().state(), RunState::Completed);
    within(other.idle()).await;
    cluster.heal();
    let found = within(other.garbage("kubernetes")).await.unwrap();
    let [garbage] = &found[..] else { panic!("{found:?}") };
    assert!(garbage.run.is_some() && !garbage.left.active, "{garbage:?}");
    within(orchestrator.collect(garbage)).await.unwrap();
    within(cluster.until(is_clean)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_found_again_in_its_own_namespace() {
    let cluster = living(Life::started().prints("one").wait("go").exits(0));
    let home = tempfile::tempdir().unwrap();
    let orchestrator = open(&cluster, home.path(), "other").await;
    let key = orchestrator.submit(Request { detached: true, ..fit() }).await.unwrap().key();
    let mut lines = orchestrator.logs(&key, true).await.unwrap();
    within(lines.try_next()).await.unwrap().unwrap();
    drop(lines);
    orchestrator.close().await.unwrap();

    let orchestrator = open(&cluster, home.path(), "default").await;
    cluster.go("go");
    let run = within(orchestrator.watch(&key).await.unwrap().wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    within(orchestrator.idle()).await;
    within(cluster.until(is_clean)).await;
}
