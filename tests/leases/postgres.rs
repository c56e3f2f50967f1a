//! With PostgreSQL: deaths at every step, and a server that is away for longer than a lease.

use std::time::Duration;

use runtimes::{Orchestrator, RunState};

use crate::{
    chaos::{Order, Other, Scene, Work},
    end_of, only_run,
    server::Server,
    within,
};

const STEPS: [&str; 8] = [
    "after created",
    "before apply",
    "after apply",
    "before running",
    "after running",
    "event 20",
    "before end",
    "after end",
];

#[test]
fn runs_survive_every_step() {
    let Some(server) = Server::shared() else { return };
    for die in STEPS {
        let what = format!("dies {die}");
        let (scene, url) = (Scene::new(), server.fresh());
        let order = Order { die, store: &url, ..Order::run(Work::Shell) };
        assert!(!Other::start(&scene, order).end().success(), "{what}: did not die");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ended = runtime.block_on(async {
            let next = Orchestrator::builder(scene.home()).store_url(&url).open().await.unwrap();
            scene.settle_with(next, &what).await
        });
        scene.ended_well(&what, Work::Shell, &ended);
        scene.is_clean(&what);
    }
}

/// Where nobody else is there to take it, an orchestrator keeps a run whose lease it could not renew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_a_server_that_is_away() {
    let Some(server) = Server::start("-c fsync=off") else { return };
    let scene = Scene::new();
    let fifo = scene.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let lease = Duration::from_millis(300);
    let builder = Orchestrator::builder(scene.home()).store_url(server.fresh()).lease(lease);
    let orchestrator = builder.open().await.unwrap();
    let mut request = Work::Endless.request(&scene);
    request.function = request.function.with_args(["-c", "echo ready; read x <go; exit 3"]);
    let mut handle = orchestrator.submit(request).await.unwrap();
    while !matches!(handle.next().await, Some(runtimes::Update::Log(_))) {}
    let since = std::time::Instant::now();
    server.stop("immediate");
    std::fs::write(&fifo, "on\n").unwrap();
    server.again();
    assert!(since.elapsed() > lease / 3, "it was away for a while");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!((run.state(), run.status.exit_code), (RunState::Error, Some(3)));
    assert_eq!(*only_run(&orchestrator).await.run, run);
    assert_eq!(within(end_of(&orchestrator, &run.key())).await, run);
    within(orchestrator.close()).await.unwrap();
    scene.is_clean("away");
}
