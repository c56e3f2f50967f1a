//! The cluster of the model, and who follows a run on it.

use std::{collections::VecDeque, sync::Arc};

use runtime_core::{
    k8s_openapi::api::{batch::v1::Job, core::v1::Pod},
    run::{Reason, Verdict, observe_main},
    serde_json::{Value, from_value, json},
    target::Observation,
};

use super::{
    super::{
        board::{Board, Followed, Known},
        observe::{is_guessed, observe},
        seen::{self, JobSeen, PodSeen, Seen},
        watch,
    },
    Hears, Life,
};

const RUN: &str = "run/0";

/// The cluster as it is, and what has not been heard of it.
pub(super) struct World {
    pod: Option<Value>,
    job: Option<Value>,
    pub(super) has_job: bool,
    exit: Option<i32>,
    pods: VecDeque<(PodSeen, bool)>,
    jobs: VecDeque<JobSeen>,
    last_pod: Option<(PodSeen, bool)>,
    last_job: Option<JobSeen>,
    board: Arc<Board>,
    pub(super) followed: Option<Followed>,
    pub(super) ended: Option<Verdict>,
}

impl World {
    pub(super) fn new(has_job: bool) -> Self {
        let board: Arc<Board> = Arc::default();
        let metadata =
            json!({"name": "a", "namespace": "n", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"});
        let pod = json!({
            "metadata": metadata, "spec": {"containers": [{"name": "base", "image": "i"}]},
            "status": {"phase": "Pending"},
        });
        let job = json!({"metadata": metadata, "spec": {"template": {}}, "status": {}});
        let followed = Some(board.follow(RUN.to_owned(), "a"));
        let mut world = Self {
            pod: Some(pod),
            job: has_job.then_some(job),
            has_job,
            exit: None,
            pods: VecDeque::new(),
            jobs: VecDeque::new(),
            last_pod: None,
            last_job: None,
            board,
            followed,
            ended: None,
        };
        // The answer to the request that made it.
        let first_pod: Vec<_> = world.pod().into_iter().filter(|_| !has_job).collect();
        world.board.found(RUN, world.job().into_iter(), first_pod.into_iter());
        world.say_pod();
        world.say_job();
        world
    }

    fn pod(&self) -> Option<PodSeen> {
        self.pod.clone().map(|pod| seen::pod(&from_value::<Pod>(pod).unwrap()))
    }

    fn job(&self) -> Option<JobSeen> {
        self.job.clone().map(|job| seen::job(&from_value::<Job>(job).unwrap()))
    }

    fn say_pod(&mut self) {
        let pod = self.pod();
        self.pods.extend(pod.map(|pod| (pod, false)));
    }

    fn say_job(&mut self) {
        let job = self.job();
        self.jobs.extend(job);
    }

    fn state(&self) -> &str {
        let pod = self.pod.as_ref();
        pod.and_then(|pod| pod["status"]["phase"].as_str()).unwrap_or("gone")
    }

    fn set(&mut self, field: &str, value: Value) {
        if let Some(pod) = &mut self.pod {
            pod["status"][field] = value;
        }
    }

    fn container(&mut self, state: Value) {
        self.set(
            "containerStatuses",
            json!([{"name": "base", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": state}]),
        );
    }

    pub(super) fn lives(&mut self, life: Life) {
        let (state, deleted) = (
            self.state().to_owned(),
            self.pod.as_ref().is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null()),
        );
        let job_over = self.job().is_none_or(|job| job.complete || job.failed.is_some());
        match life {
            Life::Unschedulable if state == "Pending" => {
                self.set("conditions", json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]));
            }
            Life::Scheduled if state == "Pending" => {
                self.set("conditions", json!([{"type": "PodScheduled", "status": "True"}]));
            }
            Life::PullFails if state == "Pending" => {
                self.container(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}));
            }
            Life::Runs if state == "Pending" && !deleted => {
                self.set("phase", "Running".into());
                self.container(json!({"running": {"startedAt": "2026-01-01T00:00:01Z"}}));
            }
            Life::Ends(code) if state == "Running" => {
                let code = if deleted { 143 } else { code };
                self.exit = Some(code);
                self.set("phase", if code == 0 { "Succeeded" } else { "Failed" }.into());
                self.container(json!({"terminated": {"exitCode": code, "reason": "x"}}));
            }
            Life::Evicted if state == "Running" || state == "Pending" => {
                self.set("phase", "Failed".into());
                self.set("reason", "Evicted".into());
                self.set("message", "low on memory".into());
            }
            Life::Deleted if state != "gone" && !deleted => {
                if let Some(pod) = &mut self.pod {
                    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:10:00Z".into();
                }
            }
            Life::Removed if deleted && state != "Running" || state == "Succeeded" || state == "Failed" => {
                let last = self.pod();
                self.pod = None;
                self.pods.extend(last.map(|pod| (pod, true)));
                return;
            }
            Life::JobSees if self.job.is_some() && !job_over => {
                let condition = match (self.exit, state.as_str()) {
                    (Some(0), _) => json!({"type": "Complete", "status": "True"}),
                    (Some(_), _) | (None, "Failed" | "gone") => json!({"type": "Failed", "status": "True",
                        "reason": "BackoffLimitExceeded", "message": "it has reached the limit"}),
                    _ => return,
                };
                if let Some(job) = &mut self.job {
                    job["status"]["conditions"] = json!([condition]);
                }
                return self.say_job();
            }
            Life::JobOverdue if self.job.is_some() && !job_over && self.exit.is_none() => {
                if let Some(job) = &mut self.job {
                    job["status"]["conditions"] = json!([{"type": "Failed", "status": "True",
                        "reason": "DeadlineExceeded", "message": "too long"}]);
                }
                self.say_job();
                return self.lives(Life::Deleted);
            }
            Life::JobDeleted if self.job.is_some() => {
                let last = self.job();
                self.job = None;
                self.jobs.extend(last.map(|job| JobSeen { gone: true, ..job }));
                // What belongs to it goes with it.
                return self.lives(Life::Deleted);
            }
            _ => return,
        }
        self.say_pod();
    }

    pub(super) fn hears(&mut self, hears: Hears) {
        match hears {
            Hears::OfPods => {
                if let Some(next) = self.pods.pop_front() {
                    self.last_pod = Some(next.clone());
                    self.put_pod(next);
                }
            }
            Hears::OfJobs => {
                if let Some(next) = self.jobs.pop_front() {
                    self.last_job = Some(next.clone());
                    self.board.put_job(RUN, next);
                }
            }
            Hears::OfPodsAgain => self.last_pod.clone().into_iter().for_each(|last| self.put_pod(last)),
            Hears::OfJobsAgain => {
                self.last_job.clone().into_iter().for_each(|last| self.board.put_job(RUN, last));
            }
            Hears::PodsListed => {
                self.pods.clear();
                self.last_pod = self.pod().map(|pod| (pod, false));
                match self.last_pod.clone() {
                    Some(listed) => self.put_pod(listed),
                    None => self.miss(watch::known_pods, watch::lose_pod),
                }
            }
            Hears::JobsListed => {
                self.jobs.clear();
                self.last_job = self.job();
                match self.last_job.clone() {
                    Some(listed) => self.board.put_job(RUN, listed),
                    None => self.miss(|seen| watch::known_jobs(seen, "Job"), watch::lose_job),
                }
            }
            Hears::Anew => self.begin_anew(),
        }
    }

    fn put_pod(&self, (pod, gone): (PodSeen, bool)) {
        match gone {
            true => self.board.gone(RUN, pod),
            false => self.board.put_pod(RUN, pod),
        }
    }

    fn miss(&self, known: fn(&Seen) -> Vec<Known>, lose: fn(&mut Seen, &Known) -> bool) {
        for (id, lost) in self.board.unlisted(known, "n", &Default::default()) {
            self.board.update(&id, |seen| lose(seen, &lost));
        }
    }

    fn begin_anew(&mut self) {
        self.board = Arc::default();
        self.followed = Some(self.board.follow(RUN.to_owned(), "a"));
        // Without objects it is lost, which is for others to say.
        if self.pod.is_none() && self.job.is_none() {
            self.ended.get_or_insert_with(|| lost("nothing is there"));
        }
        self.board.found(RUN, self.job().into_iter(), self.pod().into_iter());
        self.hears(Hears::PodsListed);
        self.hears(Hears::JobsListed);
    }

    /// What its follower makes of it.
    pub(super) fn looks(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let Some(followed) = &self.followed else { return };
        let mut observation = observe(&followed.seen());
        if observation.ended && is_guessed(&followed.seen()) {
            self.board.found(RUN, self.job().into_iter(), self.pod().into_iter());
            observation = observe(&followed.seen());
        }
        if observation.ended {
            let verdict = observe_main(&observation);
            self.is_true(&observation, &verdict);
            self.ended = Some(verdict);
        }
    }

    fn is_true(&self, seen: &Observation, verdict: &Verdict) {
        let what = format!("{seen:?}, exit {:?}, pod {:?}, job {:?}", self.exit, self.pod, self.job);
        match verdict.exit_code {
            Some(code) => assert_eq!(Some(code), self.exit, "{what}"),
            None => {
                let reason = verdict.cause.as_ref().unwrap().reason;
                assert!(
                    matches!(
                        reason,
                        Reason::Lost | Reason::Evicted | Reason::DeadlineExceeded | Reason::StartFailed
                    ),
                    "{what}"
                );
                let over = self.state() == "gone" || self.state() == "Failed" || self.exit.is_some();
                let doomed =
                    self.pod.as_ref().is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
                assert!(over || doomed, "it goes on: {what}");
                // Who can know that all went well, knows.
                let known = self.job().is_some_and(|job| job.complete) || self.state() == "Succeeded";
                assert!(!known, "it was well: {what}");
            }
        }
    }

    /// All that is to happen happens, and is heard.
    pub(super) fn ends(&mut self) {
        for life in [Life::Runs, Life::Ends(0), Life::JobSees] {
            self.lives(life);
        }
        if self.exit.is_none() {
            self.lives(Life::Deleted);
            self.lives(Life::Removed);
            self.lives(Life::JobSees);
        }
        self.hears(Hears::PodsListed);
        self.looks();
        self.hears(Hears::JobsListed);
        self.looks();
    }
}

fn lost(what: &str) -> Verdict {
    let exit = runtime_core::target::Exit::Lost(what.to_owned());
    let part = runtime_core::target::Part {
        name: "main".to_owned(),
        role: runtime_core::plan::Role::Main,
        phase: runtime_core::target::Phase::Ended(exit),
    };
    observe_main(&Observation { parts: vec![part], ended: true, ..Observation::default() })
}
