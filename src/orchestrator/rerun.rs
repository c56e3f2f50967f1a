//! Running again precisely what a run ran, and saying what cannot be as it was.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use runtime_core::{
    Error, ErrorKind, Function, Result, Run, labels,
    run::{Fingerprint, RunKey},
    store::RunRecord,
};

use super::{Handle, Orchestrator, Request, provenance, request::current_dir, worktree};

/// A request for what a run ran.
#[derive(Clone, Debug)]
pub struct Reproduction {
    /// The function by its exact version, handler, parameters, inputs, packages, folders: as that run had them.
    pub request: Request,
    /// What cannot be as it was, or cannot be known to be: one sentence each.
    pub differences: Vec<String>,
}

impl Orchestrator {
    /// Runs again precisely what a run ran. What cannot be as it was is among the notes of the new run.
    ///
    /// # Errors
    /// As [`Self::reproduce`] and [`Self::submit`].
    pub async fn rerun(&self, key: &RunKey) -> Result<Handle> {
        self.submit(self.reproduce(key).await?).await
    }

    /// What it takes to run again precisely what a run ran; nothing is started.
    ///
    /// # Errors
    /// `NotFound`, where there is no such run, or its function was deleted.
    pub async fn reproduce(&self, key: &RunKey) -> Result<Reproduction> {
        let RunRecord { run, target, .. } = self.inner.get(key).await?;
        if super::image::is_build(&run) {
            let uri = &run.spec.function;
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("run {key} built {uri}, and ran nothing"),
            )
            .help(format!("to build it again: runtimes build {uri} --rebuild")));
        }
        let uri = run.spec.function.as_str();
        let record = self.function(uri).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found("the function that it ran is not in the store any more")
                .at(format!("run {key}: {uri}"))
                .help("it was deleted; it can be run from its file, if that is still there"),
            _ => error,
        })?;
        let mut differences = Vec::new();
        folders(&run, &mut differences);
        self.uncommitted(&run, &record.function, &mut differences).await;
        files(&run, &record.function, &mut differences);
        packages(&run, &record.function, &mut differences);
        secrets(&record.function, &mut differences);
        if !run.spec.output_path.is_empty() && !run.spec.output_path.contains("{{run.uid}}") {
            differences
                .push(format!("artifacts are written over those of the run, in {}", run.spec.output_path));
        }
        let request = Request { target, ..request(Arc::unwrap_or_clone(run), record.function)? };
        Ok(Reproduction { request, differences })
    }
}

impl Orchestrator {
    /// What is not committed in the run's work trees, compared with what was not when it began. What the function
    /// carries, and what the run was given, is compared elsewhere.
    async fn uncommitted(&self, run: &Run, function: &Function, differences: &mut Vec<String>) {
        let provenance = &run.status.provenance;
        let own = provenance::folders(run).into_iter().map(|folder| folder.join(&function.spec.command));
        let given = provenance.files.values().map(|file| PathBuf::from(&file.path));
        let elsewhere: Vec<PathBuf> = own.chain(given).collect();
        for root in provenance.commits.keys().map(Path::new) {
            let Some(was) = provenance.uncommitted.get(&*root.to_string_lossy()) else {
                differences
                    .push(format!("whether all files in {} were committed is not known", root.display()));
                continue;
            };
            let files = was.files.iter().filter(|file| !elsewhere.contains(&root.join(&file.path)));
            differences.extend(files.filter_map(|file| uncommitted(root, file)));
            if was.more > 0 {
                let (more, root) = (was.more, root.display());
                differences.push(format!("{more} more files in {root} were not committed, and may differ"));
                continue;
            }
            let is = worktree::uncommitted(root, &self.inner.home).await.unwrap_or_default();
            let is_new = |file: &&Fingerprint| {
                !was.files.iter().any(|known| known.path == file.path)
                    && !elsewhere.contains(&root.join(&file.path))
            };
            let new: Vec<String> = is
                .files
                .iter()
                .filter(is_new)
                .map(|file| root.join(&file.path).display().to_string())
                .collect();
            if let [first, more @ ..] = &new[..] {
                let more =
                    if more.is_empty() { String::new() } else { format!(", and {} more files", more.len()) };
                differences.push(format!("{first} was changed since and is not committed{more}"));
            }
        }
    }
}

/// What is different in a file that was not committed.
fn uncommitted(root: &Path, was: &Fingerprint) -> Option<String> {
    let path = root.join(&was.path);
    let what = match provenance::fingerprint(&path) {
        None if was.modified.is_none() => return None,
        None => "is gone".to_owned(),
        Some(_) if was.modified.is_none() => {
            return Some(format!("{} was deleted, and is there", path.display()));
        }
        Some(is) => change(was, &is)?,
    };
    Some(format!("{} was not committed, and {what}", path.display()))
}

impl From<Reproduction> for Request {
    fn from(reproduction: Reproduction) -> Self {
        Self { notes: reproduction.differences, ..reproduction.request }
    }
}

fn request(run: Run, function: Function) -> Result<Request> {
    let folder = |label: &str| {
        let folder = run.metadata.annotations.get(label).map(PathBuf::from).unwrap_or_default();
        if folder.is_dir() { Ok(folder) } else { current_dir() }
    };
    let (base_dir, work_dir) = (folder(labels::BASE_DIR)?, folder(labels::WORK_DIR)?);
    let mut spec = run.spec;
    spec.function.clear();
    spec.packages = run.status.provenance.packages.or(spec.packages);
    let mut labels = run.metadata.labels;
    labels.remove("kind");
    labels.remove("owner");
    let source = RunKey { uid: run.metadata.uid, iteration: run.metadata.iteration };
    // Its source at the same commit.
    let mut annotations = run.metadata.annotations;
    annotations.retain(|name, _| [labels::SOURCE, labels::SOURCE_COMMIT].contains(&name.as_str()));
    annotations.insert(labels::RERUN_OF.to_owned(), source.to_string());
    Ok(Request {
        function,
        base_dir,
        work_dir,
        name: run.metadata.name,
        project: run.metadata.project,
        labels,
        annotations,
        spec,
        stored: true,
        ..Request::default()
    })
}

fn folders(run: &Run, differences: &mut Vec<String>) {
    for folder in provenance::folders(run).into_iter().filter(|folder| !folder.is_dir()) {
        differences.push(format!("the folder {} is gone: the current one takes its place", folder.display()));
    }
    for (root, was) in &run.status.provenance.commits {
        let short = |commit: &str| commit.get(..10).unwrap_or(commit).to_owned();
        match provenance::commit(Path::new(root)) {
            Some((_, is)) if is == *was => {}
            Some((_, is)) => differences.push(format!(
                "{root} was at the commit {} and is at {}: other files than the function's own may differ",
                short(was),
                short(&is)
            )),
            None => {
                differences.push(format!("{root} was a git work tree at {} and is none any more", short(was)))
            }
        }
    }
}

fn files(run: &Run, function: &Function, differences: &mut Vec<String>) {
    let recorded = &run.status.provenance.files;
    for (field, was) in recorded {
        match provenance::fingerprint(Path::new(&was.path)) {
            None => differences.push(format!("{field}: {} is gone", was.path)),
            Some(is) => {
                differences.extend(change(was, &is).map(|what| format!("{field}: {} {what}", was.path)))
            }
        }
    }
    for (name, place) in &run.spec.inputs {
        if !recorded.contains_key(&format!("inputs.{name}")) {
            differences.push(format!("inputs.{name}: whether {place} is as it was is not known"));
        }
    }
    if function.spec.build.load_source_on_run && !function.spec.build.source.is_empty() {
        let source = &function.spec.build.source;
        differences.push(format!("spec.build.source: whether {source} is as it was is not known"));
    }
}

/// What is different in a file, if that is seen.
fn change(was: &Fingerprint, is: &Fingerprint) -> Option<String> {
    if was.size != is.size {
        return Some(format!("had {} bytes and has {}", was.size, is.size));
    }
    match (was.sha1.is_empty(), was.sha1 == is.sha1) {
        (false, false) => Some("has another content".to_owned()),
        (false, true) => None,
        _ if was.modified == is.modified => None,
        _ => Some("was written since".to_owned()),
    }
}

fn packages(run: &Run, function: &Function, differences: &mut Vec<String>) {
    if run.status.provenance.packages.is_some() || run.spec.packages.is_some() {
        return;
    }
    let pinned = |line: &str| line.starts_with('-') || line.contains("==") || line.contains(" @ ");
    let free: Vec<&str> = function
        .spec
        .build
        .requirements
        .iter()
        .map(|line| line.trim())
        .filter(|line| !pinned(line))
        .collect();
    if !free.is_empty() {
        differences.push(format!("the versions that the run had of {} are not known", free.join(", ")));
    }
}

fn secrets(function: &Function, differences: &mut Vec<String>) {
    let names: Vec<&str> = function
        .spec
        .pod
        .env
        .iter()
        .filter(|var| var.value_from.as_ref().is_some_and(|from| from.secret_key_ref.is_some()))
        .map(|var| var.name.as_str())
        .collect();
    if !names.is_empty() {
        differences.push(format!("secrets are read anew, and may be others: {}", names.join(", ")));
    }
}
