//! What is not committed in the git work trees of runs. git is asked beside the run, which does not wait for it.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use runtime_core::{
    Run,
    run::{RunKey, Uncommitted},
};
use tokio::sync::watch;

/// What was seen so recently is not looked at again.
const FRESH: Duration = Duration::from_secs(1);

/// What was seen so recently will do while git is asked again: many runs a second do not wait for it each second.
const STALE: Duration = Duration::from_secs(2);

/// How long the end of a run may wait for git.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long git may take.
const LONGEST: Duration = Duration::from_secs(10);

/// So many files are kept by name.
#[cfg(feature = "source")]
const MOST: usize = 50;

/// `None` while git is asked; then what it said, if it could.
type Answer = Option<Option<Arc<Uncommitted>>>;

/// The work trees that are looked at.
#[derive(Default)]
pub(super) struct WorkTrees {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    trees: HashMap<PathBuf, Tree>,
    /// What each run that is followed waits for.
    runs: HashMap<RunKey, Vec<(String, watch::Receiver<Answer>)>>,
}

struct Tree {
    asked: Instant,
    answer: watch::Receiver<Answer>,
    /// What git said the time before, where that is not old.
    before: Option<watch::Receiver<Answer>>,
}

impl Tree {
    fn ask(root: &str, home: &Path, now: Instant, last: Option<Self>) -> Self {
        let recent = last.filter(|last| now.duration_since(last.asked) < STALE);
        let before = recent.map(|last| last.answer).filter(|answer| answer.borrow().is_some());
        Self { asked: now, answer: ask(root, home), before }
    }

    fn answer(&self) -> watch::Receiver<Answer> {
        let known = self.before.as_ref().filter(|_| self.answer.borrow().is_none());
        known.unwrap_or(&self.answer).clone()
    }
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
        known.trees.retain(|_, tree| now.duration_since(tree.asked) < STALE);
        let mut answers = Vec::new();
        for root in commits.keys() {
            let path = PathBuf::from(root);
            let tree = match known.trees.remove(&path) {
                Some(tree) if now.duration_since(tree.asked) < FRESH => tree,
                last => Tree::ask(root, home, now, last),
            };
            answers.push((root.clone(), tree.answer()));
            known.trees.insert(path, tree);
        }
        known.runs.insert(run.key(), answers);
    }

    /// What was found for a run; `wait`: git may take a moment more. Nothing, where nothing new is known.
    pub(super) async fn found(&self, key: &RunKey, wait: bool) -> BTreeMap<String, Arc<Uncommitted>> {
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
                found.insert(root, Arc::clone(uncommitted));
            }
        }
        found
    }

    /// The run is not followed any more.
    pub(super) fn forget(&self, key: &RunKey) {
        self.known().runs.remove(key);
    }
}

/// Notes on a run what was found; says whether that is new.
pub(super) fn record(run: &mut Run, found: &BTreeMap<String, Arc<Uncommitted>>) -> bool {
    let known = &mut run.status.provenance.uncommitted;
    let is_new = !found.is_empty() && known != found;
    if is_new {
        known.clone_from(found);
    }
    is_new
}

fn ask(root: &str, home: &Path) -> watch::Receiver<Answer> {
    let (sender, receiver) = watch::channel(None);
    let (root, home) = (PathBuf::from(root), home.to_owned());
    tokio::spawn(async move {
        let said = tokio::time::timeout(LONGEST, uncommitted(&root, &home)).await;
        sender.send_replace(Some(said.ok().flatten().map(Arc::new)));
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
