//! After the code of a run has ended, and before the run has: its artifacts are described, and moved to where they
//! belong.
//!
//! The code writes to a folder of this machine. Where artifacts belong elsewhere, all that lies in that folder is sent
//! there: `<folder>/x` to `<url>/x`, and `<folder>/.urls/s3/bucket/x` to `s3://bucket/x`. What was sent is noted, so that
//! whoever takes the run up sends only the rest.

use std::{
    collections::HashMap,
    io::Write,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use runtime_core::{
    Error, Result, Run, RunState,
    run::{Artifact, Reason, Verdict},
    serde_json::json,
};

use super::{
    Inner,
    follow::Follow,
    stage::{Outcome, failed},
};
use crate::data::{Meter, Place, Scheme, describe, is_url};

/// Files below this size are sent several at a time.
const SMALL: u64 = 1024 * 1024;

/// So many of them.
const AT_ONCE: usize = 8;

/// Below the folder of artifacts: what the code said belongs to a URL of its own.
const URLS: &str = ".urls";

/// Notes of what was sent begin so; then the iteration follows.
const SENT: &str = "sent-";

/// In a path of artifacts: the uid of the run.
pub(super) const OWN: &str = "{{run.uid}}";

/// A file that is to be sent, and where.
struct Parcel {
    from: PathBuf,
    to: Place,
    size: u64,
    /// Tells this content of the file from an earlier one.
    stamp: String,
}

impl Inner {
    /// Where the artifacts of a run belong, where that is not a folder of this machine.
    pub(super) fn artifact_url(&self, run: &Run) -> Result<Option<Place>> {
        let path = fill(&run.spec.output_path, run);
        if !is_url(&path) {
            return Ok(None);
        }
        let place = Place::parse(&path).map_err(|error| error.at("spec.output_path"))?;
        Ok((place.scheme() != Scheme::File).then_some(place))
    }

    /// The folder into which the code of a run writes artifacts.
    pub(super) fn artifact_folder(&self, run: &Run) -> PathBuf {
        let path = fill(&run.spec.output_path, run);
        let path = path.strip_prefix("file://").unwrap_or(&path);
        if path.is_empty() || is_url(path) {
            return self.default_artifacts(run);
        }
        let base = run.metadata.annotations.get(runtime_core::labels::WORK_DIR).map(PathBuf::from);
        base.unwrap_or_default().join(path)
    }

    /// Whether a path is one of a file that a run elsewhere sent here.
    pub(super) fn is_received(&self, run: &Run, path: &str) -> bool {
        let path = Path::new(path);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        run.spec.output_path.is_empty() && plain && path.starts_with(self.default_artifacts(run))
    }

    /// What is to be sent of the artifacts of a run.
    fn parcels(&self, run: &Run) -> Result<Vec<Parcel>> {
        let (folder, url) = (self.artifact_folder(run), self.artifact_url(run)?);
        let mut files = Vec::new();
        let root = if url.is_some() { folder.clone() } else { folder.join(URLS) };
        walk(&root, &mut files)?;
        files.iter().filter_map(|from| self.parcel(from, &folder, url.as_ref()).transpose()).collect()
    }

    fn parcel(&self, from: &Path, folder: &Path, url: Option<&Place>) -> Result<Option<Parcel>> {
        let Some(to) = destination(from, folder, url)? else { return Ok(None) };
        let meta = std::fs::metadata(from).map_err(|error| Error::io("read", from, error))?;
        let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let stamp = format!("{} {}", meta.len(), modified.unwrap_or_default().as_nanos());
        Ok(Some(Parcel { from: from.to_owned(), to, size: meta.len(), stamp }))
    }

    /// Sends what was not sent yet.
    async fn send(&self, run: &Run, parcels: &[Parcel], meter: &Meter) -> Result<()> {
        let (journal, project) = (self.journal(run)?, &run.metadata.project);
        let todo = parcels.iter().filter(|parcel| !journal.has(parcel));
        let (small, large): (Vec<_>, Vec<_>) = todo.partition(|parcel| parcel.size < SMALL);
        small.iter().chain(&large).for_each(|parcel| meter.expect(parcel.size));
        let send = |parcel| self.send_one(parcel, project, &journal, meter);
        // Of small files it is the way there and back that takes time, of large ones the parts.
        stream::iter(small).map(Ok).try_for_each_concurrent(AT_ONCE, send).await?;
        stream::iter(large).map(Ok).try_for_each_concurrent(1, send).await
    }

    async fn send_one(&self, parcel: &Parcel, project: &str, journal: &Journal, meter: &Meter) -> Result<()> {
        parcel.to.check_writable()?;
        self.storage.put(&parcel.from, &parcel.to, project, meter).await?;
        journal.note(parcel)
    }

    /// Removes from this machine what was sent elsewhere, once the run that says so is recorded.
    pub(super) fn clear_delivered(&self, run: &Run) -> Result<()> {
        let journal = self.journal(run)?;
        if journal.sent.is_empty() {
            return Ok(());
        }
        let folder = self.artifact_folder(run);
        let root = if self.artifact_url(run)?.is_some() { folder.clone() } else { folder.join(URLS) };
        // What could not be sent as a whole stays as a whole.
        if run.status.artifacts.iter().any(|artifact| Path::new(artifact.target_path()).starts_with(&root)) {
            return Ok(());
        }
        for parcel in self.parcels(run)?.iter().filter(|parcel| journal.has(parcel)) {
            std::fs::remove_file(&parcel.from).map_err(|error| Error::io("remove", &parcel.from, error))?;
        }
        remove_empty(&root);
        Ok(())
    }

    fn journal(&self, run: &Run) -> Result<Journal> {
        Journal::open(self.staged(&run.key()).join(format!("{SENT}{}", run.metadata.iteration)))
    }
}

impl Follow {
    /// Describes the artifacts of a run whose code has ended, and moves them to where they belong. Changes the verdict
    /// where that fails.
    pub(super) async fn deliver(&mut self, verdict: &mut Verdict) -> Result<()> {
        let has_artifacts = verdict.report.as_ref().is_some_and(|report| !report.artifacts.is_empty());
        if !has_artifacts && !is_url(&self.record.run.spec.output_path) {
            return Ok(());
        }
        let run = self.record.run.clone();
        if let Some(report) = &mut verdict.report {
            let artifacts = std::mem::take(&mut report.artifacts);
            let (of, inner, apart) = (run.clone(), Arc::clone(&self.inner), self.target.reports_apart());
            // A path that comes from elsewhere is none of this machine, unless the file came, too.
            let is_here = move |artifact: &Artifact| !apart || inner.is_received(&of, artifact.target_path());
            let of = run.clone();
            let described = tokio::task::spawn_blocking(move || {
                let describe = |artifact| if is_here(&artifact) { describe(artifact, &of) } else { artifact };
                artifacts.into_iter().map(describe).collect()
            });
            report.artifacts =
                described.await.map_err(|_| Error::internal("artifacts cannot be described"))?;
        }
        // What was written elsewhere belongs where it is, or was sent here.
        if !self.writes_here() || self.target.reports_apart() {
            return Ok(());
        }
        let ended = matches!(verdict.state, RunState::Completed | RunState::Error);
        if !ended || self.record.run.state() == RunState::Aborting {
            return Ok(());
        }
        let delivered = match self.inner.parcels(&run) {
            Ok(parcels) if parcels.is_empty() => return Ok(()),
            Ok(parcels) => self.send(&run, parcels).await?,
            Err(error) => Outcome::Done(Err(error)),
        };
        match delivered {
            Outcome::Stopped => verdict.state = RunState::Aborted,
            Outcome::Done(Ok(())) => self.say_where(&run, verdict)?,
            Outcome::Done(Err(error)) => {
                self.log_error(&error).await;
                self.could_not(verdict, &error);
            }
        }
        Ok(())
    }

    async fn send(&mut self, run: &Run, parcels: Vec<Parcel>) -> Result<Outcome<Result<()>>> {
        let (inner, meter) = (Arc::clone(&self.inner), Meter::default());
        self.watched("writing artifacts", &meter, inner.send(run, &parcels, &meter)).await
    }

    /// The artifacts are where they belong, and say so.
    fn say_where(&self, run: &Run, verdict: &mut Verdict) -> Result<()> {
        let (folder, url) = (self.inner.artifact_folder(run), self.inner.artifact_url(run)?);
        for artifact in verdict.report.iter_mut().flat_map(|report| &mut report.artifacts) {
            let path = artifact.target_path().to_owned();
            if !is_url(&path)
                && let Some(to) = destination(Path::new(&path), &folder, url.as_ref())?
            {
                let to = if path.ends_with('/') { to.as_folder() } else { to };
                artifact.spec.insert("target_path".to_owned(), json!(to.as_str()));
            }
        }
        Ok(())
    }

    /// The artifacts stay where they are. What the code itself failed of counts more.
    fn could_not(&mut self, verdict: &mut Verdict, error: &Error) {
        let folder = self.inner.artifact_folder(&self.record.run);
        let mut end = failed(Reason::ArtifactFailed, error);
        if let Some(cause) = &mut end.cause {
            cause.message = format!("artifacts could not be written to where they belong: {}", cause.message);
            cause.message += &format!("\n  they are kept in {}", folder.display());
        }
        if verdict.state == RunState::Completed {
            (verdict.state, verdict.cause) = (end.state, end.cause);
        } else if let Some(cause) = end.cause {
            self.notes.push(cause.message);
        }
    }
}

/// Fills the placeholders of an artifact path.
pub(super) fn fill(path: &str, run: &Run) -> String {
    path.replace(OWN, &run.metadata.uid)
        .replace("{{project}}", &run.metadata.project)
        .replace("{{run.project}}", &run.metadata.project)
}

/// Where a file of the folder of artifacts belongs; nowhere else, where it is not in that folder.
fn destination(from: &Path, folder: &Path, url: Option<&Place>) -> Result<Option<Place>> {
    let Some(relative) = from.strip_prefix(folder).ok().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(None);
    };
    let Some(text) = relative.to_str() else {
        return Err(Error::new(runtime_core::ErrorKind::Invalid, format!("{} is not UTF-8", from.display()))
            .help("give the artifact another name"));
    };
    let own =
        text.strip_prefix(URLS).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.split_once('/'));
    Ok(match (own, url) {
        (Some((scheme, rest)), _) => Some(Place::parse(&format!("{scheme}://{rest}"))?),
        (None, Some(url)) => Some(url.join(text)),
        (None, None) => None,
    })
}

/// All files below a folder, but those that were not written to their end.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Error::io("read", folder, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(|error| Error::io("read", folder, error))?.path());
    }
    found.sort();
    for path in found {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') && name.ends_with(".tmp") {
            continue;
        }
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// Removes a folder, and the folders in it, as far as nothing is in them.
fn remove_empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // It says no where something is left.
    let _ = std::fs::remove_dir(folder);
}

/// The iterations of which something was sent, by the notes in this folder.
pub(super) fn sent(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(SENT)?.parse().ok()).collect()
}

/// What was sent, noted line by line as `SIZE TIME URL`.
struct Journal {
    path: PathBuf,
    sent: HashMap<String, String>,
}

impl Journal {
    fn open(path: PathBuf) -> Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| Error::io("read", &path, error))?,
        };
        // A line without an end was being written when the writer died.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line: &str| {
            let (stamp, url) = line.rsplit_once('\t')?;
            Some((url.to_owned(), stamp.to_owned()))
        };
        let sent = whole.lines().filter_map(line).collect();
        Ok(Self { path, sent })
    }

    fn has(&self, parcel: &Parcel) -> bool {
        self.sent.get(parcel.to.as_str()) == Some(&parcel.stamp)
    }

    fn note(&self, parcel: &Parcel) -> Result<()> {
        let failed = |error| Error::io("write", &self.path, error);
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = std::fs::File::options().create(true).append(true).open(&self.path).map_err(failed)?;
        file.write_all(format!("{}\t{}\n", parcel.stamp, parcel.to.as_str()).as_bytes()).map_err(failed)
    }
}
