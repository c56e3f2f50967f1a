//! What a test sees of the server, and writes past all clients.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{
    object::{Object, map},
    record::Seen,
    remove::Deletion,
    server::FakeCluster,
    world::{NAMESPACES, key_of},
};

impl FakeCluster {
    /// Creates an object, or makes it what is given: by no client, so that it is neither counted nor refused. Gives what
    /// is kept, or none where the resource is unknown.
    pub fn put(&self, object: &impl Serialize) -> Option<Value> {
        let mut value = serde_json::to_value(object).ok()?;
        let mut world = self.world();
        let (kind, version) = (value["kind"].as_str()?.to_owned(), value["apiVersion"].as_str()?.to_owned());
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let id = world.tables.iter().position(|table| table.resource.is(group, &kind))?;
        let kept = match world.tables[id].objects.get(&key_of(&value)).cloned() {
            Some(before) => {
                for field in ["uid", "creationTimestamp"] {
                    let kept = before.meta(field).cloned().unwrap_or_default();
                    map(&mut value["metadata"]).insert(field.to_owned(), kept);
                }
                world.put(id, value)
            }
            None => {
                world.stamp_new(&mut value);
                world.put(id, value)
            }
        };
        drop(world);
        self.settle();
        Some(kept.value.clone())
    }

    /// An object, by the plural of its resource, its namespace (empty where there is none) and its name.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.find(plural, namespace, name).map(|object| object.value.clone())
    }

    fn find(&self, plural: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = (namespace.to_owned(), name.to_owned());
        let world = self.world();
        let tables = world.tables.iter().filter(|table| table.resource.plural == plural && !table.gone);
        tables.filter_map(|table| table.objects.get(&key)).next().cloned()
    }

    /// All objects of a resource, in all namespaces.
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        let world = self.world();
        let tables = world.tables.iter().filter(|table| table.resource.plural == plural && !table.gone);
        tables.flat_map(|table| table.objects.values()).map(|object| object.value.clone()).collect()
    }

    /// Deletes an object at once, by no client, whatever its finalizers. Whether there was one.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let mut world = self.world();
        let Some(id) = world.tables.iter().position(|table| table.resource.plural == plural && !table.gone)
        else {
            return false;
        };
        if world.object(NAMESPACES, &key).is_some() && plural == "namespaces" {
            world.delete(id, &key, &Deletion::now());
        }
        let found = world.remove(id, &key).is_some();
        drop(world);
        self.settle();
        found
    }

    /// The last requests, in their order.
    pub fn requests(&self) -> Vec<Seen> {
        self.world().records.all()
    }

    /// How many requests there were of a verb on a resource; `*` stands for any, `pods/log` for a subresource.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        self.world().records.count(verb, resource)
    }

    /// Counts requests from zero.
    pub fn forget_requests(&self) {
        self.world().records.forget();
    }

    /// How many watches of a resource are open.
    pub fn watches(&self, plural: &str) -> usize {
        let world = self.world();
        let tables = world.tables.iter().filter(|table| table.resource.plural == plural);
        tables.flat_map(|table| &table.watchers).filter(|watcher| !watcher.to.is_closed()).count()
    }
}
