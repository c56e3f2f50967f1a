//! What goes wrong between an orchestrator and a real API server, and on the cluster.

use std::time::Duration;

use runtimes::{
    ErrorKind, Request, Run, RunState,
    cluster::{
        ClusterOptions,
        kube::{
            Api,
            api::{DeleteParams, EvictParams, ListParams, PostParams},
        },
    },
    core::{
        k8s_openapi::api::core::v1::{Pod, ResourceQuota},
        run::Reason,
        serde_json::{from_value, json},
    },
};

use super::{
    proxy::{Dice, Proxy},
    scene::{self, Scene, python},
    works::{LONG, Witness, Work},
};

fn impatient() -> ClusterOptions {
    ClusterOptions { request_timeout: Duration::from_secs(2), ..ClusterOptions::default() }
}

/// Submits it, as somebody does who tries again when the cluster does not answer in time; stops it, where it is one that
/// is to be stopped.
async fn run(scene: &Scene, work: Work) -> Run {
    let handle = loop {
        match scene.orchestrator.submit(work.request()).await {
            Ok(handle) => break handle,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    };
    let key = handle.key();
    if matches!(work, Work::Stopped | Work::Endless) {
        scene.wait_for_line(&key, "line 2").await;
        return scene.orchestrator.abort_within(&key, Some(Duration::from_secs(1))).await.unwrap();
    }
    tokio::time::timeout(LONG, handle.wait()).await.unwrap_or_else(|_| panic!("{work:?} goes on")).unwrap()
}

/// Every sixth request goes wrong, and half of what is streamed.
pub(crate) async fn at_random(scene: Scene) {
    let client = scene::client().await;
    let witness = Witness::new(&client, &scene.namespace).await;
    let proxy = Proxy::start(client, Dice::new(), 18).await;
    let through = proxy.client(&scene.namespace);
    let scene = scene.through(through, impatient()).await;
    // However long requests to stop it are lost, it does not end by itself.
    let works = [Work::Well, Work::Badly, Work::Endless].repeat(3);
    let runs = futures_util::future::join_all(works.iter().map(|work| run(&scene, *work))).await;
    for (work, run) in works.iter().zip(&runs) {
        work.ended_well("at random", &scene, run).await;
        witness.saw_one_set("at random", run);
        if *work == Work::Endless {
            assert_eq!(run.state(), RunState::Aborted);
        }
    }
    scene.is_clean().await;
    let counts = proxy.counts();
    println!("what went wrong: {counts:?}");
    assert!(counts.values().sum::<usize>() > 10, "{counts:?}");
}

/// All connections are cut and none is made, while runs begin, go on and end.
pub(crate) async fn away_for_a_while(scene: Scene) {
    let client = scene::client().await;
    let witness = Witness::new(&client, &scene.namespace).await;
    let proxy = Proxy::start(client, Dice::new(), 0).await;
    let through = proxy.client(&scene.namespace);
    let scene = scene.through(through, impatient()).await;
    let works = [Work::Well, Work::Badly, Work::Stopped];
    let runs = futures_util::future::join_all(works.iter().map(|work| run(&scene, *work)));
    let outage = async {
        for (after, long) in [(500, 3), (2500, 10)] {
            tokio::time::sleep(Duration::from_millis(after)).await;
            proxy.away(true);
            tokio::time::sleep(Duration::from_secs(long)).await;
            proxy.away(false);
        }
    };
    let (runs, ()) = tokio::join!(runs, outage);
    for (work, run) in works.iter().zip(&runs) {
        work.ended_well("away", &scene, run).await;
        witness.saw_one_set("away", run);
    }
    scene.is_clean().await;
}

/// The quota of the namespace has no room for a pod: that is said; where it has, the run goes on by itself.
pub(crate) async fn quota(scene: Scene) {
    let quotas: Api<ResourceQuota> = Api::namespaced(scene::client().await, &scene.namespace);
    let none = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    quotas.create(&PostParams::default(), &from_value(none).unwrap()).await.unwrap();
    let cause = scene.trouble(python("def fit(): pass\n").handler("fit"), Reason::Quota).await;
    assert!(cause.message.contains("none") && cause.help.is_some(), "{cause:?}");

    let mut bare = python("def fit(): pass\n").handler("fit");
    bare.function.spec.extra.insert("wrapper".to_owned(), "pod".into());
    let error = scene.orchestrator.submit(bare.clone().on("kubernetes")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");

    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    assert_eq!(scene.run(bare).await.state(), RunState::Completed);
    scene.is_clean().await;
}

/// A pod is evicted, as by `kubectl drain`.
pub(crate) async fn evicted(scene: Scene) {
    let request =
        python("import time\n\ndef fit():\n    print('begun')\n    time.sleep(600)\n").handler("fit");
    let handle =
        scene.orchestrator.submit(Request { detached: true, ..request.on("kubernetes") }).await.unwrap();
    scene.wait_for_line(&handle.key(), "begun").await;
    let pods: Api<Pod> = Api::namespaced(scene::client().await, &scene.namespace);
    let ours = ListParams::default().labels("runtimes/run");
    let pod = pods.list_metadata(&ours).await.unwrap().items.remove(0).metadata.name.unwrap();
    let delete_options = Some(DeleteParams::default().grace_period(1));
    pods.evict(&pod, &EvictParams { delete_options, ..EvictParams::default() }).await.unwrap();
    let run = tokio::time::timeout(LONG, handle.wait()).await.unwrap().unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert!(matches!(cause.reason, Reason::Evicted | Reason::Lost), "{cause:?}");
    assert_eq!(run.state(), RunState::Error);
    scene.is_clean().await;
}
