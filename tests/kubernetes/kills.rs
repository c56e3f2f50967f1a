//! Parts of runs that are killed at any moment, on a cluster that does what a script says.

use std::time::Duration;

use runtimes::{
    Request, Run, RunState,
    cluster::kube::{Api, ResourceExt},
    core::{k8s_openapi::api::core::v1::Pod, testkit::cluster::Life},
};

use crate::{Scene, client, open, operator::Operator, pods, within};

/// One after the other, whatever part of a run is killed whenever: the run ends, and nothing of it is left. So often as
/// `RUNTIMES_TEST_KILLS` says, each of these parts, and the orchestrator. `check` is told what was killed, and how the run
/// ended, where it did not end well.
pub(crate) async fn at_any_moment(
    parts: &[&str],
    scene: impl AsyncFn() -> (Scene, Option<Operator>),
    request: fn() -> Request,
    check: impl Fn(&str, &Run),
) {
    let times =
        std::env::var("RUNTIMES_TEST_KILLS").ok().and_then(|times| times.parse().ok()).unwrap_or(2_u64);
    let mut random = u64::from(std::process::id());
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for part in parts.iter().copied().chain(["orchestrator"]) {
        for _ in 0..times {
            let (mut scene, _operator) = scene().await;
            let request = Request { detached: true, ..request() };
            let key = scene.orchestrator.submit(request).await.unwrap().key();
            let after = Duration::from_millis(below(200));
            tokio::time::sleep(after).await;
            let found = pods(&scene.cluster, part).into_iter().next();
            match (part, found) {
                ("orchestrator", _) => {
                    let Scene { cluster, orchestrator, home } = scene;
                    drop(orchestrator);
                    let orchestrator = open(&cluster, &home).await;
                    scene = Scene { cluster, orchestrator, home };
                }
                (_, Some(pod)) if below(2) == 0 => {
                    let life = Life::new().killed(9);
                    scene.cluster.then(&pod.namespace().unwrap(), &pod.name_any(), life);
                }
                (_, Some(pod)) => {
                    let api: Api<Pod> = Api::default_namespaced(client(&scene.cluster));
                    // It may have ended just now.
                    let _ = api.delete(&pod.name_any(), &Default::default()).await;
                }
                (_, None) => {}
            }
            scene.cluster.go("end");
            let handle = scene.orchestrator.watch(&key).await.unwrap();
            let run = within(handle.wait()).await.unwrap();
            println!("{part} after {after:?}: {} {:?}", run.state(), run.status.cause);
            if run.state() != RunState::Completed {
                assert_eq!(run.state(), RunState::Error, "{part} after {after:?}: {:?}", run.status.cause);
                check(part, &run);
            }
            scene.is_clean().await;
        }
    }
}
