//! Several orchestrators, in this process and others: closing, dropping, aborting, watching from elsewhere.

use runtimes::{Orchestrator, RunState, Update, core::store::RunFilter};

use crate::{
    chaos::{Order, Other, Scene, Work, scene::gone},
    shell, until_line, within,
};

const ENDLESS: &str = "echo $$ >>pids; echo ready; while :; do sleep 1000; done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_attached_runs_and_leaves_detached_ones() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut attached = orchestrator.submit(shell(scene.path(), ENDLESS)).await.unwrap();
    until_line(&mut attached, "ready").await;
    let mut request = shell(scene.path(), "echo ready; cat go");
    request.detached = true;
    let fifo = scene.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut detached = orchestrator.submit(request).await.unwrap();
    until_line(&mut detached, "ready").await;
    within(orchestrator.close()).await.unwrap();

    let next = Orchestrator::open(scene.home()).await.unwrap();
    assert_eq!(next.watch(&attached.key()).await.unwrap().wait().await.unwrap().state(), RunState::Aborted);
    let watched = next.watch(&detached.key()).await.unwrap();
    assert_eq!(next.find(&detached.key().uid).await.unwrap().run.state(), RunState::Running);
    std::fs::write(fifo, "going on\n").unwrap();
    assert_eq!(within(watched.wait()).await.unwrap().state(), RunState::Completed);
    next.close().await.unwrap();
    scene.is_clean("closed");
}

#[test]
fn dropping_kills_attached_runs() {
    for work in [Work::Shell, Work::Handler, Work::Forked, Work::Reuse] {
        let scene = Scene::new();
        scene.hold();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
            let mut handle = orchestrator.submit(work.request(&scene)).await.unwrap();
            until_line(&mut handle, "out 0").await;
        });
        drop(runtime);
        for (pid, command) in scene.processes() {
            assert!(gone(pid, std::time::Duration::from_secs(60)), "{work:?}: {command}");
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ended = runtime.block_on(scene.settle("dropped"));
        assert_eq!(ended[0].0.state(), RunState::Error, "{work:?}: {:?}", ended[0].0.status);
        assert_eq!(scene.starts(), 1, "{work:?}");
        scene.is_clean(&format!("{work:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_process_is_watched_live_and_aborted() {
    let scene = Scene::new();
    let mut other = Other::start(&scene, Order::run(Work::Endless));
    assert!(other.until("@line ready"));
    let here = Orchestrator::open(scene.home()).await.unwrap();
    let records = here.list(&RunFilter::default()).await.unwrap();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.run.state(), RunState::Running);
    assert!(here.orphans().await.unwrap().is_empty() && here.recover().await.unwrap().is_empty());
    let mut handle = here.watch(&record.run.key()).await.unwrap();
    until_line(&mut handle, "ready").await;
    let run = within(here.abort(&record.run.key())).await.unwrap();
    assert_eq!(run.state(), RunState::Aborted);
    while let Some(update) = within(handle.next()).await {
        if let Update::Run(run) = update {
            assert!(matches!(run.state(), RunState::Running | RunState::Aborting | RunState::Aborted));
        }
    }
    assert!(other.end().success());
    here.close().await.unwrap();
    assert_eq!(scene.starts(), 1);
    scene.is_clean("aborted from elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_outlives_the_orchestrator_that_it_was_for() {
    let scene = Scene::new();
    let mut other = Other::start(&scene, Order { die: "before abort", ..Order::run(Work::Endless) });
    assert!(other.until("@line ready"));
    let here = Orchestrator::open(scene.home()).await.unwrap();
    let key = here.list(&RunFilter::default()).await.unwrap()[0].run.key();
    // It dies of the request.
    let run = within(here.abort(&key)).await.unwrap();
    assert_eq!(run.state(), RunState::Aborted);
    assert!(!other.end().success());
    here.close().await.unwrap();
    scene.is_clean("aborted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_taken_up_by_one_of_many() {
    let scene = Scene::new();
    for _ in 0..3 {
        let mut other = Other::start(&scene, Order { detached: true, ..Order::run(Work::Endless) });
        assert!(other.until("@line ready"));
        other.kill();
    }
    let open = || async { Orchestrator::builder(scene.home()).recover(false).open().await.unwrap() };
    let (one, two) = (open().await, open().await);
    let (first, second) = tokio::join!(one.recover(), two.recover());
    let (first, second) = (first.unwrap(), second.unwrap());
    let mut keys: Vec<_> = first.iter().chain(&second).cloned().collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), first.len() + second.len()), (3, 3), "{first:?} {second:?}");
    for key in keys {
        assert_eq!(within(one.abort(&key)).await.unwrap().state(), RunState::Aborted);
    }
    assert_eq!(scene.starts(), 3);
    within(two.idle()).await;
    one.close().await.unwrap();
    two.close().await.unwrap();
    scene.is_clean("many");
}
