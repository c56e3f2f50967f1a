//! Several orchestrators with one store, in one home and in several: each run is followed by exactly one; when that one
//! dies, another takes over, or says that the run is lost, as soon as its lease is over.
#![cfg(all(feature = "sqlite", feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod chaos;
#[path = "leases/postgres.rs"]
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod server;

use std::{path::PathBuf, time::Duration};

use chaos::{Order, Other, Scene, Work};
use runtimes::{
    ErrorKind, Orchestrator, Run, RunState,
    core::{
        run::{Reason, RunKey},
        store::{DocumentFilter, RunFilter, RunRecord},
    },
};
use rustix::process::Signal;

/// The lease of those that are to be found dead soon.
const SHORT: Duration = Duration::from_millis(1500);

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    chaos::other();
}

/// A store that does not belong to a home.
struct Shared {
    address: String,
    #[cfg(feature = "postgres")]
    _server: Option<std::sync::Arc<server::Server>>,
}

impl Shared {
    /// One of each sort that there is here.
    fn all(scene: &Scene) -> Vec<Self> {
        let file = Self {
            address: format!("sqlite:{}", scene.path().join("shared.db").display()),
            #[cfg(feature = "postgres")]
            _server: None,
        };
        #[cfg(feature = "postgres")]
        if let Some(server) = server::Server::shared() {
            return vec![file, Self { address: server.fresh(), _server: Some(server) }];
        }
        vec![file]
    }

    /// An orchestrator of this home, with a short lease.
    async fn open(&self, scene: &Scene, home: &str) -> Orchestrator {
        let builder = Orchestrator::builder(scene.path().join(home)).store_url(&self.address).lease(SHORT);
        builder.open().await.unwrap()
    }

    /// What is done in another process, in the home `home`.
    fn order(&self, work: Work) -> Order<'_> {
        Order { store: &self.address, lease: SHORT, ..Order::run(work) }
    }
}

/// Does this in a fresh scene for each sort of store.
fn in_each_store(test: impl AsyncFn(&Scene, &Shared)) {
    let sorts = Shared::all(&Scene::new()).len();
    for sort in 0..sorts {
        let scene = Scene::new();
        let shared = Shared::all(&scene).swap_remove(sort);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { within(test(&scene, &shared)).await });
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("it takes for ever"))
}

async fn only_run(orchestrator: &Orchestrator) -> RunRecord {
    let mut runs = orchestrator.list(&RunFilter::default()).await.unwrap();
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

async fn end_of(orchestrator: &Orchestrator, key: &RunKey) -> Run {
    orchestrator.watch(key).await.unwrap().wait().await.unwrap()
}

async fn leases(orchestrator: &Orchestrator) -> usize {
    orchestrator.store().list_documents(&DocumentFilter::of("owner")).await.unwrap().len()
}

fn home(scene: &Scene, name: &str) -> PathBuf {
    scene.path().join(name)
}

#[test]
fn a_standby_in_the_same_home_takes_over() {
    in_each_store(async |scene, shared| {
        let standby = shared.open(scene, "home").await;
        let mut other = Other::start(scene, Order { detached: true, ..shared.order(Work::Shell) });
        assert!(other.until("@line out 0"));
        let key = only_run(&standby).await.run.key();
        other.kill();
        // Nobody asks it to.
        let run = end_of(&standby, &key).await;
        assert_eq!((run.state(), run.status.exit_code), (RunState::Error, Some(7)), "{:?}", run.status);
        let ended = scene.settle_with(standby, "taken over").await;
        scene.ended_well("taken over", Work::Shell, &ended);
        scene.is_clean("taken over");
    });
}

#[test]
fn a_run_of_another_home_is_left_alone_until_its_orchestrator_is_gone_and_lost_then() {
    in_each_store(async |scene, shared| {
        let far = shared.open(scene, "far").await;
        let mut other = Other::start(scene, Order { detached: true, ..shared.order(Work::Endless) });
        assert!(other.until("@line ready"));
        let record = only_run(&far).await;
        assert_eq!(record.run.state(), RunState::Running);
        assert!(far.orphans().await.unwrap().is_empty() && far.recover().await.unwrap().is_empty());
        other.kill();
        let run = end_of(&far, &record.run.key()).await;
        let cause = run.status.cause.unwrap();
        assert_eq!((run.status.state, cause.reason), (RunState::Error, Reason::Lost));
        let place = home(scene, "home").display().to_string();
        assert!(cause.message.contains(&place), "it says where: {}", cause.message);
        assert_eq!(scene.starts(), 1, "it was not started again");

        // What it left goes when its home is opened again.
        let back = shared.open(scene, "home").await;
        assert_eq!(only_run(&back).await.run.status.error.as_deref(), Some(cause.message.as_str()));
        far.recover().await.unwrap();
        back.close().await.unwrap();
        scene.is_clean("lost");
        assert_eq!(leases(&far).await, 0, "leases that are over are forgotten");
        far.close().await.unwrap();
        scene.is_clean_in("far", &home(scene, "far"));
    });
}

#[test]
fn a_run_is_watched_and_aborted_from_another_home() {
    in_each_store(async |scene, shared| {
        let far = shared.open(scene, "far").await;
        let mut other = Other::start(scene, shared.order(Work::Endless));
        assert!(other.until("@line ready"));
        let key = only_run(&far).await.run.key();
        assert_eq!(far.abort(&key).await.unwrap().state(), RunState::Aborted);
        assert!(other.end().success());
        scene.is_clean("aborted from afar");
    });
}

/// Suspended, it cannot renew its lease; when it goes on, the run is not its own any more.
#[test]
fn one_that_was_suspended_for_too_long_gives_up_what_others_ended() {
    in_each_store(async |scene, shared| {
        let far = shared.open(scene, "far").await;
        let mut other = Other::start(scene, shared.order(Work::Endless));
        assert!(other.until("@line ready"));
        let key = only_run(&far).await.run.key();
        other.signal(Signal::STOP);
        let lost = end_of(&far, &key).await;
        assert_eq!(lost.status.cause.as_ref().map(|cause| cause.reason), Some(Reason::Lost));
        other.signal(Signal::CONT);
        assert!(other.until("@error"), "it tells whoever waits what is recorded");
        assert!(other.end().success());
        assert_eq!(*only_run(&far).await.run, lost, "what is recorded stays");
        scene.is_clean("suspended");
    });
}

#[test]
fn what_was_left_on_purpose_in_another_home_goes_on_there() {
    in_each_store(async |scene, shared| {
        let near = shared.open(scene, "home").await;
        let mut request = Work::Endless.request(scene);
        request.detached = true;
        let key = near.run_detached(request).await.unwrap();
        let mut handle = near.watch(&key).await.unwrap();
        while !matches!(handle.next().await, Some(runtimes::Update::Log(_))) {}
        near.close().await.unwrap();

        let far = shared.open(scene, "far").await;
        assert!(far.orphans().await.unwrap().is_empty(), "it is neither free nor lost");
        let error = far.abort(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let place = home(scene, "home").display().to_string();
        assert!(error.message().contains(&place) && error.help_text().is_some(), "{error}");
        assert_eq!(only_run(&far).await.run.state(), RunState::Aborting);

        let back = shared.open(scene, "home").await;
        assert_eq!(end_of(&back, &key).await.state(), RunState::Aborted);
        back.close().await.unwrap();
        scene.is_clean("left");
    });
}

/// Of many that see an orchestrator die, one takes each of its runs.
#[test]
fn one_of_many_takes_over() {
    in_each_store(async |scene, shared| {
        let mut standbys = Vec::new();
        for _ in 0..4 {
            standbys.push(shared.open(scene, "home").await);
        }
        let mut others = Vec::new();
        for _ in 0..2 {
            let mut other = Other::start(scene, Order { detached: true, ..shared.order(Work::Endless) });
            assert!(other.until("@line ready"));
            others.push(other);
        }
        for other in others {
            other.kill();
        }
        let mut changes = standbys[0].store().changes();
        let dead: Vec<String> = owners(&standbys[0]).await;
        while owners(&standbys[0]).await.iter().any(|owner| dead.contains(owner)) {
            changes.changed().await.unwrap();
        }
        for record in standbys[0].list(&RunFilter::default()).await.unwrap() {
            assert_eq!(standbys[1].abort(&record.run.key()).await.unwrap().state(), RunState::Aborted);
        }
        assert_eq!(scene.starts(), 2, "none was started again");
        for standby in standbys {
            standby.close().await.unwrap();
        }
        scene.is_clean("many");
    });
}

async fn owners(orchestrator: &Orchestrator) -> Vec<String> {
    let runs = orchestrator.list(&RunFilter::active()).await.unwrap();
    runs.into_iter().map(|record| record.owner).collect()
}
