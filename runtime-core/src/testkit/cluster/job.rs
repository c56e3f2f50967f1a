//! The controller of jobs: makes their pods, counts how these end, says when the job has.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    job_end::{self, Verdict},
    job_pods::index_of,
    object::{Key, Object, part},
    pod_status::is_ready,
    remove::Deletion,
    world::{JOBS, PODS, Work, World},
};

/// What is known of a job beside its status.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Pods that were made, and did not end yet.
    pub(super) active: HashSet<String>,
    pub(super) succeeded: HashSet<String>,
    pub(super) failed: HashSet<String>,
    /// Pods whose end counts for nothing, by its policy.
    pub(super) ignored: HashSet<String>,
    /// Of an indexed job: what is done.
    pub(super) done: BTreeSet<u64>,
    began: Option<Duration>,
}

impl World {
    pub(super) fn job(&mut self, key: &Key) {
        let Some(job) = self.object(JOBS, key).filter(|job| !job.being_deleted()) else { return };
        if job_end::finished(&job.value) {
            return;
        }
        let mut book = self.jobs.remove(job.uid()).unwrap_or_default();
        let pods = self.owned_in(job.uid(), PODS);
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

    /// The objects of a resource that something owns, those that changed last at the end.
    pub(super) fn owned_in(&self, owner: &str, resource: (&str, &str)) -> Vec<Arc<Object>> {
        let owned = self.owned.get(owner).into_iter().flatten();
        let table = self.find(resource.0, resource.1);
        let mut found: Vec<_> = owned.filter_map(|uid| self.by_uid(uid)).collect();
        found.retain(|(id, _)| Some(*id) == table);
        found.sort_by_key(|(_, object)| object.version);
        found.into_iter().map(|(_, object)| object).collect()
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
    pub(super) fn succeeded(&self, job: &Object, book: &Book) -> u64 {
        if indexed(job) { book.done.len() as u64 } else { book.succeeded.len() as u64 }
    }

    fn over_time(&self, job: &Object, book: &Book) -> Option<Verdict> {
        let seconds = job.at("/spec/activeDeadlineSeconds")?.as_u64()?;
        let over = self.clock.elapsed() >= book.began? + Duration::from_secs(seconds);
        over.then(|| Verdict::failed("DeadlineExceeded", "Job was active longer than specified deadline"))
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

pub(super) fn indexed(job: &Object) -> bool {
    job.str_at("/spec/completionMode") == "Indexed"
}
