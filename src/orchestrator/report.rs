//! What the code of a run reports from elsewhere: kept as a document before it is answered for, taken up by whoever
//! follows the run, in whichever process, and gone when the run has ended.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use runtime_core::{
    Error, ErrorKind, Result,
    run::{Report, RunKey, Verdict},
    serde_json::{self, Value},
    store::{Document, DocumentFilter, RunRecord},
    target::Observation,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::Instant};

use super::{Inner, Orchestrator, follow::Follow, no_run, plan};

/// The kind of these documents.
pub(super) const KIND: &str = "report";

/// What is reported on the way is put on the run no more often than this.
const PAUSE: Duration = Duration::from_millis(200);

/// The clocks of those who write to one store agree to less than this.
const SKEW: SignedDuration = SignedDuration::from_secs(15);

/// So many reports are looked at first.
const FEW: usize = 64;

/// The most that is kept of one attempt, in bytes of JSON.
const LARGEST: usize = 32 * 1024 * 1024;

/// How often a change is tried that somebody else's change was in the way of.
const TRIES: usize = 64;

/// What is kept of what the code of one attempt reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What it comes to.
    pub(crate) report: Report,
    /// Tells an earlier word from a later one: of the clock of who reports.
    #[serde(default)]
    pub(crate) sequence: i64,
    /// The run as a client of MLRun keeps it, where one reports.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) mlrun: Value,
}

/// The name of a report: of the run, and of which attempt.
pub(super) fn name(key: &RunKey, attempt: u32) -> String {
    format!("{key}.{attempt}")
}

/// The reports of a run that is followed.
pub(super) struct Reported {
    news: Arc<Notify>,
    /// There was one.
    any: bool,
    revision: u64,
    latest: Option<Report>,
    /// What was seen last: another report gives another verdict.
    seen: Option<Box<Observation>>,
    /// Not before then.
    next: Option<Instant>,
}

impl Reported {
    pub(super) fn new(news: Arc<Notify>) -> Self {
        Self { news, any: false, revision: 0, latest: None, seen: None, next: None }
    }

    /// Another attempt begins: what an earlier one said does not count. Of a run that was taken up there may be
    /// something already.
    pub(super) fn begin(&mut self, resumed: bool) {
        (self.revision, self.latest, self.seen) = (0, None, None);
        if resumed {
            self.news.notify_one();
        }
    }

    /// Waits until there is something new.
    pub(super) async fn news(&self) {
        if let Some(next) = self.next {
            tokio::time::sleep_until(next).await;
        }
        self.news.notified().await;
    }
}

impl Follow {
    /// What is true, by what is seen and what was reported.
    pub(super) async fn observe(&mut self, mut seen: Box<Observation>) -> Verdict {
        let own = seen.report.is_some();
        if seen.ended && !own && self.reports_came() {
            // The last word may have come this moment.
            self.read_report().await;
        }
        if !own {
            seen.report.clone_from(&self.reported.latest);
        }
        let verdict = self.read(&seen);
        self.reported.seen = (!own && !seen.ended).then_some(seen);
        verdict
    }

    /// Puts on the run what was reported meanwhile.
    pub(super) async fn take_report(&mut self) -> Result<()> {
        self.reported.next = Some(Instant::now() + PAUSE);
        if !self.read_report().await {
            return Ok(());
        }
        let Some(seen) = &mut self.reported.seen else { return Ok(()) };
        seen.report.clone_from(&self.reported.latest);
        let seen = seen.clone();
        let verdict = self.read(&seen);
        self.record_verdict(Some(&verdict)).await
    }

    /// What is true, by what is seen. Of what code in a pod wrote into a file there, it is said that it is there.
    fn read(&self, seen: &Observation) -> Verdict {
        let mut verdict = self.runtime.observe(seen);
        if let Some(report) = verdict.report.as_mut().filter(|_| !self.writes_here()) {
            let run = &self.record.run;
            plan::mark_pod_paths(report, |path| self.inner.is_received(run, path));
        }
        verdict
    }

    /// Reads the report of the attempt that goes on; returns whether it is another one.
    async fn read_report(&mut self) -> bool {
        let RunRecord { run, attempt, .. } = &self.record;
        match self.inner.report(&run.key(), *attempt).await {
            Ok(Some((revision, kept))) if revision != self.reported.revision => {
                self.reported.any = true;
                self.reported.revision = revision;
                self.reported.latest = Some(kept.report);
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(run = %run.key(), %error, "what a run reported cannot be read");
                self.reported.news.notify_one();
                false
            }
        }
    }

    /// Whether there may be reports.
    pub(super) fn reports_came(&self) -> bool {
        self.reported.any || self.target.reports_apart()
    }

    /// Removes what an ended run reported: it is on the run.
    pub(super) async fn forget_reports(&self) {
        if !self.reports_came() {
            return;
        }
        let key = self.record.run.key();
        if let Err(error) = self.inner.forget_reports(&key).await {
            tracing::warn!(%key, %error, "the reports of an ended run could not be removed");
        }
    }
}

/// Which reports were looked at, while that may be asked again.
#[derive(Default)]
pub(super) struct Seen {
    until: Option<Timestamp>,
    revisions: HashMap<String, u64>,
}

impl Inner {
    /// What was reported of an attempt, and at which revision that is.
    async fn report(&self, key: &RunKey, attempt: u32) -> Result<Option<(u64, Kept)>> {
        let found = self.store.get_document(KIND, "", &name(key, attempt)).await?;
        found.map(|document| Ok((document.revision, read(document)?))).transpose()
    }

    async fn forget_reports(&self, key: &RunKey) -> Result<()> {
        let filter = DocumentFilter { parent: Some(key.clone()), ..DocumentFilter::of(KIND) };
        for document in self.store.list_documents(&filter).await? {
            self.store.delete_document(KIND, "", &document.name, None).await?;
        }
        Ok(())
    }

    /// Removes those of runs that ended while nobody was there to do so.
    pub(super) async fn sweep_reports(&self) -> Result<()> {
        for document in self.store.list_documents(&DocumentFilter::of(KIND)).await? {
            let Some(key) = &document.parent else { continue };
            let record = self.store.get_run(key).await?;
            if record.as_ref().is_some_and(|record| !record.run.state().is_terminal()) {
                continue;
            }
            if let Some(record) = &record {
                self.keep_children(record).await?;
            }
            self.store.delete_document(KIND, "", &document.name, None).await?;
        }
        Ok(())
    }

    /// Tells the followers here what was reported to others.
    pub(super) async fn look_for_reports(&self) {
        if let Err(error) = self.try_look_for_reports().await {
            tracing::warn!(%error, "reports of runs cannot be read");
        }
    }

    async fn try_look_for_reports(&self) -> Result<()> {
        let before = self.reports_seen.lock().unwrap_or_else(PoisonError::into_inner).until;
        let since = before.and_then(|until| until.checked_sub(SKEW).ok());
        let is_old = |document: &Document| since.is_some_and(|since| document.updated < since);
        let mut limit = FEW;
        let found = loop {
            let found =
                self.store.list_documents(&DocumentFilter { limit, ..DocumentFilter::of(KIND) }).await?;
            if found.len() < limit || found.last().is_some_and(is_old) {
                break found;
            }
            limit *= 8;
        };
        let recent: Vec<_> = found.into_iter().filter(|document| !is_old(document)).collect();
        let mut seen = self.reports_seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.until = recent.first().map(|document| document.updated).max(before);
        let known = std::mem::take(&mut seen.revisions);
        for Document { name, revision, parent, .. } in recent {
            if known.get(&name) != Some(&revision)
                && let Some(key) = &parent
            {
                self.wake(key);
            }
            seen.revisions.insert(name, revision);
        }
        Ok(())
    }

    fn wake(&self, key: &RunKey) {
        if let Some(active) = self.active().get(key) {
            active.reported.notify_one();
        }
    }
}

#[cfg_attr(not(feature = "api"), allow(dead_code, reason = "reports come in by the endpoint"))]
impl Orchestrator {
    /// The run of this key, as long as this attempt of it may report.
    pub(crate) async fn reporting(&self, key: &RunKey, attempt: u32) -> Result<RunRecord> {
        let record = self.inner.store.get_run(key).await?.ok_or_else(|| no_run(key))?;
        if record.run.state().is_terminal() {
            let message = format!("run {key} has ended ({}), and takes no reports", record.run.state());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if record.attempt != attempt {
            let (now, then) = (record.attempt + 1, attempt.saturating_add(1));
            let message = format!("run {key} is at its attempt {now}: this report is of attempt {then}");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(record)
    }

    /// What was reported of this attempt; of an iteration that its code made, where the key is one.
    pub(crate) async fn reported(&self, key: &RunKey, attempt: u32) -> Result<Option<Kept>> {
        Ok(self.inner.report(key, attempt).await?.map(|(_, kept)| kept))
    }

    /// Changes what was reported of an attempt of a run, durably, and tells whoever follows it. `of` is the run, or an
    /// iteration that its code made. A change that is refused or changes nothing writes nothing.
    ///
    /// # Errors
    /// `Conflict` where the run has ended, or another attempt goes on; what the change or the store says.
    pub(crate) async fn report(
        &self,
        run: &RunKey,
        of: &RunKey,
        attempt: u32,
        change: impl Fn(&mut Kept) -> Result<()> + Send,
    ) -> Result<Kept> {
        for _ in 0..TRIES {
            self.reporting(run, attempt).await?;
            let (revision, before) = match self.inner.report(of, attempt).await? {
                Some((revision, kept)) => (revision, kept),
                None => (0, Kept::default()),
            };
            let mut kept = before.clone();
            change(&mut kept)?;
            if kept == before && revision > 0 {
                return Ok(kept);
            }
            let body = written(&kept)?;
            let mut document = Document::new(KIND, "", name(of, attempt), body);
            document.revision = revision;
            document.parent = Some(run.clone());
            match self.inner.store.put_document(&document).await {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::NotFound && revision > 0 => continue,
                Err(error) => return Err(error),
            }
            self.inner.wake(run);
            // It may have ended meanwhile: then nobody looks for this any more.
            if let Err(ended) = self.reporting(run, attempt).await {
                self.inner.store.delete_document(KIND, "", &document.name, None).await?;
                return Err(ended);
            }
            return Ok(kept);
        }
        Err(Error::new(ErrorKind::Conflict, format!("too many report of run {run} at the same time"))
            .help("try again"))
    }
}

fn written(kept: &Kept) -> Result<Value> {
    let body = serde_json::to_value(kept)
        .map_err(|error| Error::internal("a report cannot be written").source(error))?;
    let length = body.to_string().len();
    if length > LARGEST {
        let message = format!("with this the run has reported {length} bytes, and {LARGEST} are kept of it");
        return Err(Error::invalid("report", message).help("write what is large into an artifact"));
    }
    Ok(body)
}

pub(super) fn read(document: Document) -> Result<Kept> {
    serde_json::from_value(document.body).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("the report {} cannot be read: {error}", document.name))
    })
}
