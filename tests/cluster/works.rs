//! Runs of which it is known what becomes of them, and a witness of what the cluster was made to hold for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use runtimes::{
    Request, Run, RunState,
    cluster::kube::{
        Api, Client, ResourceExt,
        runtime::{WatchStreamExt, watcher},
    },
    core::{
        k8s_openapi::api::{batch::v1::Job, core::v1::Pod},
        run::{Reason, RunKey},
        serde_json::json,
    },
};

use super::scene::{Scene, program, python};

/// A kind of run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// It ends well, with a result.
    Well,
    /// It ends with the exit code 3.
    Badly,
    /// Somebody may stop it while it runs.
    Stopped,
    /// It goes on until somebody stops it.
    Endless,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Well, Self::Badly, Self::Stopped];

    pub(crate) fn request(self) -> Request {
        let mut request = match self {
            Self::Badly => program("sh", &["-c", "for i in 0 1 2; do echo line $i; sleep 0.2; done; exit 3"]),
            Self::Well | Self::Stopped | Self::Endless => python(&format!(
                "import time\n\ndef fit(context, n: int):\n    for i in range({}):\n        print('line', i)\n        time.sleep(0.1)\n    context.log_result('twice', 2 * n)\n",
                self.lines()
            ))
            .handler("fit")
            .parameter("n", 21),
        };
        request.function.metadata.name = format!("{self:?}").to_lowercase();
        request.on("kubernetes")
    }

    /// Of which kind a run is.
    pub(crate) fn of(run: &Run) -> Self {
        let named = |work: &Self| run.spec.function.contains(&format!("/{work:?}@").to_lowercase());
        Self::ALL.into_iter().find(named).unwrap_or_else(|| panic!("{}", run.spec.function))
    }

    fn lines(self) -> usize {
        match self {
            Self::Well => 8,
            Self::Badly => 3,
            Self::Stopped => 30,
            Self::Endless => 6000,
        }
    }

    /// It came to the one end to which it had to come, with each line of its log once.
    pub(crate) async fn ended_well(self, what: &str, scene: &Scene, run: &Run) {
        let what = format!("{what}: {self:?}: {:?}", run.status);
        let lines = scene.log(run).await;
        let known: Vec<_> = (0..lines.len()).map(|i| format!("line {i}")).collect();
        assert_eq!(lines, known, "{what}");
        let may_be = matches!(self, Self::Stopped | Self::Endless);
        let stopped = run.state() == RunState::Aborted && may_be;
        if !stopped {
            assert_eq!(lines.len(), self.lines(), "{what}");
        }
        match self {
            _ if stopped => {}
            Self::Badly => {
                let reason = run.status.cause.as_ref().map(|cause| cause.reason);
                let end = (run.state(), run.status.exit_code, reason);
                assert_eq!(end, (RunState::Error, Some(3), Some(Reason::ExitCode)), "{what}");
            }
            _ => {
                assert_eq!((run.state(), run.status.exit_code), (RunState::Completed, Some(0)), "{what}");
                assert_eq!(run.status.results["twice"], json!(42), "{what}");
            }
        }
    }
}

/// The uids of objects, by their type and run.
type Seen = Arc<Mutex<BTreeMap<(&'static str, String), BTreeSet<String>>>>;

/// Sees each Job and pod that there ever was.
pub(crate) struct Witness {
    seen: Seen,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Witness {
    pub(crate) async fn new(client: &Client, namespace: &str) -> Self {
        let seen = Seen::default();
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
        let tasks = vec![watch("Pod", pods, &seen), watch("Job", jobs, &seen)];
        Self { seen, tasks }
    }

    /// How many objects of a type there were for a run.
    pub(crate) fn count(&self, kind: &'static str, key: &RunKey) -> usize {
        self.seen.lock().unwrap().get(&(kind, key.to_string())).map_or(0, BTreeSet::len)
    }

    /// There was one set of objects; of a run that was stopped there may have been none.
    pub(crate) fn saw_one_set(&self, what: &str, run: &Run) {
        let (jobs, pods) = (self.count("Job", &run.key()), self.count("Pod", &run.key()));
        let none = run.state() == RunState::Aborted && pods == 0 && jobs <= 1;
        assert!((jobs, pods) == (1, 1) || none, "{what}: {} has {jobs} Jobs, {pods} pods", run.key());
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn watch<K>(kind: &'static str, api: Api<K>, seen: &Seen) -> tokio::task::JoinHandle<()>
where
    K: ResourceExt + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let seen = Arc::clone(seen);
    tokio::spawn(async move {
        let config = watcher::Config::default().labels("runtimes/run");
        let mut objects = std::pin::pin!(watcher(api, config).default_backoff().touched_objects());
        while let Some(object) = objects.next().await {
            let Ok(object) = object else { continue };
            let (run, uid) = (object.labels()["runtimes/run"].clone(), object.uid().unwrap());
            seen.lock().unwrap().entry((kind, run)).or_default().insert(uid);
        }
    })
}

/// How long the end of a run may take on a machine that does much else.
pub(crate) const LONG: Duration = Duration::from_secs(240);
