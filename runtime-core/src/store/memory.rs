//! A store in memory: for tests, and for embedders that need no record.

mod documents;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use self::documents::Documents;
use super::{
    Document, DocumentFilter, FunctionRecord, RunFilter, RunRecord, Store, Version, function_of, is_version,
    refusal::{ambiguous, document_orphaned, in_use, nameless, run_active, run_exists, run_refused},
};
use crate::{Function, Result, run::RunKey};

/// A store in memory. It forgets everything when it is dropped.
pub struct MemoryStore {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// By the order in which they came, so that the newest are found from the end.
    runs: BTreeMap<u64, Kept>,
    keys: HashMap<RunKey, u64>,
    functions: BTreeMap<(String, String), Versions>,
    documents: Documents,
    sequence: u64,
}

struct Kept {
    record: RunRecord,
    created: Timestamp,
}

#[derive(Default)]
struct Versions {
    by_hash: BTreeMap<String, Stored>,
    tags: BTreeMap<String, String>,
}

struct Stored {
    function: Function,
    created: Timestamp,
    updated: Timestamp,
    /// Orders what was stored in the same instant.
    sequence: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing here panics while it holds the lock half-way through a change, so a poisoned lock is a good one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn find(&mut self, key: &RunKey) -> Option<&mut Kept> {
        self.keys.get(key).and_then(|at| self.runs.get_mut(at))
    }

    /// The active runs of a function, each with the version that it names.
    fn users(&self, project: &str, name: &str) -> Vec<(String, String)> {
        let runs = self.runs.values().map(|kept| &kept.record.run);
        let users = runs
            .filter(|run| !run.state().is_terminal() && function_of(&run.spec.function) == (project, name));
        users.map(|run| (run.key().to_string(), run.spec.function.clone())).collect()
    }

    /// A document needs its names, and the run to which it belongs.
    fn check(&self, document: &Document) -> Result<()> {
        document.check()?;
        match &document.parent {
            Some(parent) if !self.keys.contains_key(parent) => Err(document_orphaned(document)),
            _ => Ok(()),
        }
    }
}

impl Versions {
    /// Lets `latest` point at the version that was stored last, where it points at none.
    fn settle_latest(&mut self) {
        let newest = self.by_hash.iter().max_by_key(|(_, stored)| (stored.updated, stored.sequence));
        if let Some((hash, _)) = newest.filter(|_| !self.tags.contains_key("latest")) {
            self.tags.insert("latest".to_owned(), hash.clone());
        }
    }

    fn record(&self, hash: &str, asked_tag: &str) -> Option<FunctionRecord> {
        let stored = self.by_hash.get(hash)?;
        let mut function = stored.function.clone();
        function.metadata.tag = asked_tag.to_owned();
        let tags = self.tags.iter().filter(|(_, to)| *to == hash).map(|(tag, _)| tag.clone()).collect();
        Some(FunctionRecord { function, tags, created: stored.created, updated: stored.updated })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put_function(&self, function: &Function, tag: Option<&str>) -> Result<String> {
        let metadata = &function.metadata;
        if metadata.name.is_empty() {
            return Err(nameless());
        }
        let hash = function.hash();
        let mut kept = function.clone();
        kept.metadata.hash.clone_from(&hash);
        kept.metadata.tag.clear();
        let now = Timestamp::now();
        {
            let mut state = self.state();
            let sequence = state.next();
            let key = (metadata.project.clone(), metadata.name.clone());
            let versions = state.functions.entry(key).or_default();
            let created = versions.by_hash.get(&hash).map_or(now, |stored| stored.created);
            versions.by_hash.insert(hash.clone(), Stored { function: kept, created, updated: now, sequence });
            for tag in [tag.unwrap_or_default(), "latest"].into_iter().filter(|tag| !tag.is_empty()) {
                versions.tags.insert(tag.to_owned(), hash.clone());
            }
        }
        self.changed();
        Ok(hash)
    }

    async fn tag_function(&self, project: &str, name: &str, hash: &str, tag: &str) -> Result<bool> {
        {
            let mut state = self.state();
            let key = (project.to_owned(), name.to_owned());
            match state.functions.get_mut(&key).filter(|versions| versions.by_hash.contains_key(hash)) {
                Some(versions) => versions.tags.insert(tag.to_owned(), hash.to_owned()),
                None => return Ok(false),
            };
        }
        self.changed();
        Ok(true)
    }

    async fn get_function(
        &self,
        project: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<FunctionRecord>> {
        let state = self.state();
        let Some(versions) = state.functions.get(&(project.to_owned(), name.to_owned())) else {
            return Ok(None);
        };
        match version {
            Version::Tag(tag) => Ok(versions.tags.get(tag).and_then(|hash| versions.record(hash, tag))),
            Version::Hash(prefix) => {
                if versions.by_hash.contains_key(prefix) {
                    return Ok(versions.record(prefix, ""));
                }
                let found: Vec<&str> = versions
                    .by_hash
                    .range(prefix.clone()..)
                    .map(|(hash, _)| hash.as_str())
                    .take_while(|hash| hash.starts_with(prefix))
                    .collect();
                match found[..] {
                    [] => Ok(None),
                    [only] => Ok(versions.record(only, "")),
                    _ => Err(ambiguous(prefix, &found)),
                }
            }
        }
    }

    async fn list_functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        let state = self.state();
        let mut found: Vec<(Timestamp, u64, FunctionRecord)> = state
            .functions
            .iter()
            .filter(|((of, _), _)| project.is_none_or(|project| of == project))
            .flat_map(|(_, versions)| {
                versions.by_hash.iter().map(move |(hash, stored)| (versions, hash, stored))
            })
            .filter_map(|(versions, hash, stored)| {
                let record = versions.record(hash, "")?;
                Some((stored.updated, stored.sequence, record))
            })
            .filter(|(_, _, record)| all_versions || !record.tags.is_empty())
            .collect();
        found.sort_by_key(|(updated, sequence, _)| std::cmp::Reverse((*updated, *sequence)));
        Ok(found.into_iter().map(|(_, _, record)| record).collect())
    }

    async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        let count = {
            let mut state = self.state();
            let users: Vec<String> = state.users(project, name).into_iter().map(|(run, _)| run).collect();
            let key = (project.to_owned(), name.to_owned());
            if !users.is_empty() && state.functions.contains_key(&key) {
                return Err(in_use(project, name, &users));
            }
            state.functions.remove(&key).map_or(0, |versions| versions.by_hash.len())
        };
        if count > 0 {
            self.changed();
        }
        Ok(count)
    }

    async fn delete_version(&self, project: &str, name: &str, version: &Version) -> Result<bool> {
        let deleted = {
            let mut state = self.state();
            let users = state.users(project, name);
            let key = (project.to_owned(), name.to_owned());
            let Some(versions) = state.functions.get_mut(&key) else { return Ok(false) };
            let deleted = match version {
                Version::Tag(tag) => versions.tags.remove(tag).is_some(),
                Version::Hash(hash) => {
                    let users: Vec<String> = users
                        .iter()
                        .filter(|(_, uri)| is_version(uri, hash))
                        .map(|(run, _)| run.clone())
                        .collect();
                    if !users.is_empty() && versions.by_hash.contains_key(hash) {
                        return Err(in_use(project, name, &users));
                    }
                    versions.tags.retain(|_, to| to != hash);
                    versions.by_hash.remove(hash).is_some()
                }
            };
            versions.settle_latest();
            if versions.by_hash.is_empty() {
                state.functions.remove(&key);
            }
            deleted
        };
        if deleted {
            self.changed();
        }
        Ok(deleted)
    }

    async fn create_run(&self, record: &RunRecord) -> Result<()> {
        let key = record.run.key();
        {
            let mut state = self.state();
            if state.keys.contains_key(&key) {
                return Err(run_exists(&key));
            }
            let at = state.next();
            let record = RunRecord { revision: 1, ..record.clone() };
            state.keys.insert(key, at);
            state.runs.insert(at, Kept { record, created: Timestamp::now() });
        }
        self.changed();
        Ok(())
    }

    async fn update_run(&self, record: &RunRecord) -> Result<u64> {
        self.update_run_with(record, &[]).await
    }

    async fn update_run_with(&self, record: &RunRecord, documents: &[Document]) -> Result<u64> {
        let key = record.run.key();
        let revision = {
            let mut state = self.state();
            for document in documents {
                state.check(document)?;
            }
            let kept = state.find(&key).ok_or_else(|| run_refused(&key, record.revision, None))?;
            let stored = &kept.record;
            if stored.revision != record.revision || stored.run.state().is_terminal() {
                return Err(run_refused(&key, record.revision, Some(stored)));
            }
            kept.record = RunRecord { revision: record.revision + 1, ..record.clone() };
            for document in documents {
                let sequence = state.next();
                state.documents.upsert(document, sequence);
            }
            record.revision + 1
        };
        self.changed();
        Ok(revision)
    }

    async fn get_run(&self, key: &RunKey) -> Result<Option<RunRecord>> {
        Ok(self.state().find(key).map(|kept| kept.record.clone()))
    }

    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
        let state = self.state();
        let found = state.runs.values().rev().filter(|kept| matches(filter, kept)).take(limit);
        Ok(found.map(|kept| kept.record.clone()).collect())
    }

    async fn delete_run(&self, key: &RunKey) -> Result<bool> {
        {
            let mut state = self.state();
            let Some(kept) = state.find(key) else {
                return Ok(false);
            };
            if !kept.record.run.state().is_terminal() {
                return Err(run_active(key, kept.record.run.state()));
            }
            if let Some(at) = state.keys.remove(key) {
                state.runs.remove(&at);
            }
            state.documents.forget(key);
        }
        self.changed();
        Ok(true)
    }

    async fn put_document(&self, document: &Document) -> Result<u64> {
        let revision = {
            let mut state = self.state();
            state.check(document)?;
            let sequence = state.next();
            state.documents.put(document, sequence)?
        };
        self.changed();
        Ok(revision)
    }

    async fn get_document(&self, kind: &str, project: &str, name: &str) -> Result<Option<Document>> {
        Ok(self.state().documents.get(kind, project, name))
    }

    async fn list_documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        Ok(self.state().documents.list(filter))
    }

    async fn delete_document(
        &self,
        kind: &str,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<bool> {
        let deleted = self.state().documents.delete(kind, project, name, revision)?;
        if deleted {
            self.changed();
        }
        Ok(deleted)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn matches(filter: &RunFilter, kept: &Kept) -> bool {
    let RunRecord { run, owner, .. } = &kept.record;
    let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
    is(&filter.project, &run.metadata.project)
        && is(&filter.name, &run.metadata.name)
        && is(&filter.function, function_of(&run.spec.function).1)
        && is(&filter.owner, owner)
        && (filter.states.is_empty() || filter.states.contains(&run.state()))
        && filter.labels.iter().all(|(key, value)| run.metadata.labels.get(key) == Some(value))
        && filter.uid_prefix.as_deref().is_none_or(|prefix| run.metadata.uid.starts_with(prefix))
        && filter.iteration.is_none_or(|iteration| run.metadata.iteration == iteration)
        && filter.since.is_none_or(|since| kept.created >= since)
}
