//! Before a run starts: inputs that lie elsewhere are fetched into files of this machine.
//!
//! They lie in `<home>/staged/<uid>/`, one folder for each URL: the iterations of a run share them. What lies there is
//! whole, so that whoever takes a run up fetches only what is missing.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use runtime_core::{
    Error, Result, Run, RunState,
    run::{Cause, Reason, RunKey, Verdict},
    target::Job,
};

use super::{Inner, follow::Follow};
use crate::data::{ArtifactUri, Meter, Place, Scheme, is_url};

/// How often progress is shown.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// So many inputs are fetched at the same time.
const AT_ONCE: usize = 4;

/// Locks for what several runs fetch into one place.
#[derive(Default)]
pub(super) struct Fetching(Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>);

impl Fetching {
    fn lock(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(path.to_owned()).or_default())
    }
}

/// How an endeavour of a run ended that can be stopped.
pub(super) enum Outcome<T> {
    Done(T),
    Stopped,
}

impl Inner {
    /// Inputs that name artifacts name exactly one from now on: what is recorded is what will be read.
    pub(super) async fn pin_inputs(&self, run: &mut Run) -> Result<()> {
        let project = run.metadata.project.clone();
        for (name, place) in &mut run.spec.inputs {
            if ArtifactUri::is_uri(place) {
                let at = |error: Error| error.at(format!("inputs.{name}"));
                let uri = place.parse::<ArtifactUri>().map_err(at)?.in_project(&project);
                *place = self.artifact(&uri).await.map_err(at)?.uri().to_string();
            }
        }
        Ok(())
    }

    /// Where things of a run lie before it starts, and until it has ended.
    pub(super) fn staged(&self, key: &RunKey) -> PathBuf {
        self.home.join("staged").join(&key.uid)
    }

    /// Fetches the inputs of a run that lie elsewhere; returns where they are.
    async fn fetch_inputs(&self, run: &Run, meter: &Meter) -> Result<BTreeMap<String, PathBuf>> {
        let folder = self.staged(&run.key());
        let inputs = run.spec.inputs.iter().filter(|(_, place)| lies_elsewhere(place));
        let fetch = |(name, text): (&String, &String)| {
            let (name, text, folder) = (name.clone(), text.clone(), folder.clone());
            async move {
                let path = self.fetch_input(&text, &run.metadata.project, &folder, meter).await;
                path.map(|path| (name.clone(), path)).map_err(|error| error.under(&format!("inputs.{name}")))
            }
        };
        // Collected first: a lazy one would hold on to the inputs' lifetimes across threads.
        let fetches: Vec<_> = inputs.map(fetch).collect();
        stream::iter(fetches).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn fetch_input(&self, text: &str, project: &str, folder: &Path, meter: &Meter) -> Result<PathBuf> {
        let place = match ArtifactUri::is_uri(text) {
            true => {
                let record = self.artifact(&text.parse::<ArtifactUri>()?.in_project(project)).await?;
                let place = record.place()?;
                if let Some(path) = place.path() {
                    return existing(path, text);
                }
                if record.artifact.kind == "dir" || record.is_folder() { place.as_folder() } else { place }
            }
            false => Place::parse(text)?,
        };
        let to = folder.join(digest(place.as_str())).join(place.name());
        let lock = self.fetching.lock(&to);
        let _held = lock.lock().await;
        if !to.exists() {
            self.storage.fetch(&place, project, &to, meter).await?;
        }
        Ok(to)
    }

    /// Removes what was fetched for a run that has ended; its iterations leave it to the run itself.
    pub(super) fn unstage(&self, key: &RunKey) -> Result<()> {
        if key.iteration == 0 { super::remove(&self.staged(key)) } else { Ok(()) }
    }

    /// Removes what was staged for runs that have ended, where an orchestrator died before it could.
    pub(super) async fn sweep_staged(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.home.join("staged")).into_iter().flatten().flatten() {
            let Ok(uid) = entry.file_name().into_string() else { continue };
            let key = RunKey::new(uid);
            // One without a record may be in another store.
            let Some(record) = self.store.get_run(&key).await? else { continue };
            if record.run.state().is_terminal() {
                for iteration in super::deliver::sent(&entry.path()) {
                    let key = RunKey { iteration, ..key.clone() };
                    if let Some(record) = self.store.get_run(&key).await? {
                        self.clear_delivered(&record.run)?;
                    }
                }
                self.unstage(&key)?;
            }
        }
        Ok(())
    }
}

impl Follow {
    /// Fetches the inputs that lie elsewhere, showing how far that is. A verdict says that the run ended over it.
    pub(super) async fn stage(&mut self, job: &mut Job) -> Result<Option<Verdict>> {
        let fetches = job.run.spec.inputs.values().any(|place| lies_elsewhere(place));
        let url = match is_url(&job.run.spec.output_path) && !job.resumed {
            true => self.inner.artifact_url(&job.run)?,
            false => None,
        };
        if !fetches && url.is_none() {
            return Ok(None);
        }
        Box::pin(self.fetch_and_probe(job, fetches, url)).await
    }

    async fn fetch_and_probe(
        &mut self,
        job: &mut Job,
        fetches: bool,
        url: Option<Place>,
    ) -> Result<Option<Verdict>> {
        if self.record.run.state() == RunState::Aborting {
            // Of a run that is taken up the target knows whether it was started; it starts nothing now.
            return Ok((!job.resumed).then(stopped));
        }
        self.change(|run, now| run.transition(RunState::Pending, now)).await?;
        let (inner, run) = (Arc::clone(&self.inner), Arc::clone(&job.run));
        let meter = Meter::default();
        let work = async {
            if let Some(url) = url {
                let probed = inner.storage.probe(&url, &run.metadata.project).await;
                probed.map_err(|error| (Reason::ArtifactFailed, error.at("spec.output_path")))?;
            }
            inner.fetch_inputs(&run, &meter).await.map_err(|error| (Reason::InputFailed, error))
        };
        let what = if fetches { "fetching inputs" } else { "looking where artifacts go" };
        Ok(match self.watched(what, &meter, work).await? {
            Outcome::Stopped => Some(stopped()),
            Outcome::Done(Ok(inputs)) => {
                job.inputs = inputs;
                None
            }
            Outcome::Done(Err((reason, error))) => {
                self.log_error(&error).await;
                Some(failed(reason, &error))
            }
        })
    }

    /// Does this work while it shows how far it is, and stops it when the run is to stop.
    pub(super) async fn watched<T>(
        &mut self,
        what: &str,
        meter: &Meter,
        work: impl Future<Output = T>,
    ) -> Result<Outcome<T>> {
        tokio::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                _ = self.aborts.next() => {
                    self.change(|run, now| run.transition(RunState::Aborting, now)).await?;
                    return Ok(Outcome::Stopped);
                }
                done = &mut work => return Ok(Outcome::Done(done)),
                _ = tick.tick() => {
                    let progress = format!("{what}{}", shown(meter));
                    self.live.send_if_modified(|live| {
                        let news = live.progress.as_ref() != Some(&progress);
                        live.settled = true;
                        live.progress = Some(progress);
                        news
                    });
                }
            }
        }
    }
}

/// How far it is: `: 12.5 of 64.0 MiB`.
fn shown(meter: &Meter) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match (meter.done(), meter.total()) {
        (0, 0) => String::new(),
        (done, total) if total >= done => format!(": {:.1} of {:.1} MiB", mib(done), mib(total)),
        (done, _) => format!(": {:.1} MiB", mib(done)),
    }
}

/// Whether an input is fetched before the run starts. What only the agent can read in this build is left to it.
fn lies_elsewhere(place: &str) -> bool {
    if ArtifactUri::is_uri(place) {
        return true;
    }
    is_url(place)
        && Place::parse(place).is_ok_and(|place| match place.scheme() {
            Scheme::File => false,
            Scheme::Http => Scheme::Http.is_compiled(),
            _ => true,
        })
}

fn existing(path: PathBuf, uri: &str) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path);
    }
    Err(Error::not_found(format!("{uri} was kept in {}, and is not there any more", path.display())))
}

/// A name for what lies at this URL.
fn digest(url: &str) -> String {
    use sha1::{Digest, Sha1};
    Sha1::digest(url).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn stopped() -> Verdict {
    Verdict { state: RunState::Aborted, ..Verdict::default() }
}

/// The end of a run that failed with this error.
pub(super) fn failed(reason: Reason, error: &Error) -> Verdict {
    let mut cause = Cause::new(reason, error.message());
    if let Some(location) = error.location() {
        cause.message = format!("{location}: {}", cause.message);
    }
    for (key, value) in error.contexts() {
        cause.message += &format!("\n  {key}: {value}");
    }
    cause.help = error.help_text().map(str::to_owned);
    Verdict { state: RunState::Error, cause: Some(cause), ..Verdict::default() }
}
