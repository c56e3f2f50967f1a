//! The node stops answering for a while, with pods on it. It needs a cluster that may be hurt: where `RUNTIMES_TEST_KUBELET`
//! is a shell command that sends the kubelet the signal `$1`, as `pkill -"$1" -x kubelet` does.

use std::time::Duration;

use runtimes::{
    Request, RunState, Update,
    core::{
        run::{Reason, RunKey},
        serde_json::{from_value, json},
    },
};

use super::{
    scene::{Scene, program},
    works::LONG,
};

const KUBELET: &str = "RUNTIMES_TEST_KUBELET";

/// A kubelet that is stopped, for as long as this lives.
struct Silence(String);

impl Silence {
    fn begin(command: String) -> Self {
        let silence = Self(command);
        silence.signal("STOP");
        silence
    }

    fn signal(&self, signal: &str) {
        let status = std::process::Command::new("sh").args(["-c", &self.0, "sh", signal]).status();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "{} {signal}: {status:?}", self.0);
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

/// Says "begun", and goes on until a file is in this scene's folder; then it says "ended", and fails.
fn patient(scene: &Scene) -> Request {
    let folder = scene.home.path();
    let script =
        format!("echo begun; until [ -e {}/go ]; do sleep 0.1; done; echo ended; exit 5", folder.display());
    let mut request = program("sh", &["-c", &script]);
    let volume = json!({"name": "folder", "hostPath": {"path": folder}});
    let mount = json!({"name": "folder", "mountPath": folder});
    request.function = request
        .function
        .with_volume(from_value(volume).unwrap())
        .with_volume_mount(from_value(mount).unwrap());
    Request { detached: true, ..request.on("kubernetes") }
}

/// Waits until a running run's cause is this.
async fn cause(scene: &Scene, key: &RunKey, reason: Reason) -> String {
    let mut handle = scene.orchestrator.watch(key).await.unwrap();
    let wait = async {
        loop {
            if let Some(Update::Run(run)) = handle.next().await {
                let cause = run.status.cause.as_ref();
                if cause.map(|cause| cause.reason) == Some(reason) {
                    assert_eq!(run.state(), RunState::Running);
                    return cause.map(|cause| cause.message.clone()).unwrap_or_default();
                }
            }
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it is seen")
}

/// What runs there goes on, and is told from what is lost; what is stopped is given up, and taken away when the node is back.
pub(crate) async fn silent(scene: Scene) {
    let Some(command) = std::env::var(KUBELET).ok().filter(|command| !command.is_empty()) else {
        println!("not run: {KUBELET} is no command that sends a signal to the kubelet of KUBECONFIG");
        return;
    };
    let begun = async || {
        let key = scene.orchestrator.submit(patient(&scene)).await.unwrap().key();
        scene.wait_for_line(&key, "begun").await;
        key
    };
    let (goes_on, stopped) = tokio::join!(begun(), begun());
    let silence = Silence::begin(command);
    for key in [&goes_on, &stopped] {
        let said = cause(&scene, key, Reason::NodeLost).await;
        assert!(said.contains("does not answer"), "{said}");
    }
    let abort = scene.orchestrator.abort_within(&stopped, Some(Duration::from_secs(1)));
    let run = tokio::time::timeout(LONG, abort).await.expect("it is given up").unwrap();
    assert_eq!(run.state(), RunState::Aborted, "{:?}", run.status.cause);
    std::fs::write(scene.home.path().join("go"), "").unwrap();
    drop(silence);

    let run = tokio::time::timeout(LONG, scene.orchestrator.watch(&goes_on).await.unwrap().wait());
    let run = run.await.expect("it ends").unwrap();
    assert_eq!((run.state(), run.status.exit_code), (RunState::Error, Some(5)), "{:?}", run.status.cause);
    assert_eq!(run.status.cause.as_ref().unwrap().reason, Reason::ExitCode);
    assert_eq!(scene.log(&run).await, ["begun", "ended"]);
    scene.is_clean().await;
}
