//! One attempt of a run on a cluster, from its objects to its end: what is seen is told, the log is followed, and what
//! has to stop is stopped.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::Api;
use runtime_core::{
    Error, Result, RunState,
    jiff::Timestamp,
    logs::Stream,
    plan::{ClusterPlan, Manifest},
    run::{Cause, Reason},
    target::{Event, Exit, Job, Observation, Phase, StartError},
};
use tokio::{
    sync::{mpsc, watch as channel},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Link,
    apply::Sent,
    log,
    observe::observe,
    seen::{Seen, State},
    watch::Followed,
};

/// How long the rest of a log may take after the end of its container.
const LAST_LINES: Duration = Duration::from_secs(60);

/// After the grace, how long a node may take to say that a pod has ended.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a pod that was deleted may be followed by nothing before it counts as gone.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// One attempt of a run.
pub(super) struct Drive {
    pub(super) link: Arc<Link>,
    pub(super) job: Job,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) aborts: mpsc::Receiver<Duration>,
    pub(super) followed: Followed,
    /// Where its objects are.
    pub(super) namespace: String,
    /// The pods that were deleted, and how long each has to end.
    pub(super) stopped: HashMap<String, Duration>,
}

/// Why the attempt is being stopped.
#[derive(Clone, Copy, PartialEq)]
enum Stopping {
    No,
    Asked,
    Overdue,
}

/// The log of the pod that counts.
struct Log {
    pod: String,
    task: JoinHandle<()>,
    ended: channel::Sender<bool>,
}

impl Drive {
    /// Follows the attempt to its end, which is the last that is told.
    pub(super) async fn run(mut self) {
        let last = match self.begin().await {
            Ok(true) => self.follow().await,
            Ok(false) => Some(stopped(Observation { ended: true, ..Observation::default() })),
            Err(error) => {
                let error = StartError {
                    environment: false,
                    message: error.to_string().lines().next().unwrap_or_default().to_owned(),
                    help: error.help_text().map(str::to_owned),
                };
                Some(Observation { start_error: Some(error), ended: true, ..Observation::default() })
            }
        };
        if let Some(last) = last {
            let _ = self.events.send(Event::Seen(Box::new(last))).await;
        }
    }

    /// The objects of the plan, as they are sent.
    fn objects(&self, plan: &ClusterPlan) -> Result<Vec<Sent>> {
        let run = self.job.key.to_string();
        let sent = |manifest: &Manifest| Sent::new(manifest, &self.link.namespace, &run, self.job.attempt);
        plan.objects.iter().filter(|manifest| !manifest.is_shared()).map(sent).collect()
    }

    /// Sees to it that the objects are there; whether there is anything to follow.
    async fn begin(&mut self) -> Result<bool> {
        let job = &self.job;
        let runtime_core::Plan::Cluster(plan) = &*job.plan else {
            return Err(Error::internal("the plan is for another target"));
        };
        for note in &plan.notes {
            let _ = self.events.send(Event::Note(note.clone())).await;
        }
        let objects = self.objects(plan)?;
        let Some((main, others)) = objects.split_last() else {
            return Err(Error::internal("the plan has no objects"));
        };
        let state = job.run.state();
        self.namespace.clone_from(&main.namespace);
        let known = match job.resumed {
            true => self.find().await,
            false => false,
        };
        if job.resumed && !known {
            match state {
                RunState::Aborting => return Ok(false),
                RunState::Created | RunState::Pending => {}
                _ => {
                    return Err(Error::not_found("its objects were deleted while nobody followed it")
                        .help("start it again"));
                }
            }
        }
        if !known {
            for shared in plan.objects.iter().filter(|manifest| manifest.is_shared()) {
                self.link.share(shared).await?;
            }
            for other in others {
                self.link.apply(other).await?;
            }
            let uid = self.link.apply(main).await?;
            for other in others {
                self.link.own(other, main, &uid).await?;
            }
        }
        self.link.remember(&job.key, objects);
        Ok(true)
    }

    /// Whether an earlier orchestrator made anything of this attempt. It goes on, whether the cluster answers or not: it is
    /// asked until it does.
    async fn find(&self) -> bool {
        let run = self.job.key.to_string();
        loop {
            match self.link.find(&self.followed, &self.namespace, &run, self.job.attempt).await {
                Ok(known) => return known,
                Err(error) => {
                    let trouble = Some(Cause::new(Reason::Unreachable, error.message()));
                    let seen = Observation { trouble, ..Observation::default() };
                    if self.events.send(Event::Seen(Box::new(seen))).await.is_err() {
                        return true;
                    }
                    tokio::time::sleep(SILENCE).await;
                }
            }
        }
    }

    /// Tells what is seen until the end; `None` where nobody listens any more.
    async fn follow(&mut self) -> Option<Observation> {
        let runtime_core::Plan::Cluster(plan) = &*self.job.plan else { return None };
        let limit = plan.deadline;
        let (mut told, mut stopping, mut log) = (None, Stopping::No, None);
        // When what was asked to stop is stopped by force.
        let mut force: Option<Instant> = None;
        // How long what is stopped has to end.
        let mut given = grace(&self.job);
        let (mut looked, mut disowned) = (false, false);
        loop {
            let seen = self.followed.seen();
            let mut observation = observe(&seen);
            if observation.ended && seen.pods.is_empty() && !std::mem::replace(&mut looked, true) {
                // The Job's end may be seen before its pod: they come by different watches.
                self.look().await;
                continue;
            }
            self.read_log(&seen, &mut log);
            if observation.ended {
                self.end_log(&seen, log).await;
                return Some(self.ended(observation, stopping, limit));
            }
            if let Some(trouble) = self.followed.trouble() {
                observation.trouble = Some(Cause::new(Reason::Unreachable, trouble));
            }
            if told.as_ref() != Some(&observation) {
                self.events.send(Event::Seen(Box::new(observation.clone()))).await.ok()?;
                told = Some(observation);
            }
            if stopping != Stopping::No {
                // A Job makes another pod for one that goes, so it goes first.
                if !std::mem::replace(&mut disowned, true) {
                    self.link.disown_all(&self.job.key).await;
                }
                // Also those that came later.
                self.stop_pods(&seen, given).await;
            }
            let overdue = remaining(&seen, limit).filter(|_| stopping == Stopping::No);
            tokio::select! {
                biased;
                Some(grace) = self.aborts.recv() => {
                    stopping = if stopping == Stopping::No { Stopping::Asked } else { stopping };
                    (force, given) = (Some(Instant::now() + grace + SILENCE), grace);
                }
                () = self.followed.changed() => {}
                () = tokio::time::sleep(overdue.unwrap_or(LONG)), if overdue.is_some() => {
                    stopping = Stopping::Overdue;
                    force = Some(Instant::now() + given + SILENCE);
                }
                () = until(force), if force.is_some() => {
                    (force, given) = (Some(Instant::now() + SILENCE), Duration::ZERO);
                    // What was in the way the last time may be so no more.
                    self.stopped.clear();
                    disowned = false;
                }
                () = self.events.closed() => return None,
            }
        }
    }

    /// Asks what there is of the attempt now.
    async fn look(&self) {
        let (run, attempt) = (self.job.key.to_string(), self.job.attempt);
        if let Err(error) = self.link.find(&self.followed, &self.namespace, &run, attempt).await {
            tracing::warn!(%error, "the pods of a Job that ended cannot be listed");
        }
    }

    /// Deletes the pods that were not, or were with a longer time to end.
    async fn stop_pods(&mut self, seen: &Seen, grace: Duration) {
        for pod in seen.pods.values().filter(|pod| !pod.gone) {
            if self.stopped.get(&pod.uid).is_some_and(|given| *given <= grace) {
                continue;
            }
            match self.link.delete_pod(&pod.namespace, &pod.name, &pod.uid, grace).await {
                Ok(()) => drop(self.stopped.insert(pod.uid.clone(), grace)),
                Err(error) => tracing::warn!(%error, "a pod cannot be deleted"),
            }
        }
    }

    /// Follows the log of the pod that counts as soon as it has one.
    fn read_log(&self, seen: &Seen, log: &mut Option<Log>) {
        let Some(pod) = seen.pod() else { return };
        let ended = match pod.main.state {
            State::Running { .. } => false,
            State::Ended { .. } => true,
            _ => return,
        };
        if log.as_ref().is_none_or(|log| log.pod != pod.name) {
            let (sender, receiver) = channel::channel(ended);
            let follow = log::Follow {
                api: Api::namespaced(self.link.client.clone(), &pod.namespace),
                pod: pod.name.clone(),
                container: pod.main.name.clone(),
                last: self.job.log_position.last("main", Stream::Stdout),
                lines: self.events.clone(),
                ended: receiver,
            };
            *log = Some(Log { pod: pod.name.clone(), task: tokio::spawn(follow.run()), ended: sender });
        }
        if let Some(log) = log {
            log.ended.send_if_modified(|known| !std::mem::replace(known, *known || ended) && ended);
        }
    }

    /// Waits for the last lines.
    async fn end_log(&self, seen: &Seen, log: Option<Log>) {
        let Some(mut log) = log else { return };
        log.ended.send_replace(true);
        let gone = seen.pod().is_none_or(|pod| pod.gone);
        let patience = if gone { Duration::from_secs(2) } else { LAST_LINES };
        if tokio::time::timeout(patience, &mut log.task).await.is_err() {
            log.task.abort();
            if !gone {
                let note = format!("the log ends early: its last lines did not come within {LAST_LINES:?}");
                let _ = self.events.send(Event::Note(note)).await;
            }
        }
    }

    /// The last observation, with what was done to bring it about.
    fn ended(&self, observation: Observation, stopping: Stopping, limit: Option<Duration>) -> Observation {
        let well = observation.parts.iter().any(|part| part.phase == Phase::Ended(Exit::Code(0)));
        match stopping {
            _ if well => observation,
            Stopping::No => observation,
            Stopping::Asked => stopped(observation),
            Stopping::Overdue => Observation { deadline: limit, ..stopped(observation) },
        }
    }
}

fn stopped(mut observation: Observation) -> Observation {
    use runtime_core::{plan::Role, target::Part};
    let phase = Phase::Ended(Exit::Stopped);
    observation.parts = vec![Part { name: "main".to_owned(), role: Role::Main, phase }];
    observation
}

/// How long the pods of a run may take to end.
fn grace(job: &Job) -> Duration {
    match &*job.plan {
        runtime_core::Plan::Cluster(plan) => plan.grace(),
        _ => Duration::from_secs(30),
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What is left of the time that a run may take.
fn remaining(seen: &Seen, limit: Option<Duration>) -> Option<Duration> {
    let State::Running { since } = &seen.pod()?.main.state else { return None };
    let used = Timestamp::now().duration_since((*since)?);
    Some(limit?.saturating_sub(Duration::try_from(used).unwrap_or_default()))
}
