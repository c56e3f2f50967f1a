//! Schedules: kept in the store, and fired once each time, by whichever orchestrator is first.

use jiff::{SignedDuration, Timestamp};
use runtime_core::{
    Error, ErrorKind, Result, labels, naming,
    run::{RunKey, SecretSources},
    serde_json,
    store::{Document, DocumentFilter, RunFilter, RunRecord},
};

use super::{Orchestrator, Request, submit::DEFAULT_PROJECT};
use crate::schedule::{COUNTED, Fired, Schedule, ScheduleRecord, Scheduled, Skipped};

/// The kind of their documents.
const KIND: &str = "schedule";

/// How long a schedule whose run cannot be started at the moment waits.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What was done about a schedule whose time had come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Started(Fired),
    Skipped(Skipped),
    /// Somebody else did it.
    Nothing,
}

impl Orchestrator {
    /// Keeps a schedule for runs of this request; one of the same name is replaced. The function is stored, and each
    /// run is of exactly this version. It is fired by [`Self::serve`].
    ///
    /// # Errors
    /// As [`Self::submit`]; `Invalid` where the expression is wrong, `Unsupported` where the request has secrets that
    /// are for one run alone.
    pub async fn schedule(&self, schedule: Schedule, request: impl Into<Request>) -> Result<ScheduleRecord> {
        let request = request.into();
        let times = schedule.times()?;
        if request.spec.secret_sources.iter().any(|source| matches!(source, SecretSources::Inline(_))) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "values for one run alone cannot be given to a schedule",
            )
            .at("spec.secret_sources")
            .help("keep them in the project: runtimes secret set NAME"));
        }
        let request = self.with_image(&request).await?.unwrap_or(request);
        // All that can be known to be wrong is said now.
        let prepared = self.inner.prepare(&request).await?;
        let run = prepared.record.run;
        let mut schedule = schedule;
        if schedule.name.is_empty() {
            schedule.name.clone_from(&run.metadata.name);
        }
        naming::check("schedule.name", &schedule.name)?;
        let tag = Some(prepared.tag.as_str()).filter(|tag| !tag.is_empty());
        if !prepared.stored {
            self.inner.store.put_function(&prepared.function, tag).await?;
        }
        let now = Timestamp::now();
        let folder = |name: &str| run.metadata.annotations.get(name).map(Into::into).unwrap_or_default();
        let mut record = ScheduleRecord {
            project: run.metadata.project.clone(),
            run: Scheduled {
                function: run.spec.function.clone(),
                name: run.metadata.name.clone(),
                labels: request.labels,
                target: request.target,
                base_dir: folder(labels::BASE_DIR),
                work_dir: folder(labels::WORK_DIR),
                // Masked by now, but as it was asked for.
                spec: runtime_core::run::RunSpec {
                    notifications: run.spec.notifications.clone(),
                    ..request.spec
                },
            },
            created: now,
            suspended: false,
            next: times.after(now),
            last: None,
            skipped: None,
            revision: 0,
            schedule,
        };
        loop {
            let known = self.find_schedule(&record.project, &record.schedule.name).await?;
            record.revision = known.map_or(0, |known| known.revision);
            match self.put_schedule(&mut record, None).await {
                Err(error) if is_race(&error) => {}
                other => return other.map(|()| record),
            }
        }
    }

    /// The schedules of a project, or of all, by their next time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn schedules(&self, project: Option<&str>) -> Result<Vec<ScheduleRecord>> {
        let filter = DocumentFilter { project: project.map(str::to_owned), ..DocumentFilter::of(KIND) };
        let documents = self.inner.store.list_documents(&filter).await?;
        let mut records = documents.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        records.sort_by_key(|record| (record.next.is_none(), record.next, record.schedule.name.clone()));
        Ok(records)
    }

    /// The schedule `[PROJECT/]NAME`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_schedule(&self, name: &str) -> Result<ScheduleRecord> {
        let (project, name) = name.split_once('/').unwrap_or((DEFAULT_PROJECT, name));
        self.find_schedule(project, name).await?.ok_or_else(|| {
            Error::not_found(format!("the project {project:?} has no schedule {name:?}"))
                .help("`runtimes schedule list` lists them; one of another project is PROJECT/NAME")
        })
    }

    /// Forgets a schedule; its runs stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_schedule(&self, name: &str) -> Result<()> {
        let record = self.get_schedule(name).await?;
        self.inner.store.delete_document(KIND, &record.project, &record.schedule.name, None).await.map(drop)
    }

    /// Lets a schedule wait until it is resumed, or go on. Times that pass while it waits are not missed: nobody
    /// wanted them.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn suspend_schedule(&self, name: &str, suspended: bool) -> Result<ScheduleRecord> {
        loop {
            let mut record = self.get_schedule(name).await?;
            if record.suspended == suspended {
                return Ok(record);
            }
            record.suspended = suspended;
            record.next = if suspended { None } else { record.schedule.times()?.after(Timestamp::now()) };
            match self.put_schedule(&mut record, None).await {
                Err(error) if is_race(&error) => {}
                other => return other.map(|()| record),
            }
        }
    }

    /// What a schedule would run, to be run at once: whatever its times and its other runs are.
    ///
    /// # Errors
    /// `NotFound`, where there is no such schedule, or its function was deleted.
    pub async fn scheduled_request(&self, name: &str) -> Result<Request> {
        self.request_of(&self.get_schedule(name).await?).await
    }

    /// Fires the schedules that are due at this time; returns the runs that were started. [`Self::serve`] does it when
    /// it is time.
    ///
    /// Of times that were missed, the last one alone is made up for, and only within the schedule's starting deadline;
    /// the others are noted as skipped.
    ///
    /// # Errors
    /// When the store fails. What is wrong with one schedule is noted there, and keeps no other from being fired.
    pub async fn fire_due(&self, now: Timestamp) -> Result<Vec<RunKey>> {
        let mut started = Vec::new();
        for record in self.due_schedules(now).await? {
            if let Outcome::Started(fired) = self.fire(record, now).await? {
                started.push(RunKey::new(fired.uid));
            }
        }
        Ok(started)
    }

    pub(super) async fn due_schedules(&self, now: Timestamp) -> Result<Vec<ScheduleRecord>> {
        let filter = DocumentFilter { due_before: Some(now), ..DocumentFilter::of(KIND) };
        let documents = self.inner.store.list_documents(&filter).await?;
        let readable = |document: Document| {
            let name = document.name.clone();
            read(document)
                .inspect_err(|error| tracing::error!(name, %error, "a schedule cannot be read"))
                .ok()
        };
        Ok(documents.into_iter().filter_map(readable).collect())
    }

    /// When the next one is due.
    pub(super) async fn next_schedule(&self) -> Result<Option<Timestamp>> {
        let filter =
            DocumentFilter { due_before: Some(Timestamp::MAX), limit: 1, ..DocumentFilter::of(KIND) };
        Ok(self.inner.store.list_documents(&filter).await?.first().and_then(|document| document.due))
    }

    /// Does what is due about one schedule. The run's uid follows from the schedule and the time: however many
    /// orchestrators try, and wherever one of them dies, there is one run.
    pub(super) async fn fire(&self, mut record: ScheduleRecord, now: Timestamp) -> Result<Outcome> {
        let Some(due) = record.next.filter(|due| *due <= now) else { return Ok(Outcome::Nothing) };
        let times = match record.schedule.times() {
            Ok(times) => times,
            Err(error) => return self.stop_schedule(record, due, &error).await,
        };
        let (time, count) = times.last_until(due, now);
        let uid = uid_of(&record, time);
        let outcome = match self.start(&record, time, &uid, now).await {
            Ok(Some(reason)) => Outcome::Skipped(Skipped { time, count, reason }),
            Ok(None) => Outcome::Started(Fired { time, uid }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Outcome::Started(Fired { time, uid }),
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Exhausted) => {
                // Nothing is wrong with the schedule: it waits for the store, or for room.
                let later = now.checked_add(AGAIN).unwrap_or(now);
                return match self.put_schedule(&mut record, Some(later)).await {
                    Err(_) => Err(error),
                    Ok(()) => Ok(Outcome::Nothing),
                };
            }
            Err(error) => Outcome::Skipped(Skipped { time, count, reason: error.to_string() }),
        };
        match &outcome {
            Outcome::Started(fired) => {
                record.last = Some(fired.clone());
                if count > 1 {
                    let reason = "nobody was there to start it; the last one was made up for".to_owned();
                    record.skipped = Some(Skipped { time: due, count: count - 1, reason });
                }
            }
            Outcome::Skipped(skipped) => record.skipped = Some(skipped.clone()),
            Outcome::Nothing => {}
        }
        record.next = times.after(now);
        match self.put_schedule(&mut record, None).await {
            Ok(()) => Ok(outcome),
            // Whoever was faster noted the same.
            Err(error) if is_race(&error) => Ok(Outcome::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Notes that a schedule cannot be read any more: a time zone that this machine does not know, say.
    async fn stop_schedule(
        &self,
        mut record: ScheduleRecord,
        time: Timestamp,
        why: &Error,
    ) -> Result<Outcome> {
        let skipped = Skipped { time, count: 1, reason: why.to_string() };
        (record.next, record.skipped) = (None, Some(skipped.clone()));
        match self.put_schedule(&mut record, None).await {
            Err(error) if is_race(&error) => Ok(Outcome::Nothing),
            other => other.map(|()| Outcome::Skipped(skipped)),
        }
    }

    /// Starts the run of one time; says why where it is not to be started.
    async fn start(
        &self,
        record: &ScheduleRecord,
        time: Timestamp,
        uid: &str,
        now: Timestamp,
    ) -> Result<Option<String>> {
        if self.inner.store.get_run(&RunKey::new(uid)).await?.is_some() {
            return Ok(None);
        }
        let late = now.duration_since(time).as_secs();
        if let Some(deadline) = record.schedule.starting_deadline_seconds
            && late > i64::try_from(deadline).unwrap_or(i64::MAX)
        {
            return Ok(Some(format!("it would have been {late}s late; at most {deadline}s are allowed")));
        }
        let request = Request { uid: uid.to_owned(), ..self.request_of(record).await? };
        use crate::schedule::Concurrency::{Allow, Forbid, Replace};
        let earlier = match record.schedule.concurrency {
            Allow => Vec::new(),
            Forbid | Replace => self.active_of(record, uid).await?,
        };
        match (record.schedule.concurrency, earlier.first()) {
            (Forbid, Some(first)) => {
                return Ok(Some(format!("the run of an earlier time has not ended: {}", first.run.key())));
            }
            _ => {
                for earlier in &earlier {
                    match self.abort(&earlier.run.key()).await {
                        Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                            return Err(error);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.submit(request).await.map(|_| None)
    }

    /// The runs of a schedule that have not ended.
    async fn active_of(&self, record: &ScheduleRecord, uid: &str) -> Result<Vec<RunRecord>> {
        let filter = RunFilter {
            project: Some(record.project.clone()),
            labels: [(labels::SCHEDULE.to_owned(), record.schedule.name.clone())].into(),
            iteration: Some(0),
            ..RunFilter::active()
        };
        let mut runs = self.inner.store.list_runs(&filter).await?;
        runs.retain(|other| other.run.metadata.uid != uid);
        Ok(runs)
    }

    async fn request_of(&self, record: &ScheduleRecord) -> Result<Request> {
        let run = &record.run;
        let function = self.function(&run.function).await?;
        let survives = self.inner.registry.get(&function.function.kind)?.capability().survives;
        let mut labels = run.labels.clone();
        labels.insert(labels::SCHEDULE.to_owned(), record.schedule.name.clone());
        Ok(Request {
            name: run.name.clone(),
            project: record.project.clone(),
            labels,
            spec: run.spec.clone(),
            base_dir: run.base_dir.clone(),
            work_dir: run.work_dir.clone(),
            target: run.target.clone(),
            detached: survives,
            ..Request::stored(function)
        })
    }

    async fn find_schedule(&self, project: &str, name: &str) -> Result<Option<ScheduleRecord>> {
        self.inner.store.get_document(KIND, project, name).await?.map(read).transpose()
    }

    /// Writes it; it is due at its next time, or at `due`.
    async fn put_schedule(&self, record: &mut ScheduleRecord, due: Option<Timestamp>) -> Result<()> {
        let body = serde_json::to_value(&*record)
            .map_err(|error| Error::internal("a schedule cannot be written").source(error))?;
        let document = Document {
            revision: record.revision,
            due: due.or(record.next),
            ..Document::new(KIND, &record.project, &record.schedule.name, body)
        };
        record.revision = self.inner.store.put_document(&document).await?;
        Ok(())
    }
}

fn read(document: Document) -> Result<ScheduleRecord> {
    let record: ScheduleRecord = serde_json::from_value(document.body).map_err(|error| {
        let name = format!("{}/{}", document.project, document.name);
        Error::invalid(format!("schedule {name}"), format!("it cannot be read: {error}"))
            .help("delete it, and make it again")
    })?;
    Ok(ScheduleRecord { project: document.project, revision: document.revision, ..record })
}

fn is_race(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists | ErrorKind::NotFound)
}

/// The uid of the run for this time of this schedule.
fn uid_of(record: &ScheduleRecord, time: Timestamp) -> String {
    use sha1::{Digest, Sha1};
    let text = format!("{}/{}/{}/{time}", record.project, record.schedule.name, record.created);
    Sha1::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// How a number of times is said.
pub(super) fn counted(count: usize) -> String {
    match count {
        1 => "1 time".to_owned(),
        COUNTED.. => format!("{COUNTED} times or more"),
        _ => format!("{count} times"),
    }
}
