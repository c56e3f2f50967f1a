//! The controller of jobs: makes their pods, counts how these end, says when the job has.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    call::Call,
    job_end::{self, Verdict},
    object::{Key, Object, map, metadata, part},
    remove::Deletion,
    request::Request,
    world::{JOBS, PODS, Work, World},
};

/// What is known of a job beside its status.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Pods that were made, and did not end yet.
    active: HashSet<String>,
    succeeded: HashSet<String>,
    pub(super) failed: HashSet<String>,
    /// Pods whose end counts for nothing, by its policy.
    pub(super) ignored: HashSet<String>,
    /// Of an indexed job: what is done.
    done: BTreeSet<u64>,
    began: Option<Duration>,
}

/// A pod that could not be made is tried again after this time.
const AGAIN: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn job(&mut self, key: &Key) {
        let Some(job) = self.object(JOBS, key).filter(|job| !job.being_deleted()) else { return };
        if job_end::finished(&job.value) {
            return;
        }
        let mut book = self.jobs.remove(job.uid()).unwrap_or_default();
        let pods = self.pods_of(&job);
        let verdict = self.count(&job, &pods, &mut book);
        let suspended = job.at("/spec/suspend") == Some(&Value::Bool(true));
        let active: Vec<_> = pods.iter().filter(|pod| book.active.contains(pod.uid())).cloned().collect();
        let verdict = verdict.or_else(|| self.over_time(&job, &book));
        if verdict.is_some() || suspended {
            for pod in active.iter().filter(|pod| !pod.being_deleted()) {
                self.delete(self.pods(), &pod.key(), &Deletion::background());
            }
        }
        if let Some(verdict) = verdict {
            return self.finish(&job, &book, &verdict);
        }
        let mut running = active.len();
        if suspended {
            book.began = None;
            running = 0;
        } else {
            if book.began.is_none() {
                book.began = Some(self.clock.elapsed());
                if let Some(seconds) = job.at("/spec/activeDeadlineSeconds").and_then(Value::as_u64) {
                    self.later(Duration::from_secs(seconds), Work::Job(key.clone()));
                }
            }
            running += self.make_pods(&job, &active, &mut book);
        }
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        self.write_status(&job, &book, running, ready, suspended);
        self.jobs.insert(job.uid().to_owned(), book);
    }

    fn pods_of(&self, job: &Object) -> Vec<Arc<Object>> {
        let owned = self.owned.get(job.uid()).into_iter().flatten();
        let pods = self.find(PODS.0, PODS.1);
        let mut found: Vec<_> = owned.filter_map(|uid| self.by_uid(uid)).collect();
        found.retain(|(id, _)| Some(*id) == pods);
        found.sort_by_key(|(_, pod)| pod.version);
        found.into_iter().map(|(_, pod)| pod).collect()
    }

    /// Counts how pods ended; the verdict where that is the job's end.
    fn count(&self, job: &Object, pods: &[Arc<Object>], book: &mut Book) -> Option<Verdict> {
        let mut verdict = None;
        let there: HashSet<_> = pods.iter().map(|pod| pod.uid().to_owned()).collect();
        // A pod that is gone without an end has failed.
        let gone: Vec<_> = book.active.iter().filter(|uid| !there.contains(*uid)).cloned().collect();
        for uid in gone {
            book.active.remove(&uid);
            book.failed.insert(uid);
        }
        for pod in pods {
            let uid = pod.uid();
            let known = [&book.succeeded, &book.failed, &book.ignored].iter().any(|set| set.contains(uid));
            match pod.str_at("/status/phase") {
                "Succeeded" => {
                    book.succeeded.insert(uid.to_owned());
                    book.active.remove(uid);
                    if let Some(index) = index_of(pod) {
                        book.done.insert(index);
                    }
                }
                "Failed" if !known => {
                    book.active.remove(uid);
                    match job_end::judge(job, pod) {
                        Some(job_end::Action::Fail(message)) => {
                            book.failed.insert(uid.to_owned());
                            verdict = Some(Verdict::failed("PodFailurePolicy", &message));
                        }
                        Some(job_end::Action::Ignore) => _ = book.ignored.insert(uid.to_owned()),
                        None => _ = book.failed.insert(uid.to_owned()),
                    }
                }
                _ if !known => _ = book.active.insert(uid.to_owned()),
                _ => {}
            }
        }
        verdict.or_else(|| self.end_of(job, pods, book))
    }

    fn end_of(&self, job: &Object, pods: &[Arc<Object>], book: &Book) -> Option<Verdict> {
        let number = |pointer: &str| job.at(pointer).and_then(Value::as_u64);
        let limit = number("/spec/backoffLimit").unwrap_or(6);
        let restarts: u64 = pods
            .iter()
            .filter(|pod| book.active.contains(pod.uid()))
            .flat_map(|pod| {
                pod.at("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten()
            })
            .filter_map(|one| one["restartCount"].as_u64())
            .sum();
        let on_failure = job.str_at("/spec/template/spec/restartPolicy") == "OnFailure";
        let too_often = on_failure && restarts > 0 && restarts >= limit;
        if book.failed.len() as u64 > limit || too_often {
            return Some(Verdict::failed(
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            ));
        }
        let done = match number("/spec/completions") {
            Some(wanted) => self.succeeded(job, book) >= wanted,
            None => !book.succeeded.is_empty() && book.active.is_empty(),
        };
        done.then(Verdict::complete)
    }

    /// How many completions there are.
    fn succeeded(&self, job: &Object, book: &Book) -> u64 {
        if indexed(job) { book.done.len() as u64 } else { book.succeeded.len() as u64 }
    }

    fn over_time(&self, job: &Object, book: &Book) -> Option<Verdict> {
        let seconds = job.at("/spec/activeDeadlineSeconds")?.as_u64()?;
        let over = self.clock.elapsed() >= book.began? + Duration::from_secs(seconds);
        over.then(|| Verdict::failed("DeadlineExceeded", "Job was active longer than specified deadline"))
    }

    /// Makes the pods that are missing; gives how many it made.
    fn make_pods(&mut self, job: &Object, active: &[Arc<Object>], book: &mut Book) -> usize {
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
        let fields = map(&mut pod);
        fields.insert("kind".to_owned(), "Pod".into());
        fields.insert("apiVersion".to_owned(), "v1".into());
        let prefix =
            index.map_or_else(|| format!("{}-", job.name()), |index| format!("{}-{index}-", job.name()));
        let fields = metadata(&mut pod);
        fields.insert("generateName".to_owned(), prefix.into());
        fields.insert("namespace".to_owned(), job.namespace().into());
        fields.insert(
            "ownerReferences".to_owned(),
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": job.name(), "uid": job.uid(),
                "controller": true, "blockOwnerDeletion": true}]),
        );
        if let Some(index) = index {
            number_pod(&mut pod, job.name(), index);
        }
        let request = Request {
            verb: "create",
            version: "v1".to_owned(),
            plural: "pods".to_owned(),
            namespace: Some(job.namespace().to_owned()),
            user_agent: "kube-controller-manager".to_owned(),
            ..Request::default()
        };
        let id = self.pods();
        let resource = self.tables[id].resource.clone();
        let mut call = Call { world: self, request: &request, id, resource, warnings: Vec::new() };
        call.create_value(pod, false).map_err(|refusal| refusal.message)
    }

    fn finish(&mut self, job: &Object, book: &Book, verdict: &Verdict) {
        let message = if verdict.failed { verdict.message.as_str() } else { "Job completed" };
        let reason = if verdict.failed { verdict.reason.as_str() } else { "Completed" };
        self.event(job, verdict.failed, reason, "job-controller", message);
        let now = self.clock.stamp();
        let Some(id) = self.find(JOBS.0, JOBS.1) else { return };
        let mut value = job.value.clone();
        let status = part(&mut value, "status");
        status.entry("startTime").or_insert_with(|| now.clone().into());
        for gone in ["active", "ready"] {
            status.shift_remove(gone);
        }
        self.counts(&mut value, job, book);
        job_end::conditions(&mut value, verdict, &now);
        self.put(id, value);
        if let Some(seconds) = job.at("/spec/ttlSecondsAfterFinished").and_then(Value::as_u64) {
            self.later(Duration::from_secs(seconds), Work::Expired(id, job.key(), job.uid().to_owned()));
        }
    }

    fn counts(&self, value: &mut Value, job: &Object, book: &Book) {
        let status = part(value, "status");
        let failed = book.failed.len() + book.ignored.len();
        for (name, count) in [("succeeded", book.succeeded.len()), ("failed", failed)] {
            if count > 0 {
                status.insert(name.to_owned(), count.into());
            }
        }
        if indexed(job) {
            let done: Vec<_> = book.done.iter().map(u64::to_string).collect();
            status.insert("completedIndexes".to_owned(), done.join(",").into());
        }
        status.insert("uncountedTerminatedPods".to_owned(), json!({}));
    }

    fn write_status(&mut self, job: &Object, book: &Book, active: usize, ready: usize, suspended: bool) {
        let Some(id) = self.find(JOBS.0, JOBS.1) else { return };
        let Some(kept) = self.object(JOBS, &job.key()) else { return };
        let now = self.clock.stamp();
        let mut value = kept.value.clone();
        let had = value["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Suspended"));
        if suspended || had {
            job_end::suspended(&mut value, suspended, &now);
        }
        self.counts(&mut value, job, book);
        let status = part(&mut value, "status");
        if suspended {
            status.shift_remove("startTime");
        } else {
            status.entry("startTime").or_insert_with(|| now.into());
        }
        status.insert("ready".to_owned(), ready.into());
        if active > 0 {
            status.insert("active".to_owned(), active.into());
        } else {
            status.shift_remove("active");
        }
        self.put(id, value);
    }
}

fn indexed(job: &Object) -> bool {
    job.str_at("/spec/completionMode") == "Indexed"
}

fn is_ready(pod: &Object) -> bool {
    let conditions = pod.at("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

fn index_of(pod: &Object) -> Option<u64> {
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
