//! The API server itself goes and comes again while runs begin, go on and end. It needs a cluster that may be hurt: where
//! `RUNTIMES_TEST_RESTART` is a shell command that kills and starts the API server of `KUBECONFIG`. That cluster may have
//! no nodes: the test plays their part.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use runtimes::{
    ErrorKind, Run, RunState,
    cluster::{
        ClusterOptions,
        kube::{
            Api, Client, ResourceExt,
            api::{Patch, PatchParams},
            runtime::{WatchStreamExt, watcher},
        },
    },
    core::{
        jiff::{Timestamp, Unit},
        k8s_openapi::api::core::v1::Pod,
        run::Reason,
        serde_json::{Value, json},
    },
};
use tokio::process::Command;

use super::{
    proxy::Dice,
    scene::{self, Scene, program},
    works::{LONG, Witness},
};

/// The variable with the command.
const RESTART: &str = "RUNTIMES_TEST_RESTART";

/// Runs at a time, of which every third fails.
const RUNS: usize = 30;

const RESTARTS: usize = 5;

pub(crate) fn command() -> Option<String> {
    let command = std::env::var(RESTART).ok().filter(|command| !command.is_empty());
    if command.is_none() {
        println!("not run: {RESTART} is no command that kills and starts the API server of KUBECONFIG");
    }
    command
}

/// Lets pods run, and end as their names say: what a node does.
async fn play(client: Client, namespace: String) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels("runtimes/run");
    let mut seen = std::pin::pin!(watcher(pods.clone(), config).default_backoff().touched_objects());
    let mut played = BTreeMap::new();
    while let Some(pod) = seen.next().await {
        let Ok(pod) = pod else { continue };
        if played.insert(pod.uid(), ()).is_some() {
            continue;
        }
        let (pods, name) = (pods.clone(), pod.name_any());
        let code = if name.starts_with("bad") { 3 } else { 0 };
        tokio::spawn(async move {
            let now = Timestamp::now().round(Unit::Second).unwrap().to_string();
            put(&pods, &name, "Running", json!({"running": {"startedAt": now}})).await;
            // A pod takes its time.
            tokio::time::sleep(Duration::from_secs(4)).await;
            let message = r#"{"state": "completed", "results": {"x": 1}}"#;
            let message = if code == 0 { message } else { "" };
            let ended = json!({"terminated": {"exitCode": code, "reason": "x", "message": message}});
            put(&pods, &name, if code == 0 { "Succeeded" } else { "Failed" }, ended).await;
        });
    }
}

async fn put(pods: &Api<Pod>, name: &str, phase: &str, state: Value) {
    let container = json!({"name": "base", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    let status = json!({"status": {"phase": phase, "containerStatuses": [container]}});
    while let Err(error) = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await {
        if error.to_string().contains("NotFound") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn run(scene: &Scene, name: &str) -> Run {
    let mut request = program("true", &[]);
    request.function.metadata.name = name.to_owned();
    let handle = loop {
        match scene.orchestrator.submit(request.clone().on("kubernetes")).await {
            Ok(handle) => break handle,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    };
    tokio::time::timeout(LONG, handle.wait()).await.unwrap_or_else(|_| panic!("{name} goes on")).unwrap()
}

pub(crate) async fn survived(scene: Scene) {
    let Some(command) = command() else { return };
    let client = scene::client().await;
    let witness = Witness::new(&client, &scene.namespace).await;
    let player = tokio::spawn(play(client.clone(), scene.namespace.clone()));
    let options = ClusterOptions { request_timeout: Duration::from_secs(5), ..ClusterOptions::default() };
    let scene = scene.through(client, options).await;
    let mut dice = Dice::new();
    let begins: Vec<_> = (0..RUNS).map(|_| Duration::from_millis(dice.below(40_000))).collect();
    let runs = futures_util::future::join_all(begins.into_iter().enumerate().map(async |(number, begin)| {
        tokio::time::sleep(begin).await;
        run(&scene, if number % 3 == 0 { "bad" } else { "good" }).await
    }));
    let restarts = async {
        for _ in 0..RESTARTS {
            tokio::time::sleep(Duration::from_millis(3000 + dice.below(4000))).await;
            let status = Command::new("sh").args(["-c", &command]).status().await.unwrap();
            assert!(status.success(), "{command}: {status}");
        }
    };
    let (runs, ()) = tokio::join!(runs, restarts);
    for (number, run) in runs.iter().enumerate() {
        let reason = run.status.cause.as_ref().map(|cause| cause.reason);
        match number % 3 {
            0 => assert_eq!(
                (run.state(), reason),
                (RunState::Error, Some(Reason::ExitCode)),
                "{:?}",
                run.status
            ),
            _ => assert_eq!((run.state(), &run.status.results["x"]), (RunState::Completed, &json!(1))),
        }
        witness.saw_one_set("restarts", run);
    }
    scene.is_clean().await;
    player.abort();
}
