//! The controllers of Deployments and ReplicaSets: as many pods as are wanted, each of which is replaced where it goes.
//!
//! A new template takes the place of the old one at once, without rolling: there is no time here in which to roll.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    job_pods::AGAIN,
    object::{Key, Object, map, metadata, part},
    pod_status::is_ready,
    remove::Deletion,
    world::{DEPLOYMENTS, REPLICA_SETS, Work, World},
};

/// Pods of a ReplicaSet that have failed, of which no more are replaced: one that always fails would be for ever.
const FAILED: usize = 20;

/// What pods of one template have in common.
const HASH: &str = "pod-template-hash";

impl World {
    /// Sees to it that a Deployment has a ReplicaSet of its template, and that the others have no pods.
    pub(super) fn deployment(&mut self, key: &Key) {
        let Some(deployment) = self.object(DEPLOYMENTS, key).filter(|found| !found.being_deleted()) else {
            return;
        };
        let Some(sets) = self.find(REPLICA_SETS.0, REPLICA_SETS.1) else { return };
        let template = deployment.at("/spec/template").cloned().unwrap_or_default();
        let hash = format!("{:.10}", format!("{:016x}", super::digest(&[&sorted(&template).to_string()])));
        let name = format!("{}-{hash}", deployment.name());
        let wanted = replicas(&deployment);
        for old in self.owned_in(deployment.uid(), REPLICA_SETS) {
            let wanted = if old.name() == name { wanted } else { 0 };
            if replicas(&old) != wanted {
                let mut value = old.value.clone();
                part(&mut value, "spec").insert("replicas".to_owned(), wanted.into());
                self.put(sets, value);
            }
        }
        let set = (deployment.namespace().to_owned(), name.clone());
        if self.object(REPLICA_SETS, &set).is_none() {
            let message = format!("Scaled up replica set {name} to {wanted}");
            self.event(&deployment, false, "ScalingReplicaSet", "deployment-controller", &message);
            let mut value = replica_set(&deployment, &name, &hash);
            self.stamp_new(&mut value);
            self.put(sets, value);
        }
        self.count_pods(DEPLOYMENTS, &deployment, self.pods_for(&deployment));
    }

    /// Sees to it that a ReplicaSet has as many pods as it should.
    pub(super) fn replica_set(&mut self, key: &Key) {
        let Some(set) = self.object(REPLICA_SETS, key).filter(|found| !found.being_deleted()) else { return };
        let pods = self.owned_in(set.uid(), PODS);
        let failed = pods.iter().filter(|pod| pod.str_at("/status/phase") == "Failed").count();
        let active: Vec<_> = pods.into_iter().filter(|pod| is_active(pod)).collect();
        let wanted = usize::try_from(replicas(&set)).unwrap_or_default();
        for pod in active.iter().skip(wanted) {
            self.event(&set, false, "SuccessfulDelete", BY, &format!("Deleted pod: {}", pod.name()));
            self.delete(self.pods(), &pod.key(), &Deletion::background());
        }
        let missing = if failed < FAILED { wanted.saturating_sub(active.len()) } else { 0 };
        for _ in 0..missing {
            let template = set.at("/spec/template").cloned().unwrap_or_default();
            match self.pod_of(&set, template, format!("{}-", set.name())) {
                Ok(pod) => {
                    self.event(&set, false, "SuccessfulCreate", BY, &format!("Created pod: {}", pod.name()));
                }
                Err(why) => {
                    self.event(&set, true, "FailedCreate", BY, &format!("Error creating: {why}"));
                    self.later(AGAIN, Work::ReplicaSet(key.clone()));
                    break;
                }
            }
        }
        let pods = self.owned_in(set.uid(), PODS).into_iter().filter(|pod| is_active(pod)).collect();
        self.count_pods(REPLICA_SETS, &set, pods);
    }

    fn pods_for(&self, deployment: &Object) -> Vec<Arc<Object>> {
        let sets = self.owned_in(deployment.uid(), REPLICA_SETS);
        let pods = sets.iter().flat_map(|set| self.owned_in(set.uid(), PODS));
        pods.filter(|pod| is_active(pod)).collect()
    }

    /// Writes how many pods there are, and how many of them are ready.
    fn count_pods(&mut self, resource: (&str, &str), object: &Object, pods: Vec<Arc<Object>>) {
        let (Some(id), Some(kept)) =
            (self.find(resource.0, resource.1), self.object(resource, &object.key()))
        else {
            return;
        };
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let generation = kept.meta("generation").cloned().unwrap_or_default();
        let mut value = kept.value.clone();
        let status = part(&mut value, "status");
        status.insert("replicas".to_owned(), pods.len().into());
        status.insert("readyReplicas".to_owned(), ready.into());
        status.insert("availableReplicas".to_owned(), ready.into());
        status.insert("observedGeneration".to_owned(), generation);
        self.put(id, value);
    }
}

/// Who says so.
const BY: &str = "replicaset-controller";

const PODS: (&str, &str) = super::world::PODS;

fn replicas(object: &Object) -> u64 {
    object.at("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

/// With its fields in one order, whoever wrote it last.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Whether a pod counts to those that are wanted.
fn is_active(pod: &Object) -> bool {
    !pod.being_deleted() && !matches!(pod.str_at("/status/phase"), "Succeeded" | "Failed")
}

/// The ReplicaSet of a Deployment's template.
fn replica_set(deployment: &Object, name: &str, hash: &str) -> Value {
    let mut spec = json!({
        "replicas": replicas(deployment),
        "selector": deployment.at("/spec/selector"),
        "template": deployment.at("/spec/template"),
    });
    let selected = part(map(&mut spec).entry("selector").or_insert_with(|| json!({})), "matchLabels");
    selected.insert(HASH.to_owned(), hash.into());
    let template = map(&mut spec).entry("template").or_insert_with(|| json!({}));
    let labels = map(metadata(template).entry("labels").or_insert_with(|| json!({})));
    labels.insert(HASH.to_owned(), hash.into());
    let labels = labels.clone();
    json!({
        "kind": "ReplicaSet", "apiVersion": "apps/v1",
        "metadata": {
            "name": name, "namespace": deployment.namespace(), "labels": labels, "generation": 1,
            "ownerReferences": [deployment.as_owner()],
        },
        "spec": spec,
    })
}
