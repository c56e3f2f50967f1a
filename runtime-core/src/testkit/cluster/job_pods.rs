//! The pods of a job.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    call::Call,
    job::{Book, indexed},
    object::{Object, map, metadata, part},
    request::Request,
    world::{Work, World},
};

/// A pod that could not be made is tried again after this time.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

impl World {
    /// Makes the pods that are missing; gives how many it made.
    pub(super) fn make_pods(&mut self, job: &Object, active: &[Arc<Object>], book: &mut Book) -> usize {
        let number = |pointer: &str| job.at(pointer).and_then(Value::as_u64);
        let parallel = number("/spec/parallelism").unwrap_or(1);
        let left = match number("/spec/completions") {
            Some(wanted) => wanted.saturating_sub(self.succeeded(job, book)),
            None if book.succeeded.is_empty() => parallel,
            None => active.len() as u64,
        };
        let missing = left.min(parallel).saturating_sub(active.len() as u64);
        let taken: HashSet<u64> = active.iter().filter_map(|pod| index_of(pod)).collect();
        let free: Vec<u64> = (0..number("/spec/completions").unwrap_or_default())
            .filter(|index| !taken.contains(index) && !book.done.contains(index))
            .collect();
        let mut made = 0;
        for at in 0..missing {
            let index =
                indexed(job).then(|| free.get(usize::try_from(at).unwrap_or_default()).copied()).flatten();
            match self.make_pod(job, index) {
                Ok(pod) => {
                    book.active.insert(pod.uid().to_owned());
                    self.event(
                        job,
                        false,
                        "SuccessfulCreate",
                        "job-controller",
                        &format!("Created pod: {}", pod.name()),
                    );
                    made += 1;
                }
                Err(why) => {
                    self.event(
                        job,
                        true,
                        "FailedCreate",
                        "job-controller",
                        &format!("Error creating: {why}"),
                    );
                    self.later(AGAIN, Work::Job(job.key()));
                    break;
                }
            }
        }
        made
    }

    fn make_pod(&mut self, job: &Object, index: Option<u64>) -> Result<Arc<Object>, String> {
        let mut pod = job.at("/spec/template").cloned().unwrap_or_else(|| json!({}));
        let prefix =
            index.map_or_else(|| format!("{}-", job.name()), |index| format!("{}-{index}-", job.name()));
        if let Some(index) = index {
            number_pod(&mut pod, job.name(), index);
        }
        self.pod_of(job, pod, prefix)
    }

    /// Makes a pod for what controls it, as the controller asks for it.
    pub(super) fn pod_of(
        &mut self,
        owner: &Object,
        mut pod: Value,
        prefix: String,
    ) -> Result<Arc<Object>, String> {
        let fields = map(&mut pod);
        fields.insert("kind".to_owned(), "Pod".into());
        fields.insert("apiVersion".to_owned(), "v1".into());
        let fields = metadata(&mut pod);
        fields.insert("generateName".to_owned(), prefix.into());
        fields.insert("namespace".to_owned(), owner.namespace().into());
        fields.insert("ownerReferences".to_owned(), json!([owner.as_owner()]));
        let request = Request {
            verb: "create",
            version: "v1".to_owned(),
            plural: "pods".to_owned(),
            namespace: Some(owner.namespace().to_owned()),
            user_agent: "kube-controller-manager".to_owned(),
            ..Request::default()
        };
        let id = self.pods();
        let resource = self.tables[id].resource.clone();
        let mut call = Call { world: self, request: &request, id, resource, warnings: Vec::new() };
        call.create_value(pod, false).map_err(|refusal| refusal.message)
    }
}

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) fn index_of(pod: &Object) -> Option<u64> {
    pod.meta("annotations")?.get(INDEX)?.as_str()?.parse().ok()
}

/// Tells a pod of an indexed job which one it is.
fn number_pod(pod: &mut Value, job: &str, index: u64) {
    for field in ["annotations", "labels"] {
        let all = map(metadata(pod).entry(field).or_insert_with(|| json!({})));
        all.insert(INDEX.to_owned(), index.to_string().into());
    }
    let spec = part(pod, "spec");
    spec.insert("hostname".to_owned(), format!("{job}-{index}").into());
    for list in ["initContainers", "containers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let env = map(one).entry("env").or_insert_with(|| json!([]));
            if let Some(env) = env.as_array_mut() {
                let field = format!("metadata.annotations['{INDEX}']");
                env.push(json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}}));
            }
        }
    }
}
