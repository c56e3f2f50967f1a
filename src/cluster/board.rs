//! What is seen of all runs that are followed: watches and answers put it here, and each run finds its own.

use std::{
    collections::{HashMap, HashSet},
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use runtime_core::run::Cause;
use tokio::sync::watch as channel;

use super::{
    apply::Made,
    seen::{self, JobSeen, PodSeen, Seen},
};

/// An object that was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Known {
    pub(super) fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }
}

/// What is seen of the runs that somebody follows.
#[derive(Default)]
pub(super) struct Board {
    entries: Mutex<Entries>,
    /// Why nothing is seen at the moment.
    trouble: channel::Sender<Option<Cause>>,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<String, Entry>,
    /// Objects by name: the run that they belong to.
    names: HashMap<String, String>,
    /// How many there have been.
    count: u64,
}

struct Entry {
    /// Whose it is: one that is followed again, while the first who did so is just going, is another's.
    number: u64,
    seen: Seen,
    /// The names under which it is found.
    names: Vec<String>,
    changed: channel::Sender<()>,
}

/// Which attempt of which run an object belongs to.
pub(super) fn id(run: &str, attempt: &str) -> String {
    format!("{run}/{attempt}")
}

impl Board {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is seen of a run, where somebody follows it.
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut Seen) -> bool) {
        let mut entries = self.entries();
        if let Some(entry) = entries.by_id.get_mut(id)
            && change(&mut entry.seen)
        {
            entry.changed.send_replace(());
        }
    }

    /// Keeps what is seen of a pod.
    pub(super) fn put_pod(&self, id: &str, pod: PodSeen) {
        let name = pod.name.clone();
        let mut followed = false;
        self.update(id, |seen| {
            followed = true;
            match seen.pods.get(&pod.name) {
                Some(known) if **known == pod => false,
                // The last word about a pod that is gone has been said.
                Some(known) if known.gone && known.uid == pod.uid => false,
                _ => {
                    seen.pods.insert(pod.name.clone(), Arc::new(pod));
                    true
                }
            }
        });
        let mut entries = self.entries();
        if followed && !entries.names.contains_key(&name) {
            entries.names.insert(name.clone(), id.to_owned());
            if let Some(entry) = entries.by_id.get_mut(id) {
                entry.names.push(name);
            }
        }
    }

    pub(super) fn put_job(&self, id: &str, job: JobSeen) {
        // What an operator makes may have the labels of its own.
        if self.entries().names.get(&job.name).is_none_or(|of| of != id) {
            return;
        }
        self.update(id, |seen| {
            let new = seen.job.as_ref() != Some(&job);
            // Of one that is gone the last word has been said.
            let late = seen.job.as_ref().is_some_and(|known| known.gone && known.uid == job.uid);
            if new && !late {
                seen.job = Some(job);
            }
            new && !late
        });
    }

    /// Keeps what an answer to a request says, where no watch has said more.
    pub(super) fn found(
        &self,
        id: &str,
        jobs: impl Iterator<Item = JobSeen>,
        pods: impl Iterator<Item = PodSeen>,
    ) {
        self.update(id, |seen| {
            for job in jobs {
                let known = seen.job.get_or_insert_with(|| job.clone());
                // How it ended does not change any more.
                if known.uid == job.uid {
                    known.complete |= job.complete;
                    known.failed = known.failed.take().or(job.failed);
                }
            }
            for pod in pods {
                seen.pods.entry(pod.name.clone()).or_insert_with(|| Arc::new(pod));
            }
            true
        });
    }

    /// Keeps what was made.
    pub(super) fn made(&self, id: &str, made: &Made) {
        match made {
            Made::Pod(pod) => self.found(id, iter::empty(), iter::once(seen::pod(pod))),
            Made::Job(job) => self.found(id, iter::once(seen::job(job)), iter::empty()),
            Made::Custom(custom) => self.found(id, iter::once(seen::custom(custom)), iter::empty()),
            Made::Other(_) => {}
        }
    }

    /// The objects of a type that are followed and that a list of the namespace did not have.
    pub(super) fn unlisted(
        &self,
        known: impl Fn(&Seen) -> Vec<Known>,
        namespace: &str,
        listed: &HashSet<String>,
    ) -> Vec<(String, Known)> {
        let entries = self.entries();
        let all = entries
            .by_id
            .iter()
            .flat_map(|(id, entry)| known(&entry.seen).into_iter().map(move |known| (id.clone(), known)));
        all.filter(|(_, known)| known.namespace == namespace && !listed.contains(&known.name)).collect()
    }

    pub(super) fn gone(&self, id: &str, pod: PodSeen) {
        self.update(id, |seen| {
            let last = seen.pods.entry(pod.name.clone()).or_default();
            let new = !last.gone;
            // Its last state came before, or comes with its end.
            *last = Arc::new(PodSeen { gone: true, ..pod });
            new
        });
    }

    /// The run that an object of this name belongs to; pods of a Job have its name, and five letters.
    pub(super) fn run_of(&self, name: &str) -> Option<String> {
        let entries = self.entries();
        let of_job = || entries.names.get(name.rsplit_once('-')?.0);
        entries.names.get(name).or_else(of_job).cloned()
    }

    /// Begins to keep what is seen of a run whose main object has this name.
    pub(super) fn follow(self: &Arc<Self>, id: String, name: &str) -> Followed {
        let (changed, receiver) = channel::channel(());
        let mut entries = self.entries();
        entries.names.insert(name.to_owned(), id.clone());
        entries.count += 1;
        let number = entries.count;
        let names = vec![name.to_owned()];
        entries.by_id.insert(id.clone(), Entry { number, seen: Seen::default(), names, changed });
        let trouble = self.trouble.subscribe();
        Followed { board: Arc::clone(self), id, number, changes: receiver, trouble }
    }

    pub(super) fn say(&self, trouble: Option<Cause>) {
        self.trouble.send_if_modified(|known| {
            let new = known.is_some() != trouble.is_some();
            if new {
                *known = trouble;
            }
            new
        });
    }
}

/// A run whose objects are watched, until it is dropped.
pub(super) struct Followed {
    board: Arc<Board>,
    id: String,
    number: u64,
    changes: channel::Receiver<()>,
    trouble: channel::Receiver<Option<Cause>>,
}

impl Followed {
    /// What is seen now.
    pub(super) fn seen(&self) -> Seen {
        self.board.entries().by_id.get(&self.id).map(|entry| entry.seen.clone()).unwrap_or_default()
    }

    /// Waits for the next change.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            _ = self.changes.changed() => {}
            _ = self.trouble.changed() => {}
        }
    }

    /// Why nothing is seen at the moment.
    pub(super) fn trouble(&self) -> Option<Cause> {
        self.trouble.borrow().clone()
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut entries = self.board.entries();
        if entries.by_id.get(&self.id).is_none_or(|entry| entry.number != self.number) {
            return;
        }
        let names = entries.by_id.remove(&self.id).map(|entry| entry.names).unwrap_or_default();
        for name in names {
            entries.names.remove(&name);
        }
    }
}
