//! One watch for each type and namespace, shared by all runs there: what it sees is put on a board, where each run finds
//! its own.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use runtime_core::{
    k8s_openapi::{
        NamespaceResourceScope,
        api::{
            batch::v1::Job,
            core::v1::{Event, Pod},
        },
    },
    labels,
};
use serde::de::DeserializeOwned;
use tokio::sync::watch as channel;

use super::{
    call::Calls,
    error::{Ask, may_pass},
    seen::{self, PodSeen, Seen},
};

/// How long a look at one object is tried.
const LOOK: Duration = Duration::from_secs(60);

/// What is seen of the runs that somebody follows.
#[derive(Default)]
pub(super) struct Board {
    entries: Mutex<Entries>,
    /// Why nothing is seen at the moment.
    trouble: channel::Sender<Option<String>>,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<String, Entry>,
    /// Objects by name: the run that they belong to.
    names: HashMap<String, String>,
}

struct Entry {
    seen: Seen,
    changed: channel::Sender<()>,
}

/// Which attempt of which run an object belongs to.
pub(super) fn id(run: &str, attempt: &str) -> String {
    format!("{run}/{attempt}")
}

impl Board {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is seen of a run, where somebody follows it.
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut Seen) -> bool) {
        let mut entries = self.entries();
        if let Some(entry) = entries.by_id.get_mut(id)
            && change(&mut entry.seen)
        {
            entry.changed.send_replace(());
        }
    }

    /// Keeps what is seen of a pod.
    pub(super) fn put_pod(&self, id: &str, pod: PodSeen) {
        let name = pod.name.clone();
        let mut followed = false;
        self.update(id, |seen| {
            followed = true;
            match seen.pods.get(&pod.name) {
                Some(known) if *known == pod => false,
                // The last word about a pod that is gone has been said.
                Some(known) if known.gone && known.uid == pod.uid => false,
                _ => {
                    seen.pods.insert(pod.name.clone(), pod);
                    true
                }
            }
        });
        if followed {
            self.entries().names.insert(name, id.to_owned());
        }
    }

    fn gone(&self, id: &str, pod: PodSeen) {
        self.update(id, |seen| {
            let last = seen.pods.entry(pod.name.clone()).or_default();
            let new = !last.gone;
            // Its last state came before, or comes with its end.
            *last = PodSeen { gone: true, ..pod };
            new
        });
    }

    /// The run that an object of this name belongs to; pods of a Job have its name, and five letters.
    fn run_of(&self, name: &str) -> Option<String> {
        let entries = self.entries();
        let of_job = || entries.names.get(name.rsplit_once('-')?.0);
        entries.names.get(name).or_else(of_job).cloned()
    }

    /// Begins to keep what is seen of a run whose main object has this name.
    pub(super) fn follow(self: &Arc<Self>, id: String, name: &str) -> Followed {
        let (changed, receiver) = channel::channel(());
        let mut entries = self.entries();
        entries.names.insert(name.to_owned(), id.clone());
        entries.by_id.insert(id.clone(), Entry { seen: Seen::default(), changed });
        Followed { board: Arc::clone(self), id, changes: receiver, trouble: self.trouble.subscribe() }
    }

    fn say(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|known| {
            let new = known.is_some() != trouble.is_some();
            if new {
                *known = trouble;
            }
            new
        });
    }
}

/// A run whose objects are watched, until it is dropped.
pub(super) struct Followed {
    board: Arc<Board>,
    id: String,
    changes: channel::Receiver<()>,
    trouble: channel::Receiver<Option<String>>,
}

impl Followed {
    /// What is seen now.
    pub(super) fn seen(&self) -> Seen {
        self.board.entries().by_id.get(&self.id).map(|entry| entry.seen.clone()).unwrap_or_default()
    }

    /// Waits for the next change.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            _ = self.changes.changed() => {}
            _ = self.trouble.changed() => {}
        }
    }

    /// Why nothing is seen at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut entries = self.board.entries();
        entries.by_id.remove(&self.id);
        let id = &self.id;
        entries.names.retain(|_, of| of != id);
    }
}

/// The watches of one namespace. They end when this is dropped.
pub(super) struct Watches(Vec<tokio::task::AbortHandle>);

impl Drop for Watches {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Watches {
    /// Watches pods, Jobs and warnings.
    pub(super) fn start(client: &Client, calls: &Arc<Calls>, namespace: &str, board: &Arc<Board>) -> Self {
        let ours = watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::RUNTIMES));
        let warnings = watcher::Config::default().fields("type=Warning");
        let watch = Watch {
            client: client.clone(),
            calls: Arc::clone(calls),
            namespace: namespace.to_owned(),
            board: Arc::downgrade(board),
        };
        Self(vec![
            tokio::spawn(watch.clone().run::<Pod>(ours.clone())).abort_handle(),
            tokio::spawn(watch.clone().run::<Job>(ours)).abort_handle(),
            tokio::spawn(watch.run::<Event>(warnings)).abort_handle(),
        ])
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
trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// Puts it on the board.
    fn put(&self, board: &Board);
    /// It is not there any more.
    fn gone(&self, board: &Board);
    /// Looks for those that a list should have had and had not.
    fn missing(_: &Watch, _: &Arc<Board>, _: &HashSet<String>) {}
}

impl Watch {
    /// Watches for ever: a watch that breaks off goes on where it was, and one that was away for too long begins with a
    /// list.
    async fn run<K: Watched>(self, config: watcher::Config) {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
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
                        watcher::Event::InitDone => K::missing(&self, &board, &listed),
                        watcher::Event::Apply(object) => object.put(&board),
                        watcher::Event::Delete(object) => object.gone(&board),
                    }
                }
                Err(error) => {
                    let (kind, namespace) = (K::plural(&()), &self.namespace);
                    tracing::debug!(%kind, namespace, %error, "a watch is made again");
                    if let Some(trouble) = trouble(&error) {
                        board.say(Some(format!("{kind} cannot be watched: {trouble}")));
                    }
                }
            }
        }
    }
}

/// What of an error of a watch its runs should know: one that is simply made again is none.
fn trouble(error: &watcher::Error) -> Option<String> {
    let (watcher::Error::InitialListFailed(inner)
    | watcher::Error::WatchStartFailed(inner)
    | watcher::Error::WatchFailed(inner)) = error
    else {
        return None;
    };
    match inner {
        kube::Error::Api(status) if !may_pass(inner) && status.code != 410 => Some(status.message.clone()),
        kube::Error::Service(_) | kube::Error::HyperError(_)
            if matches!(
                error,
                watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_)
            ) =>
        {
            Some("the API server does not answer".to_owned())
        }
        _ => None,
    }
}

fn id_of(object: &impl ResourceExt) -> Option<String> {
    let labels = object.labels();
    Some(id(labels.get(labels::RUN)?, labels.get(labels::ATTEMPT)?))
}

impl Watched for Pod {
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

    fn missing(watch: &Watch, board: &Arc<Board>, listed: &HashSet<String>) {
        let lost: Vec<(String, PodSeen)> = {
            let entries = board.entries();
            let all = entries
                .by_id
                .iter()
                .flat_map(|(id, entry)| entry.seen.pods.values().map(move |pod| (id.clone(), pod.clone())));
            all.filter(|(_, pod)| {
                !pod.gone && pod.namespace == watch.namespace && !listed.contains(&pod.name)
            })
            .collect()
        };
        // One that was made after the list is no loss: each is looked at by itself.
        for (id, pod) in lost {
            let (watch, board) = (watch.clone(), Arc::clone(board));
            tokio::spawn(async move {
                let api: Api<Pod> = Api::namespaced(watch.client.clone(), &pod.namespace);
                let ask = Ask { verb: "get", resource: "pods", name: &pod.name, namespace: &pod.namespace };
                match watch.calls.ask(ask, LOOK, || api.get_opt(&pod.name)).await {
                    Ok(Some(found)) if found.uid().as_deref() == Some(&pod.uid) => found.put(&board),
                    Ok(_) => board.gone(&id, pod),
                    Err(error) => {
                        tracing::warn!(%error, "a pod that a list did not have cannot be looked at")
                    }
                }
            });
        }
    }
}

impl Watched for Job {
    fn put(&self, board: &Board) {
        let Some(id) = id_of(self) else { return };
        let job = seen::job(self);
        board.update(&id, |seen| {
            let new = seen.job.as_ref() != Some(&job);
            seen.job = Some(job);
            new
        });
    }

    fn gone(&self, board: &Board) {
        let Some(id) = id_of(self) else { return };
        let job = seen::JobSeen { gone: true, ..seen::job(self) };
        board.update(&id, |seen| {
            seen.job = Some(job);
            true
        });
    }
}

impl Watched for Event {
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
