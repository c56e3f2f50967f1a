//! What is not committed in the git work trees of runs. git is asked beside the run, which does not wait for it.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use runtime_core::{
    Run,
    run::{RunKey, Uncommitted},
};
use tokio::sync::watch;

/// What was seen so recently is not looked at again.
const FRESH: Duration = Duration::from_secs(1);

/// How long the end of a run may wait for git.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long git may take.
const LONGEST: Duration = Duration::from_secs(10);

/// So many files are kept by name.
#[cfg(feature = "source")]
const MOST: usize = 50;

/// `None` while git is asked; then what it said, if it could.
type Answer = Option<Option<Uncommitted>>;

/// The work trees that are looked at.
#[derive(Default)]
pub(super) struct WorkTrees {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    trees: HashMap<PathBuf, (Instant, watch::Receiver<Answer>)>,
    /// What each run that is followed waits for.
    runs: HashMap<RunKey, Vec<(String, watch::Receiver<Answer>)>>,
}

impl WorkTrees {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the work trees of a run that is about to start.
    pub(super) fn look(&self, run: &Run, home: &Path) {
        let commits = &run.status.provenance.commits;
        if commits.is_empty() || run.metadata.iteration > 0 || !cfg!(feature = "source") {
            return;
        }
        let now = Instant::now();
        let mut known = self.known();
        known.trees.retain(|_, (since, _)| now.duration_since(*since) < FRESH);
        let mut answers = Vec::new();
        for root in commits.keys() {
            let answer = known.trees.entry(PathBuf::from(root)).or_insert_with(|| (now, ask(root, home)));
            answers.push((root.clone(), answer.1.clone()));
        }
        known.runs.insert(run.key(), answers);
    }

    /// What was found for a run; `wait`: git may take a moment more. Nothing, where nothing new is known.
    pub(super) async fn found(&self, key: &RunKey, wait: bool) -> BTreeMap<String, Uncommitted> {
        let answers = match self.known().runs.get(key) {
            Some(answers) => answers.clone(),
            None => return BTreeMap::new(),
        };
        let mut found = BTreeMap::new();
        for (root, mut answer) in answers {
            let patience = if wait { PATIENCE } else { Duration::ZERO };
            let said = tokio::time::timeout(patience, answer.wait_for(Option::is_some)).await;
            if let Ok(Ok(said)) = said
                && let Some(Some(uncommitted)) = &*said
            {
                found.insert(root, uncommitted.clone());
            }
        }
        found
    }

    /// The run is not followed any more.
    pub(super) fn forget(&self, key: &RunKey) {
        self.known().runs.remove(key);
    }
}

fn ask(root: &str, home: &Path) -> watch::Receiver<Answer> {
    let (sender, receiver) = watch::channel(None);
    let (root, home) = (PathBuf::from(root), home.to_owned());
    tokio::spawn(async move {
        let said = tokio::time::timeout(LONGEST, uncommitted(&root, &home)).await;
        sender.send_replace(Some(said.ok().flatten()));
    });
    receiver
}

/// What is not committed in a work tree; `None` where git does not say.
#[cfg(feature = "source")]
pub(super) async fn uncommitted(root: &Path, home: &Path) -> Option<Uncommitted> {
    let mut names = crate::source::uncommitted(root, home).await?;
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let root = root.to_owned();
    let files = tokio::task::spawn_blocking(move || {
        let file = |name: String| {
            let known = super::provenance::fingerprint(&root.join(&name)).unwrap_or_default();
            runtime_core::run::Fingerprint { path: name, ..known }
        };
        names.into_iter().map(file).collect()
    });
    Some(Uncommitted { files: files.await.ok()?, more })
}

/// Without git nothing is known.
#[cfg(not(feature = "source"))]
pub(super) async fn uncommitted(_: &Path, _: &Path) -> Option<Uncommitted> {
    None
}
