//! The code of functions that keep it elsewhere: where paths lie, and how it is fetched before a run starts.

use std::path::{Path, PathBuf};

use runtime_core::{
    Error, Function, Plan, Result,
    plan::{Code, HostPlan, Isolation, Work},
    run::RunKey,
    target::{Job, Source},
};

use super::Inner;

/// The folder in the home with what runs work in.
const WORK: &str = "work";

/// Whether the code is on this machine already.
pub(super) fn in_reach(function: &Function, base_dir: &Path) -> bool {
    let source = &function.spec.build.source;
    source.is_empty() || folder(source, base_dir).is_some()
}

/// The folder against which the paths of a function within reach are read.
pub(super) fn code_base(function: &Function, base_dir: &Path) -> PathBuf {
    match folder(&function.spec.build.source, base_dir) {
        Some(root) => base_in(&root, &source_of(function), Some(Path::new(&function.spec.command))),
        None => base_dir.to_owned(),
    }
}

fn source_of(function: &Function) -> Source {
    let spec = &function.spec;
    let roots = [&spec.clone_target_dir, &spec.build.source_code_target_dir];
    Source {
        address: spec.build.source.clone(),
        workdir: spec.workdir.clone(),
        roots: roots.into_iter().filter(|root| !root.is_empty()).cloned().collect(),
    }
}

/// The folder that a source names, if it is one of this machine.
fn folder(source: &str, base_dir: &Path) -> Option<PathBuf> {
    let path = base_dir.join(source.strip_prefix("file://").unwrap_or(source));
    (!source.is_empty() && path.is_dir()).then_some(path)
}

/// A path below one of the source's folders on a cluster, seen from its root.
fn below<'a>(source: &Source, path: &'a str) -> &'a str {
    let inside = source.roots.iter().find_map(|root| {
        let rest = path.strip_prefix(root.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
    });
    inside.unwrap_or(path)
}

/// Paths are read against `workdir`, or against the source's root where the code lies there.
fn base_in(root: &Path, source: &Source, code: Option<&Path>) -> PathBuf {
    let workdir = root.join(below(source, &source.workdir));
    let workdir = if source.workdir.is_empty() { root.to_owned() } else { workdir };
    match code {
        Some(code) if !workdir.join(code).exists() && root.join(code).exists() => root.to_owned(),
        _ => workdir,
    }
}

/// Lets a job find its code below `root`.
fn place(job: &mut Job, source: &Source, root: &Path) {
    let Plan::Host(plan) = &*job.plan else { return };
    let mut plan: HostPlan = plan.clone();
    let code = plan.main().and_then(|main| match &main.work {
        Work::Python { code: Code::File(file), .. } => Some(file.clone()),
        Work::Python { code: Code::Source { name, .. }, .. } => Some(name.clone()),
        Work::Program { command, code: None, .. } if command.contains('/') => Some(PathBuf::from(command)),
        _ => None,
    });
    job.base_dir = base_in(root, source, code.as_deref());
    job.work_dir = base_in(root, source, None);
    for process in &mut plan.processes {
        if process.workdir.as_deref() == Some(source.workdir.as_str()) {
            process.workdir = None;
        }
        if let Work::Python { pythonpath, code, .. } = &mut process.work {
            for folder in pythonpath {
                *folder = absolute(root, source, folder);
            }
            if let Code::File(file) = code {
                *file = below(source, &file.to_string_lossy()).into();
            }
        }
    }
    job.plan = std::sync::Arc::new(Plan::Host(plan));
}

/// A folder that stands below one of the cluster's, where it is here.
fn absolute(root: &Path, source: &Source, folder: &str) -> String {
    match below(source, folder) {
        inside if inside.len() == folder.len() => folder.to_owned(),
        inside => root.join(inside).display().to_string(),
    }
}

/// Whether the run shares its process with others: then it shares the code, too.
#[cfg_attr(not(feature = "source"), expect(dead_code, reason = "without sources nothing is fetched"))]
fn is_shared(plan: &Plan) -> bool {
    let Plan::Host(plan) = plan else { return false };
    plan.main().is_some_and(
        |main| matches!(&main.work, Work::Python { isolation, .. } if *isolation != Isolation::Process),
    )
}

impl Inner {
    /// Says what is wrong with the source of a function, before anything is recorded.
    pub(super) fn check_source(&self, function: &Function, base_dir: &Path) -> Result<Vec<String>> {
        let source = &function.spec.build.source;
        if source.is_empty() {
            return Ok(Vec::new());
        }
        #[cfg(feature = "source")]
        return self.sources.check(source, base_dir);
        #[cfg(not(feature = "source"))]
        match folder(source, base_dir) {
            Some(_) => Ok(Vec::new()),
            None => Err(Error::new(runtime_core::ErrorKind::Unsupported, "this program fetches no code")
                .at("spec.build.source")
                .help("build it with the feature `source`, or name a folder")),
        }
    }

    /// The job of a function, with what is to be fetched for it. A folder is used where it is.
    pub(super) fn with_source(&self, function: &Function, mut job: Job) -> Result<Job> {
        let works = matches!(&*job.plan, Plan::Host(plan) if plan.main().is_some_and(
            |main| !matches!(main.work, Work::Call { .. })
        ));
        if function.spec.build.source.is_empty() || !works {
            return Ok(job);
        }
        let source = source_of(function);
        let Some(root) = folder(&source.address, &job.base_dir) else {
            return Ok(Job { source: Some(source), ..job });
        };
        let root = std::path::absolute(&root).map_err(|error| Error::io("find", &root, error))?;
        let work_dir = job.work_dir.clone();
        place(&mut job, &source, &root);
        // A program beside the folder runs where it was called, as without one.
        if source.workdir.is_empty() && function.spec.build.source.trim_matches(['.', '/']).is_empty() {
            job.work_dir = work_dir;
        }
        Ok(job)
    }

    /// The folder in which a run whose code was fetched works.
    pub(super) fn source_folder(&self, key: &RunKey) -> PathBuf {
        self.home.join(WORK).join(key.to_string())
    }

    /// Removes what was fetched for a run that has ended.
    pub(super) fn remove_source(&self, key: &RunKey) {
        let folder = self.source_folder(key);
        for folder in [folder.with_extension("partial"), folder] {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%key, %error, "the code of an ended run could not be removed");
                }
                _ => {}
            }
        }
    }

    /// The runs for which code was fetched and is still there.
    pub(super) fn fetched(&self) -> Vec<RunKey> {
        let entries = std::fs::read_dir(self.home.join(WORK)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter_map(|name| {
                let name = name.strip_suffix(".partial").unwrap_or(&name);
                match name.split_once('-') {
                    Some((uid, iteration)) => {
                        Some(RunKey { uid: uid.to_owned(), iteration: iteration.parse().ok()? })
                    }
                    None => Some(RunKey::new(name)),
                }
            })
            .collect()
    }
}

/// What keeps shared code where it is.
#[cfg(feature = "source")]
pub(super) type Kept = Option<crate::source::Prepared>;
#[cfg(not(feature = "source"))]
pub(super) type Kept = ();

#[cfg(not(feature = "source"))]
impl super::follow::Follow {
    /// Without sources there is nothing to fetch.
    pub(super) async fn fetch_source(&mut self, job: Job) -> Result<Option<(Job, Kept)>> {
        Ok(Some((job, ())))
    }
}

#[cfg(feature = "source")]
mod fetch {
    use runtime_core::{RunState, labels, run::Cause, run::Reason, run::Verdict};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        orchestrator::{
            follow::{Follow, not_started},
            reduce,
        },
        source::Prepared,
    };

    /// What is missing in a source is said as one sees it there: the folder of the run is gone with it.
    fn of_source(error: Error, source: &Source, root: &Path, base: &Path) -> Error {
        let beginning = format!("{}/", root.display());
        if error.kind() != runtime_core::ErrorKind::NotFound || !error.message().contains(&beginning) {
            return error;
        }
        let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        let more = if names.len() > 10 { ", ..." } else { "" };
        names.truncate(10);
        let place =
            if source.workdir.is_empty() { "it".to_owned() } else { format!("its `{}`", source.workdir) };
        let message = format!("{} in the source", error.message().replace(&beginning, ""));
        Error::not_found(message)
            .at(error.location().unwrap_or("spec.build.source"))
            .help(format!("in {place} there is {}{more}", names.join(", ")))
    }

    impl Follow {
        /// Fetches the code of a job, unless that was done before. Returns the job as it can be started, and what
        /// keeps shared code where it is; `None` where the run has ended meanwhile.
        pub(in super::super) async fn fetch_source(&mut self, mut job: Job) -> Result<Option<(Job, Kept)>> {
            match job.source.take() {
                Some(source) => Box::pin(self.fetch_from(source, job)).await,
                None => Ok(Some((job, None))),
            }
        }

        async fn fetch_from(&mut self, source: Source, mut job: Job) -> Result<Option<(Job, Kept)>> {
            let annotations = &self.record.run.metadata.annotations;
            // An iteration has its parent's annotations, and a folder of its own.
            let own = self.inner.source_folder(&job.key);
            let known = annotations.get(labels::SOURCE_DIR).map(PathBuf::from);
            let known = known.filter(|root| root.is_dir() && (*root == own || is_shared(&job.plan)));
            if let Some(root) = known {
                place(&mut job, &source, &root);
                return Ok(Some((job, None)));
            }
            match self.fetch(&job, &source).await? {
                Some(Ok((root, kept))) => {
                    place(&mut job, &source, &root);
                    match self.target.check(&job).await {
                        Ok(notes) => self.notes.extend(notes),
                        Err(error) => {
                            let error = of_source(error, &source, &root, &job.base_dir);
                            self.end(not_started(&error)).await?;
                            return Ok(None);
                        }
                    }
                    job.run = std::sync::Arc::clone(&self.record.run);
                    Ok(Some((job, kept)))
                }
                Some(Err(error)) => {
                    self.end(not_started(&error)).await?;
                    Ok(None)
                }
                None => {
                    let cause = Cause::new(Reason::Aborted, "it was stopped on request");
                    let verdict =
                        Verdict { state: RunState::Aborted, cause: Some(cause), ..Verdict::default() };
                    self.end(verdict).await?;
                    Ok(None)
                }
            }
        }

        /// Fetches it, and says what is being done; `None` where it was asked to stop.
        async fn fetch(
            &mut self,
            job: &Job,
            source: &Source,
        ) -> Result<Option<Result<(PathBuf, Option<Prepared>)>>> {
            if self.record.run.state() == RunState::Aborting {
                return Ok(None);
            }
            self.change(|run, now| run.transition(RunState::Pending, now)).await?;
            self.live.send_modify(|live| live.settled = true);
            let (sender, mut steps) = mpsc::unbounded_channel();
            let inner = std::sync::Arc::clone(&self.inner);
            let address = self.exact(source);
            let shared = is_shared(&job.plan);
            let folder = inner.source_folder(&job.key);
            let progress = move |step: &str| drop(sender.send(step.to_owned()));
            let fetching = async {
                let prepared = inner.sources.prepare(&address, &job.base_dir, &progress).await?;
                if shared || prepared.in_place {
                    return Ok((prepared.path.clone(), prepared));
                }
                prepared.copy_to(&folder).await?;
                Ok((folder, prepared))
            };
            tokio::pin!(fetching);
            let fetched = loop {
                tokio::select! {
                    biased;
                    _ = self.aborts.next() => {
                        self.change(|run, now| run.transition(RunState::Aborting, now)).await?;
                        return Ok(None);
                    }
                    Some(step) = steps.recv() => self.live.send_modify(|live| live.progress = Some(step)),
                    fetched = &mut fetching => break fetched,
                }
            };
            self.live.send_modify(|live| live.progress = None);
            let (root, prepared) = match fetched {
                Ok(fetched) => fetched,
                Err(error) => return Ok(Some(Err(error))),
            };
            self.record_source(&root, &prepared).await?;
            Ok(Some(Ok((root, Some(prepared).filter(|_| shared)))))
        }

        /// The address of the source; at the commit of an earlier attempt, where there was one.
        fn exact(&self, source: &Source) -> String {
            match self.record.run.metadata.annotations.get(labels::SOURCE_COMMIT) {
                Some(commit) => {
                    let (url, fragment) = source.address.split_once('#').unwrap_or((&source.address, ""));
                    let path =
                        fragment.split_once(':').map(|(_, path)| format!(":{path}")).unwrap_or_default();
                    format!("{url}#{commit}{path}")
                }
                None => source.address.clone(),
            }
        }

        async fn record_source(&mut self, root: &Path, prepared: &Prepared) -> Result<()> {
            self.change(|run, _| {
                // Another one than before, where a run is run again.
                let before =
                    run.metadata.annotations.get(labels::SOURCE).filter(|was| **was != prepared.origin);
                if let Some(was) = before {
                    let note = format!("its source is {}; it was {was}", prepared.origin);
                    reduce::add_note(run, &note);
                }
                let annotations = &mut run.metadata.annotations;
                annotations.insert(labels::SOURCE.to_owned(), prepared.origin.clone());
                annotations.insert(labels::SOURCE_DIR.to_owned(), root.display().to_string());
                if let Some(commit) = &prepared.commit {
                    annotations.insert(labels::SOURCE_COMMIT.to_owned(), commit.clone());
                }
                for note in &prepared.notes {
                    reduce::add_note(run, note);
                }
                Ok(true)
            })
            .await
            .map(drop)
        }
    }
}
