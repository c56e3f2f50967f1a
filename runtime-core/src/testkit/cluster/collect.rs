//! What follows from deletions: what was owned, what waits to be gone, namespaces.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    object::{Key, Object, metadata},
    remove::{Deletion, Propagation},
    world::{NAMESPACES, TableId, World},
};

impl World {
    /// An owner is gone: what nobody owns any more goes, too.
    pub(super) fn disowned(&mut self, uid: &str) {
        for owned in self.owned_by(uid) {
            self.check_owners(&owned);
        }
    }

    fn owned_by(&self, uid: &str) -> Vec<String> {
        let mut owned: Vec<_> = self.owned.get(uid).into_iter().flatten().cloned().collect();
        owned.sort();
        owned
    }

    /// Deletes an object of which no owner is left; forgets those that are gone where others are left.
    pub(super) fn check_owners(&mut self, uid: &str) {
        let Some((id, object)) = self.by_uid(uid) else { return };
        let owners = object.owners();
        if owners.is_empty() {
            return;
        }
        let left: Vec<_> =
            owners.iter().filter(|owner| self.owner_is_there(owner, &object)).cloned().collect();
        if left.is_empty() {
            self.delete(id, &object.key(), &Deletion::background());
        } else if left.len() < owners.len() {
            let mut value = object.value.clone();
            metadata(&mut value).insert("ownerReferences".to_owned(), Value::Array(left));
            self.put(id, value);
        }
    }

    fn owner_is_there(&self, owner: &Value, of: &Object) -> bool {
        let Some((id, found)) = owner["uid"].as_str().and_then(|uid| self.by_uid(uid)) else { return false };
        let same_place = !self.tables[id].resource.namespaced || found.namespace() == of.namespace();
        same_place && owner["name"] == found.name() && owner["kind"] == found.value["kind"]
    }

    /// An object that is being deleted: does what its finalizers of the server ask for, and removes it when none is left.
    pub(super) fn deleting(&mut self, id: TableId, key: &Key) {
        let Some(object) = self.tables[id].objects.get(key).cloned().filter(|object| object.being_deleted())
        else {
            return;
        };
        let finalizers = object.finalizers();
        if finalizers.contains(&"orphan") {
            for owned in self.owned_by(object.uid()) {
                self.orphan(&owned, object.uid());
            }
            return self.without_finalizer(id, &object, "orphan");
        }
        if finalizers.contains(&"foregroundDeletion") {
            let owned = self.owned_by(object.uid());
            let mut blocked = false;
            for owned in owned {
                blocked |= self.delete_owned(&owned, object.uid());
            }
            if !blocked {
                self.without_finalizer(id, &object, "foregroundDeletion");
            }
            return;
        }
        let grace = object.meta("deletionGracePeriodSeconds").and_then(Value::as_u64).unwrap_or_default();
        let namespace = self.tables[id].resource.is("", "Namespace");
        if finalizers.is_empty() && grace == 0 && !namespace {
            self.remove(id, key);
        }
    }

    /// Deletes what an owner owns that is deleted in the foreground. Whether it keeps the owner from going.
    fn delete_owned(&mut self, uid: &str, owner: &str) -> bool {
        let Some((id, object)) = self.by_uid(uid) else { return false };
        let blocks =
            object.owners().iter().any(|one| one["uid"] == owner && one["blockOwnerDeletion"] == true);
        if !object.being_deleted() {
            let owns = self.owned.contains_key(uid);
            let propagation = if owns { Propagation::Foreground } else { Propagation::Background };
            self.delete(id, &object.key(), &Deletion { propagation, ..Deletion::background() });
        }
        blocks && self.places.contains_key(uid)
    }

    /// Removes an owner from what it owned.
    fn orphan(&mut self, uid: &str, owner: &str) {
        let Some((id, object)) = self.by_uid(uid) else { return };
        let left: Vec<_> = object.owners().iter().filter(|one| one["uid"] != owner).cloned().collect();
        let mut value = object.value.clone();
        if left.is_empty() {
            metadata(&mut value).shift_remove("ownerReferences");
        } else {
            metadata(&mut value).insert("ownerReferences".to_owned(), Value::Array(left));
        }
        self.put(id, value);
    }

    fn without_finalizer(&mut self, id: TableId, object: &Arc<Object>, finalizer: &str) {
        let left: Vec<_> = object.finalizers().into_iter().filter(|one| *one != finalizer).collect();
        let mut value = object.value.clone();
        if left.is_empty() {
            metadata(&mut value).shift_remove("finalizers");
        } else {
            metadata(&mut value).insert("finalizers".to_owned(), json!(left));
        }
        self.put(id, value);
    }

    /// A namespace that is being deleted: what is in it goes first.
    pub(super) fn clear_namespace(&mut self, name: &str) {
        let key = (String::new(), name.to_owned());
        let Some(namespaces) = self.find(NAMESPACES.0, NAMESPACES.1) else { return };
        if !self.object(NAMESPACES, &key).is_some_and(|found| found.being_deleted()) {
            return;
        }
        let mut left = false;
        for id in 0..self.tables.len() {
            if !self.tables[id].resource.namespaced {
                continue;
            }
            let from = (name.to_owned(), String::new());
            let inside = self.tables[id].objects.range(from..).take_while(|(key, _)| key.0 == name);
            let inside: Vec<_> = inside.map(|(key, object)| (key.clone(), object.being_deleted())).collect();
            for (key, begun) in inside {
                if !begun {
                    self.delete(id, &key, &Deletion::background());
                }
                left |= self.tables[id].objects.contains_key(&key);
            }
        }
        if !left {
            self.remove(namespaces, &key);
        }
    }
}
