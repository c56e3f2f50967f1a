//! One watch for each type and namespace, shared by all runs there: what it sees is put on a board, where each run finds
//! its own.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use runtime_core::{
    k8s_openapi::api::{
        batch::v1::Job,
        core::v1::{Event, Pod},
    },
    labels,
    run::{Cause, Reason},
};
use serde::de::DeserializeOwned;

use super::{
    board::{Board, Known, id},
    call::Calls,
    error::{Ask, NEEDED, may_pass},
    seen::{self, JobSeen, Seen},
};

/// How long a look at one object is tried.
const LOOK: Duration = Duration::from_secs(60);

/// The watches of one namespace. They end when this is dropped.
pub(super) struct Watches {
    watch: Watch,
    /// By the type's name.
    tasks: HashMap<String, tokio::task::AbortHandle>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

/// The objects that are ours.
fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::RUNTIMES))
}

impl Watches {
    /// Watches pods, Jobs and warnings.
    pub(super) fn start(client: &Client, calls: &Arc<Calls>, namespace: &str, board: &Arc<Board>) -> Self {
        let watch = Watch {
            client: client.clone(),
            calls: Arc::clone(calls),
            namespace: namespace.to_owned(),
            board: Arc::downgrade(board),
        };
        let mut watches = Self { watch, tasks: HashMap::new() };
        watches.add::<Pod>(&ApiResource::erase::<Pod>(&()), ours());
        watches.add::<Job>(&ApiResource::erase::<Job>(&()), ours());
        let warnings = watcher::Config::default().fields("type=Warning");
        watches.add::<Event>(&ApiResource::erase::<Event>(&()), warnings);
        watches
    }

    /// Watches objects of an operator, too.
    pub(super) fn also(&mut self, resource: &ApiResource) {
        self.add::<DynamicObject>(resource, ours());
    }

    fn add<K: Watched>(&mut self, resource: &ApiResource, config: watcher::Config) {
        let watch = &self.watch;
        let start = || tokio::spawn(watch.clone().run::<K>(resource.clone(), config)).abort_handle();
        self.tasks.entry(resource.plural.clone()).or_insert_with(start);
    }
}

/// What a watch needs.
#[derive(Clone)]
struct Watch {
    client: Client,
    calls: Arc<Calls>,
    namespace: String,
    board: Weak<Board>,
}

/// A type of object that is watched.
trait Watched: ResourceExt<DynamicType: Send> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// Where they are asked for.
    fn api(client: Client, namespace: &str, resource: &ApiResource) -> Api<Self>;
    /// Puts it on the board.
    fn put(&self, board: &Board);
    /// It is not there any more.
    fn gone(&self, board: &Board);
    /// Those of a run that are there, as far as is known.
    fn known(_: &Seen, _kind: &str) -> Vec<Known> {
        Vec::new()
    }
    /// This one of a run is there no more.
    fn lost(_: &mut Seen, _: &Known) -> bool {
        false
    }
}

impl Watch {
    /// Watches for ever: a watch that breaks off goes on where it was, and one that was away for too long begins with a
    /// list.
    async fn run<K: Watched>(self, resource: ApiResource, config: watcher::Config) {
        let api = K::api(self.client.clone(), &self.namespace, &resource);
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            let Some(board) = self.board.upgrade() else { return };
            match event {
                Ok(event) => {
                    board.say(None);
                    match event {
                        watcher::Event::Init => listed.clear(),
                        watcher::Event::InitApply(object) => {
                            listed.insert(object.name_any());
                            object.put(&board);
                        }
                        watcher::Event::InitDone => {
                            self.look_for_missing::<K>(&resource, &board, &listed);
                        }
                        watcher::Event::Apply(object) => object.put(&board),
                        watcher::Event::Delete(object) => object.gone(&board),
                    }
                }
                Err(error) => {
                    let (kind, namespace) = (&resource.plural, &self.namespace);
                    tracing::debug!(%kind, namespace, %error, "a watch is made again");
                    if let Some((reason, trouble)) = trouble(&error) {
                        let cause = Cause::new(reason, format!("{kind} cannot be watched: {trouble}"));
                        board.say(Some(match reason {
                            Reason::Forbidden => cause.help(NEEDED),
                            _ => cause,
                        }));
                    }
                }
            }
        }
    }
}

impl Watch {
    /// Looks for those that a list should have had and had not. One that was made after the list is no loss: each is
    /// looked at by itself.
    fn look_for_missing<K: Watched>(
        &self,
        resource: &ApiResource,
        board: &Arc<Board>,
        listed: &HashSet<String>,
    ) {
        let known = |seen: &Seen| K::known(seen, &resource.kind);
        for (id, known) in board.unlisted(known, &self.namespace, listed) {
            let (watch, board, resource) = (self.clone(), Arc::clone(board), resource.clone());
            tokio::spawn(async move {
                let api = K::api(watch.client.clone(), &known.namespace, &resource);
                let plural = &resource.plural;
                let ask =
                    Ask { verb: "get", resource: plural, name: &known.name, namespace: &known.namespace };
                match watch.calls.ask(ask, LOOK, || api.get_opt(&known.name)).await {
                    Ok(Some(found)) if found.uid().as_deref() == Some(&known.uid) => found.put(&board),
                    Ok(_) => board.update(&id, |seen| K::lost(seen, &known)),
                    Err(error) => {
                        tracing::warn!(%error, resource = %plural, "what a list did not have cannot be looked at")
                    }
                }
            });
        }
    }
}

/// What of an error of a watch its runs should know: one that is simply made again is none.
fn trouble(error: &watcher::Error) -> Option<(Reason, String)> {
    let (watcher::Error::InitialListFailed(inner)
    | watcher::Error::WatchStartFailed(inner)
    | watcher::Error::WatchFailed(inner)) = error
    else {
        return None;
    };
    match inner {
        // Of a type that is taken away, no object is left that could be missed.
        kube::Error::Api(status) if !may_pass(inner) && !matches!(status.code, 404 | 410) => {
            let reason =
                if matches!(status.code, 401 | 403) { Reason::Forbidden } else { Reason::Unreachable };
            Some((reason, status.message.clone()))
        }
        kube::Error::Service(_) | kube::Error::HyperError(_)
            if matches!(
                error,
                watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_)
            ) =>
        {
            Some((Reason::Unreachable, "the API server does not answer".to_owned()))
        }
        _ => None,
    }
}

fn id_of(object: &impl ResourceExt) -> Option<String> {
    let labels = object.labels();
    Some(id(labels.get(labels::RUN)?, labels.get(labels::ATTEMPT)?))
}

impl Watched for Pod {
    fn api(client: Client, namespace: &str, _: &ApiResource) -> Api<Self> {
        Api::namespaced(client, namespace)
    }

    fn put(&self, board: &Board) {
        if let Some(id) = id_of(self) {
            board.put_pod(&id, seen::pod(self));
        }
    }

    fn gone(&self, board: &Board) {
        if let Some(id) = id_of(self) {
            board.gone(&id, seen::pod(self));
        }
    }

    fn known(seen: &Seen, _: &str) -> Vec<Known> {
        known_pods(seen)
    }

    fn lost(seen: &mut Seen, known: &Known) -> bool {
        lose_pod(seen, known)
    }
}

impl Watched for Job {
    fn api(client: Client, namespace: &str, _: &ApiResource) -> Api<Self> {
        Api::namespaced(client, namespace)
    }

    fn put(&self, board: &Board) {
        if let Some(id) = id_of(self) {
            board.put_job(&id, seen::job(self));
        }
    }

    fn gone(&self, board: &Board) {
        if let Some(id) = id_of(self) {
            board.put_job(&id, JobSeen { gone: true, ..seen::job(self) });
        }
    }

    fn known(seen: &Seen, kind: &str) -> Vec<Known> {
        known_jobs(seen, kind)
    }

    fn lost(seen: &mut Seen, known: &Known) -> bool {
        lose_job(seen, known)
    }
}

impl Watched for DynamicObject {
    fn api(client: Client, namespace: &str, resource: &ApiResource) -> Api<Self> {
        Api::namespaced_with(client, namespace, resource)
    }

    fn put(&self, board: &Board) {
        if let Some(id) = id_of(self) {
            board.put_job(&id, seen::custom(self));
        }
    }

    fn gone(&self, board: &Board) {
        if let Some(id) = id_of(self) {
            board.put_job(&id, JobSeen { gone: true, ..seen::custom(self) });
        }
    }

    fn known(seen: &Seen, kind: &str) -> Vec<Known> {
        known_jobs(seen, kind)
    }

    fn lost(seen: &mut Seen, known: &Known) -> bool {
        lose_job(seen, known)
    }
}

impl Watched for Event {
    fn api(client: Client, namespace: &str, _: &ApiResource) -> Api<Self> {
        Api::namespaced(client, namespace)
    }

    fn put(&self, board: &Board) {
        let Some(name) = &self.involved_object.name else { return };
        let Some(id) = board.run_of(name) else { return };
        let (reason, warning) = seen::warning(self);
        board.update(&id, |seen| {
            let new = seen.warnings.get(&reason) != Some(&warning);
            seen.warnings.insert(reason, warning);
            new
        });
    }

    /// It was too old to be kept; what it said stays true.
    fn gone(&self, _: &Board) {}
}

pub(super) fn known_pods(seen: &Seen) -> Vec<Known> {
    let there = seen.pods.values().filter(|pod| !pod.gone);
    there.map(|pod| Known::new(&pod.namespace, &pod.name, &pod.uid)).collect()
}

pub(super) fn lose_pod(seen: &mut Seen, known: &Known) -> bool {
    let pod = seen.pods.get_mut(&known.name).filter(|pod| pod.uid == known.uid && !pod.gone);
    pod.map(|pod| Arc::make_mut(pod).gone = true).is_some()
}

pub(super) fn known_jobs(seen: &Seen, kind: &str) -> Vec<Known> {
    let there = seen.job.iter().filter(|job| !job.gone && job.kind == kind);
    there.map(|job| Known::new(&job.namespace, &job.name, &job.uid)).collect()
}

pub(super) fn lose_job(seen: &mut Seen, known: &Known) -> bool {
    let job = seen.job.as_mut().filter(|job| job.uid == known.uid && !job.gone);
    job.map(|job| job.gone = true).is_some()
}
