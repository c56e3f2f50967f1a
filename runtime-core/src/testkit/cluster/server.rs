//! The handle that a test has.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::{
    access::Forbid,
    fault::Fault,
    life::{Life, NODE},
    resource::Resource,
    world::{PODS, Work, World},
};

type Script = dyn Fn(&Pod) -> Life + Send + Sync;

/// A Kubernetes API server in this process. Clones are the same server.
///
/// It has the namespaces `default`, `kube-system`, `kube-public` and `kube-node-lease`, and one node. Pods live as
/// [`on_pod`](Self::on_pod) says, or end well at once. See the [module](super) for an example.
#[derive(Clone)]
pub struct FakeCluster {
    inner: Arc<Inner>,
}

struct Inner {
    world: Mutex<World>,
    script: Mutex<Arc<Script>>,
    /// Told after each request and each act.
    changed: watch::Sender<()>,
    /// The next timer is another one.
    timers: Notify,
    /// For which one somebody waits.
    awaited: Mutex<Option<Duration>>,
}

impl fmt::Debug for FakeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeCluster").finish_non_exhaustive()
    }
}

impl Default for FakeCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCluster {
    /// A server that has just been started.
    pub fn new() -> Self {
        let (changed, _) = watch::channel(());
        let cluster = Self {
            inner: Arc::new(Inner {
                world: Mutex::new(World::new()),
                script: Mutex::new(Arc::new(|_| Life::completes())),
                changed,
                timers: Notify::new(),
                awaited: Mutex::new(None),
            }),
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            cluster.add_namespace(name);
        }
        cluster.world().add_node(NODE);
        cluster.settle();
        cluster
    }

    /// Serves a further resource, such as a custom one. Creating a `CustomResourceDefinition` does so, too.
    pub fn register(&self, resource: Resource) {
        self.world().register(resource);
        self.settle();
    }

    /// Adds a namespace.
    pub fn add_namespace(&self, name: &str) {
        self.put(&json!({
            "kind": "Namespace", "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        }));
    }

    /// How pods live that are created from now on. The script is asked once for each pod.
    pub fn on_pod(&self, script: impl Fn(&Pod) -> Life + Send + Sync + 'static) {
        *self.inner.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// What a pod does next, after all that it was to do anyway. Whether there is such a pod.
    pub fn then(&self, namespace: &str, name: &str, life: Life) -> bool {
        let mut world = self.world();
        let Some(pod) = world.object(PODS, &(namespace.to_owned(), name.to_owned())) else { return false };
        world.then(pod.uid(), life);
        drop(world);
        self.settle();
        true
    }

    /// Says a word, for now and ever: lives and requests that wait for it go on.
    pub fn go(&self, word: &str) {
        let mut world = self.world();
        for uid in world.lives.say(word) {
            world.released(&uid);
        }
        drop(world);
        self.settle();
    }

    pub(super) fn said(&self, word: &str) -> bool {
        self.world().lives.said(word)
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.all.push(fault);
    }

    /// Forbids something, for now and ever.
    pub fn forbid(&self, rule: Forbid) {
        self.world().access.rules.push(rule);
    }

    /// Takes all prohibitions and faults back.
    pub fn heal(&self) {
        let mut world = self.world();
        world.access.rules.clear();
        world.faults.all.clear();
    }

    /// Puts the server's clock forward; what is due by then happens.
    pub fn advance(&self, by: Duration) {
        self.world().clock.advance(by);
        self.settle();
    }

    /// Waits until something is true of the server. It is asked after each request and each act.
    pub async fn until(&self, mut reached: impl FnMut(&Self) -> bool) {
        let mut changed = self.inner.changed.subscribe();
        while !reached(self) {
            // The sender lives as long as this handle.
            let _ = changed.changed().await;
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.inner.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody may wait for what was noted.
    pub(super) fn tell(&self) {
        self.inner.changed.send_replace(());
    }

    /// Does all that follows from what was done.
    pub(super) fn settle(&self) {
        self.inner.settle();
        tick(&self.inner);
    }
}

/// The server, as processes know it that run for its pods: they do not keep it.
pub(super) struct Server(Weak<Inner>);

impl Server {
    /// Tells the server something; whether it is still there.
    pub(super) fn tell(&self, what: impl FnOnce(&mut World)) -> bool {
        let Some(inner) = self.0.upgrade() else { return false };
        what(&mut inner.world.lock().unwrap_or_else(PoisonError::into_inner));
        FakeCluster { inner }.settle();
        true
    }
}

impl Inner {
    /// When something is due next.
    fn next(&self) -> Option<Duration> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).timers.next()
    }

    fn settle(self: &Arc<Self>) {
        let lock = || self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let mut world = lock();
        loop {
            let now = world.clock.elapsed();
            while let Some(due) = world.timers.due(now) {
                world.work.push_back(due);
            }
            let Some(work) = world.work.pop_front() else { break };
            let key = match work {
                Work::Born(key) => key,
                Work::Execute(uid) => {
                    world.execute(&uid, Server(Arc::downgrade(self)));
                    continue;
                }
                work => {
                    world.work(work);
                    continue;
                }
            };
            let Some(pod) = world.object(PODS, &key) else { continue };
            // The script may ask the server.
            drop(world);
            let script = self.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let life =
                serde_json::from_value(pod.value.clone()).map_or_else(|_| Life::new(), |pod| script(&pod));
            world = lock();
            world.begin(pod.uid(), life);
        }
        drop(world);
        self.changed.send_replace(());
    }
}

/// Sees to it that somebody waits for what is due next.
fn tick(inner: &Arc<Inner>) {
    let mut awaited = inner.awaited.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(next) = inner.next() else { return };
    match *awaited {
        Some(awaited) if awaited <= next => {}
        Some(_) => inner.timers.notify_one(),
        None => {
            // Without a runtime, time goes on when the server is asked, or told.
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            *awaited = Some(next);
            drop(awaited);
            runtime.spawn(ticks(Arc::downgrade(inner)));
        }
    }
}

async fn ticks(server: Weak<Inner>) {
    while let Some(inner) = server.upgrade() {
        inner.settle();
        let wait = {
            let mut awaited = inner.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            *awaited = inner.next();
            let Some(next) = *awaited else { return };
            let world = inner.world.lock().unwrap_or_else(PoisonError::into_inner);
            next.saturating_sub(world.clock.elapsed())
        };
        // Not so long that a server that nobody has any more is kept.
        let wait = wait.min(Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = inner.timers.notified() => {}
        }
    }
}

impl World {
    /// Does one thing that follows from others.
    fn work(&mut self, work: Work) {
        match work {
            Work::Born(_) | Work::Execute(_) => {}
            Work::Live(uid) => self.live(&uid),
            Work::Released(uid) => self.released(&uid),
            Work::Terminate(key) => self.terminate(&key),
            Work::Job(key) => self.job(&key),
            Work::Deployment(key) => self.deployment(&key),
            Work::ReplicaSet(key) => self.replica_set(&key),
            Work::Disowned(uid) => self.disowned(&uid),
            Work::Owned(id, key) => {
                let uid = self.tables[id].objects.get(&key).map(|object| object.uid().to_owned());
                uid.iter().for_each(|uid| self.check_owners(uid));
            }
            Work::Deleting(id, key) => self.deleting(id, &key),
            Work::Namespace(name) => self.clear_namespace(&name),
            Work::Expired(id, key, uid) => self.expired(id, &key, &uid),
            Work::WatchOver(table, id) => self.watch_over(table, id),
            Work::Deadline(key, uid) => {
                if let Some(pod) = self.object(PODS, &key).filter(|pod| pod.uid() == uid) {
                    self.deadline(&pod);
                }
            }
            Work::NodeGone(name) => self.node_gone(&name),
        }
    }
}
