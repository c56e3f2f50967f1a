//! Quotas: what a namespace may have.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    call::Call,
    kubelet,
    object::Object,
    status::{Refusal, qualified},
    world::{PODS, QUOTAS, World},
};
use crate::pod::Quantity;

type Amounts = BTreeMap<String, Quantity>;

impl Call<'_> {
    /// Refuses a new object that its namespace has no room for.
    pub(super) fn admit(&mut self, value: &Value) -> Result<(), Refusal> {
        let Some(namespace) = self.request.namespace.clone().filter(|_| self.resource.namespaced) else {
            return Ok(());
        };
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let (group, plural) = (self.resource.group.clone(), self.resource.plural.clone());
        let forbidden = |why: &str| Err(Refusal::forbidden(&group, &plural, name, why));
        let what = qualified(&group, &plural);
        for quota in self.world.quotas(&namespace) {
            let Some(hard) = quota.at("/spec/hard").and_then(Value::as_object) else { continue };
            let (mut asked, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
            let wanted = amounts(&what, value);
            for (resource, limit) in hard {
                if self.resource.is_pod() && must_be_said(resource) && !wanted.contains_key(resource) {
                    return forbidden(&format!("failed quota: {}: must specify {resource}", quota.name()));
                }
                let Some(amount) = wanted.get(resource) else { continue };
                let limit: Quantity = limit.as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
                let there = self.world.used(&namespace, resource, self.id);
                if there.saturating_add(*amount) > limit {
                    asked.push(format!("{resource}={amount}"));
                    used.push(format!("{resource}={there}"));
                    limited.push(format!("{resource}={limit}"));
                }
            }
            if !asked.is_empty() {
                let (asked, used, limited) = (asked.join(","), used.join(","), limited.join(","));
                let quota = quota.name();
                return forbidden(&format!(
                    "exceeded quota: {quota}, requested: {asked}, used: {used}, limited: {limited}"
                ));
            }
        }
        Ok(())
    }
}

impl World {
    fn quotas(&self, namespace: &str) -> Vec<std::sync::Arc<Object>> {
        let Some(table) = self.table(QUOTAS) else { return Vec::new() };
        table.objects.iter().filter(|(key, _)| key.0 == namespace).map(|(_, quota)| quota.clone()).collect()
    }

    /// What a namespace has of a resource. It is counted anew each time: quotas are rare in tests.
    fn used(&self, namespace: &str, resource: &str, id: usize) -> Quantity {
        let table = &self.tables[id];
        let what = qualified(&table.resource.group, &table.resource.plural);
        let pods = self.find(PODS.0, PODS.1) == Some(id);
        let objects = table
            .objects
            .iter()
            .filter(|(key, object)| key.0 == namespace && !(pods && kubelet::ended(object)));
        let amounts = objects.filter_map(|(_, object)| amounts(&what, &object.value).remove(resource));
        amounts.fold(Quantity::default(), Quantity::saturating_add)
    }
}

/// Limits of these must be said by every pod where there is a quota for them.
fn must_be_said(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory")
}

/// What an object takes of each resource of quotas.
fn amounts(what: &str, value: &Value) -> Amounts {
    let one = || "1".parse::<Quantity>().unwrap_or_default();
    let mut all = Amounts::from([(format!("count/{what}"), one()), (what.to_owned(), one())]);
    if what != "pods" {
        return all;
    }
    for container in value["spec"]["containers"].as_array().into_iter().flatten() {
        for side in ["requests", "limits"] {
            for (name, amount) in container["resources"][side].as_object().into_iter().flatten() {
                let amount =
                    amount.as_str().and_then(|text| text.parse::<Quantity>().ok()).unwrap_or_default();
                let mut add = |name: String| {
                    let before = all.get(&name).copied().unwrap_or_default();
                    all.insert(name, before.saturating_add(amount));
                };
                add(format!("{side}.{name}"));
                if side == "requests" {
                    add(name.clone());
                }
            }
        }
    }
    all
}
