//! One attempt of a run on a cluster, from its objects to its end: what is seen is told, the log is followed, and what
//! has to stop is stopped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use kube::api::ApiResource;
use runtime_core::{
    Error, ErrorKind, Result, RunState,
    cluster::{fill_run_secret, run_secret_name},
    jiff::{SignedDuration, Timestamp},
    logs::{LogPosition, Stream},
    plan::{ClusterPlan, Manifest, Role},
    run::{Cause, Reason, RunKey},
    target::{Event, Exit, Job, Observation, Part, Phase},
};
use tokio::{
    sync::{mpsc, watch as channel},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Link,
    apply::Sent,
    board::Followed,
    log,
    observe::{is_guessed, observe},
    parts::{self, lost_service},
    seen::{PodSeen, Seen, State},
};
use crate::stop::Stops;

/// How long the rest of a log may take after the end of its container.
const LAST_LINES: Duration = Duration::from_secs(60);

/// After the grace, how long a node may take to say that a pod has ended.
const SILENCE: Duration = Duration::from_secs(15);

/// How long the last lines of pods that go on are waited for.
const MOMENT: Duration = Duration::from_secs(1);

/// How many logs of other pods are followed for one run.
const LOGS: usize = 100;

/// As exactly as a cluster tells times.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// One attempt of a run.
pub(super) struct Drive {
    pub(super) link: Arc<Link>,
    pub(super) key: RunKey,
    pub(super) attempt: u32,
    /// How much of the log is stored already.
    pub(super) stored: LogPosition,
    /// The type of its main object, where that is an operator's.
    pub(super) main: Option<Box<ApiResource>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) aborts: Stops,
    pub(super) followed: Followed,
    /// Where its objects are.
    pub(super) namespace: String,
    /// How long the run may execute.
    pub(super) deadline: Option<Duration>,
    /// How long its pods may take to end.
    pub(super) grace: Duration,
    /// The pods that were deleted, and how long each has to end.
    pub(super) stopped: HashMap<String, Duration>,
    /// The pods that anybody deleted, and until when their end is waited for.
    pub(super) deleted: HashMap<String, Instant>,
    /// Why what is to stop cannot be stopped.
    pub(super) refused: Option<Cause>,
    /// The logs of its other pods, by their names.
    pub(super) logs: HashMap<String, Log>,
    /// Where it is found once its main pod is ready, as long as that was not told.
    pub(super) addresses: BTreeMap<String, String>,
}

/// What was done of an attempt that is followed.
#[derive(Default)]
struct Course {
    /// What was told last.
    told: Option<Box<Observation>>,
    stopping: Stopping,
    /// When what was asked to stop is stopped by force.
    force: Option<Instant>,
    /// How long what is stopped has to end.
    given: Duration,
    /// The log of the pod that counts.
    log: Option<Log>,
    /// What is there was looked at, where the watches do not agree.
    looked: bool,
    /// What would make other pods is gone.
    disowned: bool,
}

impl Course {
    /// From now on the attempt is to stop within this time.
    fn ask(&mut self, why: Stopping, grace: Duration) {
        self.stopping = if self.stopping == Stopping::No { why } else { self.stopping };
        (self.force, self.given) = (Some(Instant::now() + grace + SILENCE), grace);
    }
}

/// What comes after what was done.
enum Step {
    /// That was the end; `None` where nobody listens any more.
    Over(Option<Box<Observation>>),
    /// The next change, or this moment.
    Until(Option<Instant>),
}

/// Why the attempt is being stopped.
#[derive(Clone, Copy, Default, PartialEq)]
enum Stopping {
    #[default]
    No,
    Asked,
    Overdue,
    /// Something ended that it cannot go on without.
    Alone,
}

/// The log of a pod.
pub(super) struct Log {
    pod: String,
    task: JoinHandle<()>,
    ended: channel::Sender<bool>,
}

impl Drive {
    /// Follows the attempt to its end, which is the last that is told.
    pub(super) async fn run(mut self: Box<Self>, job: Box<Job>) {
        // What is done once is on the heap, and goes: there may be many runs, and each waits here for long.
        let begun = Box::pin(self.begin(job)).await;
        let last = match begun {
            Ok(true) => self.follow().await,
            Ok(false) => Some(over(Exit::Stopped)),
            Err(error) => Some(over(Exit::For(Box::new(not_begun(&error))))),
        };
        if let Some(last) = last {
            let _ = self.events.send(Event::Seen(Box::new(last))).await;
        }
    }

    /// The objects of the plan, as they are sent; where they are `new`, with the values of secrets.
    fn objects(&self, plan: &ClusterPlan, job: &Job, new: bool) -> Result<Vec<Sent>> {
        let run = self.key.to_string();
        let sent = |manifest: &Manifest| {
            let given = if new { given(manifest, job)? } else { None };
            let manifest = given.as_ref().unwrap_or(manifest);
            Sent::new(manifest, &self.link.namespace, &run, self.attempt)
        };
        plan.objects.iter().filter(|manifest| !manifest.is_shared()).map(sent).collect()
    }

    /// Sees to it that the objects are there; whether there is anything to follow.
    async fn begin(&mut self, job: Box<Job>) -> Result<bool> {
        let runtime_core::Plan::Cluster(plan) = &*job.plan else {
            return Err(Error::internal("the plan is for another target"));
        };
        for note in &plan.notes {
            let _ = self.events.send(Event::Note(note.clone())).await;
        }
        let Some(main) = plan.objects.last() else {
            return Err(Error::internal("the plan has no objects"));
        };
        let state = job.run.state();
        self.namespace =
            main.namespace().filter(|own| !own.is_empty()).unwrap_or(&self.link.namespace).to_owned();
        let known = match job.resumed {
            true => self.find().await,
            false => false,
        };
        if job.resumed && !known {
            match state {
                RunState::Aborting => return Ok(false),
                RunState::Created | RunState::Pending => {}
                _ => {
                    return Err(Error::not_found("its objects were deleted while nobody followed it"));
                }
            }
        }
        let objects = self.objects(plan, &job, !known)?;
        if let Some((main, others)) = objects.split_last()
            && !known
        {
            for shared in plan.objects.iter().filter(|manifest| manifest.is_shared()) {
                self.link.share(shared).await?;
            }
            for other in others {
                self.link.apply(other).await?;
            }
            let made = self.link.apply(main).await?;
            let uid = made.uid();
            // From here on it is missed where it is not, whether a watch has seen it or not.
            self.followed.board().made(self.followed.id(), &made);
            for other in others {
                self.link.own(other, main, &uid).await?;
            }
        }
        self.link.remember(&self.key, objects);
        Ok(true)
    }

    /// Whether an earlier orchestrator made anything of this attempt. It goes on, whether the cluster answers or not: it is
    /// asked until it does.
    async fn find(&self) -> bool {
        let run = self.key.to_string();
        loop {
            match self
                .link
                .find(&self.followed, &self.namespace, (&run, self.attempt), self.main.as_deref())
                .await
            {
                Ok(known) => return known,
                Err(error) => {
                    let trouble = Some(refused(&error));
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
        let mut course = Course { given: self.grace, ..Course::default() };
        loop {
            // On the heap: it is soon over, and there may be many runs, each of which waits here for long.
            let next = match Box::pin(self.step(&mut course)).await {
                Step::Over(last) => return last.map(|last| *last),
                Step::Until(next) => next,
            };
            tokio::select! {
                biased;
                grace = self.aborts.next() => course.ask(Stopping::Asked, grace),
                () = self.followed.changed() => {}
                () = until(next), if next.is_some() => {}
                () = self.events.closed() => return None,
            }
        }
    }

    /// Tells what is seen now, and does what there is to do.
    async fn step(&mut self, course: &mut Course) -> Step {
        if course.force.is_some_and(|due| due <= Instant::now()) {
            course.ask(course.stopping, Duration::ZERO);
            // What was in the way the last time may be so no more.
            self.stopped.clear();
            course.disowned = false;
        }
        loop {
            let mut seen = self.followed.seen();
            let silence = if course.stopping == Stopping::No { self.give_up(&mut seen) } else { None };
            let mut observation = observe(&seen);
            if observation.ended && is_guessed(&seen) && !std::mem::replace(&mut course.looked, true) {
                // Pods and their Job come by different watches: one may know what the other does not.
                self.look().await;
                continue;
            }
            self.read_log(&seen, &mut course.log);
            self.read_logs(&seen);
            if observation.ended {
                self.end_log(&seen, course.log.take()).await;
                self.end_logs().await;
                return Step::Over(Some(Box::new(self.ended(observation, course.stopping))));
            }
            if course.stopping == Stopping::No && lost_service(&observation.parts) {
                course.ask(Stopping::Alone, course.given);
            }
            if let Some(trouble) = self.followed.trouble() {
                observation.trouble = Some(trouble);
            }
            if course.stopping != Stopping::No {
                // A Job makes another pod for one that goes, so it goes first.
                if !std::mem::replace(&mut course.disowned, true) {
                    let deleted = self.link.delete_owner(&self.key, true).await;
                    self.refused = deleted.err().as_ref().map(refused);
                }
                // Also those that came later.
                self.stop_pods(&seen, course.given).await;
                observation.trouble = self.refused.clone().or(observation.trouble);
            } else if seen.is_doubled() && !std::mem::replace(&mut course.disowned, true) {
                // The one that counts is to end. Where this fails, the end of the run is soon enough.
                let _ = self.link.delete_owner(&self.key, false).await;
            }
            if course.told.as_deref() != Some(&observation) {
                if self.events.send(Event::Seen(Box::new(observation.clone()))).await.is_err() {
                    return Step::Over(None);
                }
                course.told = Some(Box::new(observation));
            }
            if !self.addresses.is_empty() && seen.pod().is_some_and(|pod| pod.main.ready) {
                let addresses = std::mem::take(&mut self.addresses);
                if self.events.send(Event::Addresses(addresses)).await.is_err() {
                    return Step::Over(None);
                }
            }
            let left = remaining(&seen, self.deadline).filter(|_| course.stopping == Stopping::No);
            if left.is_some_and(|left| left.is_zero()) {
                course.ask(Stopping::Overdue, course.given);
                continue;
            }
            let overdue = left.map(|left| Instant::now() + left);
            return Step::Until([silence, overdue, course.force].into_iter().flatten().min());
        }
    }

    /// Gives a pod up that was deleted and does not end, as on a node that does not answer; otherwise says until when it
    /// is waited for. By the time that passes here: clocks differ.
    fn give_up(&mut self, seen: &mut Seen) -> Option<Instant> {
        let (name, uid, grace) = seen
            .pod()
            .filter(|pod| pod.deleted.is_some() && !pod.gone)
            .map(|pod| (pod.name.clone(), pod.uid.clone(), pod.grace))?;
        let due = *self.deleted.entry(uid).or_insert_with(|| Instant::now() + grace + SILENCE);
        if due > Instant::now() {
            return Some(due);
        }
        if let Some(pod) = seen.pods.get_mut(&name) {
            Arc::make_mut(pod).given_up = true;
        }
        None
    }

    /// Asks what there is of the attempt now.
    async fn look(&self) {
        let (run, attempt) = (self.key.to_string(), self.attempt);
        let of = (run.as_str(), attempt);
        if let Err(error) = self.link.find(&self.followed, &self.namespace, of, self.main.as_deref()).await {
            tracing::warn!(%error, "the pods of a Job that ended cannot be listed");
        }
    }

    /// Deletes the pods that were not, or were with a longer time to end.
    async fn stop_pods(&mut self, seen: &Seen, grace: Duration) {
        for pod in seen.main_pods().filter(|pod| !pod.gone) {
            if self.stopped.get(&pod.uid).is_some_and(|given| *given <= grace) {
                continue;
            }
            match self.link.delete_pod(&pod.namespace, &pod.name, &pod.uid, grace).await {
                Ok(()) => drop(self.stopped.insert(pod.uid.clone(), grace)),
                Err(error) => {
                    tracing::warn!(%error, "a pod cannot be deleted");
                    // It is asked again when its time is over.
                    self.stopped.insert(pod.uid.clone(), grace);
                    self.refused = Some(refused(&error));
                }
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
            *log = Some(self.log_of(pod, log::MAIN, ended));
        }
        if let Some(log) = log {
            log.ended.send_if_modified(|known| !std::mem::replace(known, *known || ended) && ended);
        }
    }

    fn log_of(&self, pod: &PodSeen, source: &str, ended: bool) -> Log {
        let (sender, receiver) = channel::channel(ended);
        let follow = log::Follow {
            link: Arc::clone(&self.link),
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: pod.main.name.clone(),
            source: source.to_owned(),
            last: self.stored.last(source, Stream::Stdout),
            lines: self.events.clone(),
            ended: receiver,
        };
        Log { pod: pod.name.clone(), task: tokio::spawn(follow.run()), ended: sender }
    }

    /// Follows the logs of the other pods, but for very many.
    fn read_logs(&mut self, seen: &Seen) {
        let others = seen.pods.values().filter(|pod| pod.role != Role::Main);
        for pod in others {
            let ended = match pod.main.state {
                State::Running { .. } => pod.gone,
                State::Ended { .. } => true,
                _ => continue,
            };
            if !self.logs.contains_key(&pod.name) {
                if self.logs.len() >= LOGS || pod.gone {
                    continue;
                }
                let log = self.log_of(pod, &parts::name(pod), ended);
                self.logs.insert(pod.name.clone(), log);
            }
            if let Some(log) = self.logs.get(&pod.name) {
                log.ended.send_if_modified(|known| !std::mem::replace(known, *known || ended) && ended);
            }
        }
    }

    /// Gives the other pods' last lines a moment: these go on, and are ended with the run.
    async fn end_logs(&mut self) {
        if self.logs.is_empty() {
            return;
        }
        let tasks = self.logs.values_mut().map(|log| &mut log.task);
        let _ = tokio::time::timeout(MOMENT, join_all(tasks)).await;
        for (_, log) in self.logs.drain() {
            log.task.abort();
        }
    }

    /// Waits for the last lines.
    async fn end_log(&self, seen: &Seen, log: Option<Log>) {
        let Some(mut log) = log else { return };
        log.ended.send_replace(true);
        let gone = seen.pod().is_none_or(|pod| pod.gone || pod.given_up);
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
    fn ended(&self, observation: Observation, stopping: Stopping) -> Observation {
        let well = observation.parts.iter().any(|part| part.phase == Phase::Ended(Exit::Code(0)));
        match stopping {
            _ if well => observation,
            Stopping::No => observation,
            Stopping::Asked => stopped(observation),
            Stopping::Alone => {
                let others: Vec<_> = observation.parts.iter().skip(1).cloned().collect();
                let mut observation = stopped(observation);
                observation.parts.extend(others);
                observation
            }
            Stopping::Overdue => Observation { deadline: self.deadline, ..stopped(observation) },
        }
    }
}

/// The Secret with what the run is given, with its values; `None` of any other object.
pub(super) fn given(manifest: &Manifest, job: &Job) -> Result<Option<Manifest>> {
    if manifest.kind() != "Secret" || manifest.name() != run_secret_name(&job.run, job.attempt) {
        return Ok(None);
    }
    let project = &job.run.metadata.project;
    fill_run_secret(manifest, project, &job.secrets, job.secret_source.as_deref()).map(Some)
}

fn stopped(observation: Observation) -> Observation {
    Observation { parts: over(Exit::Stopped).parts, ..observation }
}

/// Nothing of it runs, and it ended so.
fn over(exit: Exit) -> Observation {
    let main = Part { name: "main".to_owned(), role: Role::Main, phase: Phase::Ended(exit) };
    Observation { parts: vec![main], ended: true, ..Observation::default() }
}

/// Why the cluster does not do what it is asked.
fn refused(error: &Error) -> Cause {
    match not_begun(error) {
        cause if cause.reason == Reason::Forbidden => cause,
        cause => Cause { reason: Reason::Unreachable, ..cause },
    }
}

/// Why an attempt is not there.
fn not_begun(error: &Error) -> Cause {
    let reason = match error.kind() {
        // Somebody took it away; what has a place in the run was missing before.
        ErrorKind::NotFound if error.location().is_none() => Reason::Lost,
        ErrorKind::PermissionDenied => Reason::Forbidden,
        ErrorKind::Exhausted => Reason::Quota,
        ErrorKind::Unsupported => Reason::MissingKind,
        ErrorKind::Unavailable => Reason::Unreachable,
        _ => Reason::StartFailed,
    };
    let cause = Cause::new(reason, error.message());
    match error.help_text() {
        Some(help) => cause.help(help),
        None => cause,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What is left of the time that a run may take. When it began is known to the second: it has all of its time.
fn remaining(seen: &Seen, limit: Option<Duration>) -> Option<Duration> {
    let State::Running { since } = &seen.pod()?.main.state else { return None };
    let used = Timestamp::now().duration_since((*since)?).checked_sub(SECOND)?;
    Some(limit?.saturating_sub(Duration::try_from(used).unwrap_or_default()))
}
