//! All that the server keeps: objects, their history, who watches, what is to be done.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    access::Access,
    clock::{Clock, Timers},
    fault::Faults,
    job::Book,
    kubelet::Lives,
    logs::Logs,
    object::{Event, Key, Object, What},
    record::Records,
    resource::{self, Resource},
    same::same,
    status::Refusal,
};

/// Where a table is in [`World::tables`].
pub(super) type TableId = usize;

/// All objects of a resource.
pub(super) struct Table {
    pub(super) resource: Arc<Resource>,
    pub(super) objects: BTreeMap<Key, Arc<Object>>,
    /// The last changes, for watches that begin in the past.
    pub(super) history: VecDeque<Arc<Event>>,
    /// Watches can begin at this version, and later ones.
    pub(super) since: u64,
    pub(super) watchers: Vec<Watcher>,
    /// A registered one that was taken away again.
    pub(super) gone: bool,
}

/// What a watch is told.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    Event(Arc<Event>),
    /// All changes up to this version were sent.
    Bookmark(u64),
    /// What it would have to be told is not known any more.
    Expired,
    /// The connection breaks.
    Broken,
    End,
}

pub(super) struct Watcher {
    pub(super) id: u64,
    pub(super) to: UnboundedSender<Signal>,
}

/// What follows from a change, and is done before anybody is answered again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// A pod that needs a life.
    Born(Key),
    /// A pod's life goes on.
    Live(String),
    /// What a pod waited for is there.
    Released(String),
    /// A container that is a process on this machine.
    Execute(String),
    /// A pod is to end.
    Terminate(Key),
    Job(Key),
    Deployment(Key),
    ReplicaSet(Key),
    /// What an object that is gone, by its uid, owned.
    Disowned(String),
    /// Whether there is an owner.
    Owned(TableId, Key),
    /// An object that waits for what it owns.
    Deleting(TableId, Key),
    Namespace(String),
    /// The time of a grace, or of a TTL, is over.
    Expired(TableId, Key, String),
    /// A watch has lasted as long as it wanted.
    WatchOver(TableId, u64),
    /// A pod that may have been active for too long.
    Deadline(Key, String),
    /// A node that is lost so long that its pods are given up.
    NodeGone(String),
}

pub(super) struct World {
    pub(super) version: u64,
    pub(super) tables: Vec<Table>,
    by_name: HashMap<(String, String), TableId>,
    /// Where an object is, by its uid.
    pub(super) places: HashMap<String, (TableId, Key)>,
    /// Whom an owner owns, by their uids.
    pub(super) owned: HashMap<String, HashSet<String>>,
    pub(super) clock: Clock,
    pub(super) timers: Timers<Work>,
    pub(super) work: VecDeque<Work>,
    pub(super) lives: Lives,
    pub(super) logs: Logs,
    pub(super) faults: Faults,
    pub(super) access: Access,
    pub(super) records: Records,
    /// Lists of which pages are still to be fetched.
    pub(super) pages: VecDeque<(u64, u64, VecDeque<Arc<Object>>)>,
    pub(super) history: usize,
    pub(super) lost_nodes: HashSet<String>,
    pub(super) jobs: HashMap<String, Book>,
    /// Where the generator of numbers is.
    pub(super) numbers: u64,
}

pub(super) const PODS: (&str, &str) = ("", "pods");
pub(super) const JOBS: (&str, &str) = ("batch", "jobs");
pub(super) const DEPLOYMENTS: (&str, &str) = ("apps", "deployments");
pub(super) const REPLICA_SETS: (&str, &str) = ("apps", "replicasets");
pub(super) const NAMESPACES: (&str, &str) = ("", "namespaces");
pub(super) const NODES: (&str, &str) = ("", "nodes");
pub(super) const EVENTS: (&str, &str) = ("", "events");
pub(super) const QUOTAS: (&str, &str) = ("", "resourcequotas");
pub(super) const CRDS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            version: 1,
            tables: Vec::new(),
            by_name: HashMap::new(),
            places: HashMap::new(),
            owned: HashMap::new(),
            clock: Clock::new(),
            timers: Timers::default(),
            work: VecDeque::new(),
            lives: Lives::default(),
            logs: Logs::default(),
            faults: Faults::default(),
            access: Access::default(),
            records: Records::default(),
            pages: VecDeque::new(),
            history: 4096,
            lost_nodes: HashSet::new(),
            jobs: HashMap::new(),
            numbers: 0x9e37_79b9_7f4a_7c15,
        };
        for resource in resource::builtin() {
            world.register(resource);
        }
        world
    }

    /// Serves a resource; one of that name that is there gets the versions that it lacks.
    pub(super) fn register(&mut self, resource: Resource) {
        let name = (resource.group.clone(), resource.plural.clone());
        if let Some(&id) = self.by_name.get(&name) {
            let table = &mut self.tables[id];
            let mut known = Resource::clone(&table.resource);
            for version in resource.versions {
                if !known.versions.contains(&version) {
                    known.versions.push(version);
                }
            }
            table.resource = Arc::new(known);
            table.gone = false;
            return;
        }
        self.by_name.insert(name, self.tables.len());
        self.tables.push(Table {
            resource: Arc::new(resource),
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            since: self.version,
            watchers: Vec::new(),
            gone: false,
        });
    }

    pub(super) fn find(&self, group: &str, plural: &str) -> Option<TableId> {
        let id = *self.by_name.get(&(group.to_owned(), plural.to_owned()))?;
        (!self.tables[id].gone).then_some(id)
    }

    /// The table of a resource that is served in a version.
    pub(super) fn served(&self, group: &str, version: &str, plural: &str) -> Result<TableId, Refusal> {
        let id = self.find(group, plural).ok_or_else(Refusal::unknown)?;
        let served = self.tables[id].resource.versions.iter().any(|served| served == version);
        if served { Ok(id) } else { Err(Refusal::unknown()) }
    }

    /// The objects of a built-in resource.
    pub(super) fn table(&self, (group, plural): (&str, &str)) -> Option<&Table> {
        Some(&self.tables[self.find(group, plural)?])
    }

    pub(super) fn object(&self, name: (&str, &str), key: &Key) -> Option<Arc<Object>> {
        self.table(name)?.objects.get(key).cloned()
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<(TableId, Arc<Object>)> {
        let (id, key) = self.places.get(uid)?;
        Some((*id, self.tables[*id].objects.get(key)?.clone()))
    }

    /// Writes an object as it is, new or changed. Nothing is written that is as it was.
    pub(super) fn put(&mut self, id: TableId, value: Value) -> Arc<Object> {
        let key = key_of(&value);
        let before = self.tables[id].objects.get(&key).cloned();
        if let Some(before) = &before
            && same(&before.value, &value)
        {
            return before.clone();
        }
        self.version += 1;
        let object = Arc::new(Object::new(value, self.version));
        self.tables[id].objects.insert(key.clone(), object.clone());
        self.reown(&object, before.as_deref());
        let what = if before.is_some() { What::Modified } else { What::Added };
        if before.is_none() {
            self.places.insert(object.uid().to_owned(), (id, key.clone()));
        }
        self.tell(id, Event::new(what, object.clone(), before));
        self.follow(id, &key, &object, what);
        object
    }

    /// Removes an object for good.
    pub(super) fn remove(&mut self, id: TableId, key: &Key) -> Option<Arc<Object>> {
        let before = self.tables[id].objects.remove(key)?;
        self.version += 1;
        let object = Arc::new(Object::new(before.value.clone(), self.version));
        self.places.remove(object.uid());
        for owner in before.owners() {
            let uid = owner["uid"].as_str().unwrap_or_default();
            if let Some(owned) = self.owned.get_mut(uid) {
                owned.remove(object.uid());
                if owned.is_empty() {
                    self.owned.remove(uid);
                }
                if let Some((table, key)) = self.places.get(uid) {
                    self.work.push_back(Work::Deleting(*table, key.clone()));
                }
            }
        }
        if self.owned.contains_key(object.uid()) {
            self.work.push_back(Work::Disowned(object.uid().to_owned()));
        }
        self.tell(id, Event::new(What::Deleted, object.clone(), Some(before)));
        self.follow(id, key, &object, What::Deleted);
        Some(object)
    }

    /// Keeps who owns whom.
    fn reown(&mut self, object: &Object, before: Option<&Object>) {
        let owners = object.owners();
        if before.is_some_and(|before| before.owners() == owners) || (before.is_none() && owners.is_empty()) {
            return;
        }
        for owner in before.map(Object::owners).unwrap_or_default() {
            if let Some(owned) = self.owned.get_mut(owner["uid"].as_str().unwrap_or_default()) {
                owned.remove(object.uid());
            }
        }
        for owner in owners {
            let uid = owner["uid"].as_str().unwrap_or_default().to_owned();
            self.owned.entry(uid).or_default().insert(object.uid().to_owned());
        }
    }

    /// Tells all watches, and remembers it for later ones.
    fn tell(&mut self, id: TableId, event: Event) {
        let event = Arc::new(event);
        let table = &mut self.tables[id];
        table.watchers.retain(|watcher| watcher.to.send(Signal::Event(event.clone())).is_ok());
        table.history.push_back(event);
        while table.history.len() > self.history {
            if let Some(old) = table.history.pop_front() {
                table.since = old.object.version;
            }
        }
    }

    /// What controllers do next.
    fn follow(&mut self, id: TableId, key: &Key, object: &Object, what: What) {
        let resource = self.tables[id].resource.clone();
        if what == What::Added && !object.owners().is_empty() {
            self.work.push_back(Work::Owned(id, key.clone()));
        }
        if what != What::Deleted && object.being_deleted() {
            self.work.push_back(Work::Deleting(id, key.clone()));
        }
        match (resource.group.as_str(), resource.kind.as_str()) {
            ("", "Pod") => self.follow_pod(key, object, what),
            ("apiextensions.k8s.io", _) if what == What::Deleted => self.undefine(object),
            ("batch", "Job") if what != What::Deleted => self.work.push_back(Work::Job(key.clone())),
            ("apps", "Deployment") if what != What::Deleted => {
                self.work.push_back(Work::Deployment(key.clone()));
            }
            ("apps", "ReplicaSet") => {
                self.work.push_back(Work::ReplicaSet(key.clone()));
                self.controller_of(object);
            }
            _ => {}
        }
        if what == What::Deleted && resource.namespaced {
            let namespace = (String::new(), key.0.clone());
            if self.object(NAMESPACES, &namespace).is_some_and(|found| found.being_deleted()) {
                self.work.push_back(Work::Namespace(key.0.clone()));
            }
        }
    }

    fn follow_pod(&mut self, key: &Key, object: &Object, what: What) {
        match what {
            What::Added => self.work.push_back(Work::Born(key.clone())),
            What::Modified if object.being_deleted() => self.work.push_back(Work::Terminate(key.clone())),
            What::Modified => {}
            What::Deleted => {
                self.lives.forget(object.uid());
                self.logs.forget(object.uid());
            }
        }
        self.controller_of(object);
    }

    /// Whoever controls an object looks at what became of it.
    fn controller_of(&mut self, object: &Object) {
        let Some(owner) = object.owners().iter().find(|owner| owner["controller"] == true) else { return };
        let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        let key = (object.namespace().to_owned(), text("name"));
        match text("kind").as_str() {
            "Job" => self.work.push_back(Work::Job(key)),
            "ReplicaSet" => self.work.push_back(Work::ReplicaSet(key)),
            "Deployment" => self.work.push_back(Work::Deployment(key)),
            _ => {}
        }
    }

    pub(super) fn later(&mut self, after: Duration, work: Work) {
        self.timers.add(self.clock.elapsed() + after, work);
    }
}

pub(super) fn key_of(value: &Value) -> Key {
    let field = |name| value["metadata"][name].as_str().unwrap_or_default().to_owned();
    (field("namespace"), field("name"))
}
