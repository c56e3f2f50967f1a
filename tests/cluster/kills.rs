//! `kill -9` of an orchestrator that has runs on a cluster, at any moment, and what the next one makes of them.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use runtimes::{
    Request, RunState, Update,
    core::{
        serde_json::{self, Value, json},
        store::RunFilter,
    },
};

use super::{
    proxy::Dice,
    scene::{self, Scene},
    works::{LONG, Witness, Work},
};

/// The variable by which a process of this test binary knows that it is to be an orchestrator.
const ORDER: &str = "RUNTIMES_TEST_CLUSTER_ORDER";

/// The variable that says how many are killed.
const KILLS: &str = "RUNTIMES_TEST_KILLS";

/// How many are killed at a time.
const LANES: usize = 4;

/// In a process that was started for it: runs what it was told to. Elsewhere: nothing.
pub(crate) fn other() {
    let Ok(order) = env::var(ORDER) else { return };
    let order: Value = serde_json::from_str(&order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        println!("\n@begin");
        let (home, namespace) = (order["home"].as_str().unwrap(), order["namespace"].as_str().unwrap());
        let orchestrator = scene::open(Path::new(home), namespace, None).await;
        let runs = Work::ALL.map(|work| {
            let orchestrator = orchestrator.clone();
            async move {
                let request = Request { detached: work == Work::Well, ..work.request() };
                let mut handle = orchestrator.submit(request).await.unwrap();
                while let Some(update) = handle.next().await {
                    if let Update::Log(line) = update
                        && line.text() == "line 3"
                        && work == Work::Stopped
                    {
                        let (orchestrator, key) = (orchestrator.clone(), handle.key());
                        tokio::spawn(async move {
                            orchestrator.abort_within(&key, Some(Duration::from_secs(1))).await
                        });
                    }
                }
            }
        });
        futures_util::future::join_all(runs).await;
        println!("@done");
    });
}

/// Lets an orchestrator live for so long.
fn live_and_die(scene: &Scene, moment: Duration) {
    let order = json!({"home": scene.home.path(), "namespace": scene.namespace});
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "other", "--nocapture"])
        .env(ORDER, order.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().expect("it begins").unwrap().starts_with("@begin") {}
    // The moment is drawn: there is nothing to wait for.
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn round(scene: Scene, dice: &mut Dice, number: usize) -> Scene {
    let moment = Duration::from_millis(dice.below(9000));
    let what = format!("kill {number}, after {moment:?}");
    let client = scene::client().await;
    let witness = Witness::new(&client, &scene.namespace).await;
    let scene = tokio::task::spawn_blocking(move || {
        live_and_die(&scene, moment);
        scene
    });
    let scene = scene.await.unwrap();
    // In some rounds the next one is killed, too.
    let scene = if dice.below(4) == 0 {
        let again = Duration::from_millis(dice.below(2000));
        tokio::task::spawn_blocking(move || {
            live_and_die(&scene, again);
            scene
        })
        .await
        .unwrap()
    } else {
        scene
    };
    let orchestrator = scene::open(scene.home.path(), &scene.namespace, None).await;
    let scene = Scene { orchestrator, ..scene };
    let records = scene.orchestrator.list(&RunFilter::default()).await.unwrap();
    let mut states = Vec::new();
    for record in records {
        let key = record.run.key();
        let wait = scene.orchestrator.watch(&key).await.unwrap().wait();
        let run = tokio::time::timeout(LONG, wait).await;
        let run = run.unwrap_or_else(|_| panic!("{what}: for ever {:?}", record.run.status)).unwrap();
        let work = Work::of(&run);
        assert!(run.state() != RunState::Aborted || work == Work::Stopped, "{what}: {:?}", run.status);
        work.ended_well(&what, &scene, &run).await;
        witness.saw_one_set(&what, &run);
        states.push(run.state().as_str());
        let again = scene.orchestrator.find(&key.uid).await.unwrap();
        assert_eq!(again.run.state(), run.state(), "{what}: one end");
        scene.orchestrator.delete(&key, true).await.unwrap();
    }
    scene.is_clean().await;
    scene.orchestrator.clone().close().await.unwrap();
    println!("{what}: {states:?}");
    scene
}

async fn lane(mut scene: Scene, mut dice: Dice, count: &AtomicUsize, kills: usize) {
    scene.orchestrator.clone().close().await.unwrap();
    let namespace = scene.namespace.clone();
    loop {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        if number > kills {
            break;
        }
        scene = round(scene, &mut dice, number).await;
    }
    Scene::remove(&namespace).await;
}

/// So many orchestrators as `RUNTIMES_TEST_KILLS` says are killed, each with three runs.
pub(crate) fn at_any_moment() {
    let kills: usize = env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut dice, count) = (Dice::new(), AtomicUsize::new(0));
        let mut lanes = Vec::new();
        for _ in 0..LANES.min(kills) {
            let Some(scene) = Scene::new().await else { return };
            lanes.push(lane(scene, dice.split(), &count, kills));
        }
        futures_util::future::join_all(lanes).await;
    });
}
