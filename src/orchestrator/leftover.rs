//! What ended runs leave on a cluster: noted together with the end, forgotten when it is gone, so that whoever comes next
//! takes it away where an orchestrator died, or the cluster was away, in between.

use std::sync::{Arc, atomic::Ordering};

use runtime_core::{
    Error, ErrorKind, Result, Run, labels,
    run::RunKey,
    serde_json,
    store::{Document, DocumentFilter, RunRecord},
    target::Leftover,
};
use serde::{Deserialize, Serialize};

use super::{Inner, Orchestrator, lease::Standing};

/// The kind of their documents.
const KIND: &str = "leftover";

/// What is kept of one.
#[derive(Serialize, Deserialize)]
struct Noted {
    /// Who takes it away, as long as that one lives.
    owner: String,
    target: String,
    uid: String,
    iteration: u32,
    /// Where it is.
    context: Option<String>,
    namespace: Option<String>,
}

impl Noted {
    /// As much of the run as says where it was.
    fn run(&self, project: &str) -> Run {
        let mut run = Run::default();
        project.clone_into(&mut run.metadata.project);
        run.metadata.uid.clone_from(&self.uid);
        run.metadata.iteration = self.iteration;
        for (label, place) in [(labels::CONTEXT, &self.context), (labels::NAMESPACE, &self.namespace)] {
            if let Some(place) = place {
                run.metadata.annotations.insert(label.to_owned(), place.clone());
            }
        }
        run
    }
}

/// What a target keeps of a run that has ended, or of one that is not recorded here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Garbage {
    /// The target.
    pub target: String,
    /// What it keeps.
    pub left: Leftover,
    /// The run; `None`: not recorded here. It was deleted, or it is in another store.
    pub run: Option<Arc<Run>>,
}

impl Inner {
    /// The note that a run with this end leaves something, where it does.
    pub(super) fn leftover(&self, record: &RunRecord) -> Option<Document> {
        let run = &record.run;
        if !run.state().is_terminal() || !self.is_kept(record) {
            return None;
        }
        let place = |label: &str| run.metadata.annotations.get(label).cloned();
        let noted = Noted {
            owner: self.owner.id().to_owned(),
            target: record.target.clone(),
            uid: run.metadata.uid.clone(),
            iteration: run.metadata.iteration,
            context: place(labels::CONTEXT),
            namespace: place(labels::NAMESPACE),
        };
        let body = serde_json::to_value(noted).ok()?;
        Some(Document::new(KIND, &run.metadata.project, run.key().to_string(), body))
    }

    /// Whether the target keeps its objects whatever becomes of this machine.
    fn is_kept(&self, record: &RunRecord) -> bool {
        self.targets.get(record.target.as_str()).is_some_and(|target| !target.is_bound())
    }

    /// Forgets the note: what the run left is gone.
    pub(super) async fn released(&self, record: &RunRecord) -> Result<()> {
        if !self.is_kept(record) {
            return Ok(());
        }
        let run = &record.run;
        self.store.delete_document(KIND, &run.metadata.project, &run.key().to_string(), None).await.map(drop)
    }

    /// Begins to take away what was noted, unless that goes on already; nobody waits for it.
    pub(super) fn release_noted(self: &Arc<Self>) {
        if !self.targets.values().any(|target| !target.is_bound())
            || self.releasing.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            let Some(inner) = inner.upgrade() else { return };
            if let Err(error) = inner.try_release_noted().await {
                tracing::warn!(%error, "what ended runs left could not be removed");
            }
            inner.releasing.store(false, Ordering::Release);
        });
    }

    /// What was noted by those who are gone, and what could not be taken away before.
    async fn noted(&self) -> Result<Vec<(Noted, Document)>> {
        let documents = self.store.list_documents(&DocumentFilter::of(KIND)).await?;
        let read = |document: Document| {
            Some((serde_json::from_value::<Noted>(document.body.clone()).ok()?, document))
        };
        let mut noted: Vec<_> = documents.into_iter().filter_map(read).collect();
        let standing = self.standing(noted.iter().map(|(noted, _)| noted.owner.as_str())).await?;
        noted.retain(|(noted, document)| match noted.owner == self.owner.id() {
            true => self.live(&noted.run(&document.project).key()).is_none(),
            false => !matches!(standing.get(&noted.owner), Some(Standing::Alive)),
        });
        Ok(noted)
    }

    /// Takes away what was noted. Returns of how many runs.
    async fn try_release_noted(&self) -> Result<usize> {
        let (mut count, mut failed) = (0, None);
        for (noted, document) in self.noted().await? {
            let Some(target) = self.targets.get(noted.target.as_str()) else { continue };
            let run = noted.run(&document.project);
            let released = async {
                target.reach(&run).await?;
                target.release(&run).await
            };
            match released.await {
                Ok(()) => {
                    self.store.delete_document(KIND, &document.project, &document.name, None).await?;
                    count += 1;
                }
                // Others may be on another cluster.
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(count), Err)
    }
}

impl Orchestrator {
    /// Takes away what runs left on a cluster whose orchestrator died, or could not reach the cluster, when they ended.
    /// Returns of how many runs; with `dry_run`, they are only counted. Orchestrators that recover do it by themselves.
    ///
    /// # Errors
    /// Where a cluster cannot be reached; what is elsewhere was taken away.
    pub async fn release_ended(&self, dry_run: bool) -> Result<usize> {
        match dry_run {
            true => Ok(self.inner.noted().await?.len()),
            false => self.inner.try_release_noted().await,
        }
    }

    /// What a target keeps of runs that have ended, or that are not recorded here; on a cluster, in the namespace that
    /// was chosen. It is connected to.
    ///
    /// # Errors
    /// `Unsupported`, where there is no such target; when it, or the store, cannot be read.
    pub async fn garbage(&self, target: &str) -> Result<Vec<Garbage>> {
        let found = self.inner.targets.get(target).ok_or_else(|| {
            let known: Vec<_> = self.inner.targets.keys().copied().collect();
            Error::new(ErrorKind::Unsupported, format!("there is no target `{target}` here"))
                .help(format!("targets of this orchestrator: {}", known.join(", ")))
        })?;
        // What makes objects of a cluster connects with it first.
        found.cluster().await?;
        let mut garbage = Vec::new();
        for left in found.leftovers().await? {
            let record = self.inner.store.get_run(&left.key).await?;
            let run = match record {
                None => None,
                Some(record) if record.run.state().is_terminal() && self.inner.live(&left.key).is_none() => {
                    Some(record.run)
                }
                Some(_) => continue,
            };
            garbage.push(Garbage { target: target.to_owned(), left, run });
        }
        Ok(garbage)
    }

    /// Takes such garbage away, also what still runs of it.
    ///
    /// # Errors
    /// `Conflict`, where the run goes on by now; when the target, or the store, fails.
    pub async fn collect(&self, garbage: &Garbage) -> Result<()> {
        let Some(target) = self.inner.targets.get(garbage.target.as_str()) else { return Ok(()) };
        let key: &RunKey = &garbage.left.key;
        let record = self.inner.store.get_run(key).await?;
        if let Some(record) = &record
            && !record.run.state().is_terminal()
        {
            return Err(Error::new(ErrorKind::Conflict, format!("run {key} goes on")));
        }
        let mut run = Run::default();
        run.metadata.uid.clone_from(&key.uid);
        run.metadata.iteration = key.iteration;
        target.release(&run).await?;
        match &record {
            Some(record) => self.inner.released(record).await,
            None => Ok(()),
        }
    }
}
