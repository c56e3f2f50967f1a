//! The documents of the store in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    Result,
    run::RunKey,
    store::{
        Document, DocumentFilter,
        refusal::{document_exists, document_refused},
    },
};

/// Kind, project, name.
type Key = (String, String, String);

/// Documents, each with a number that orders what was stored in the same instant.
#[derive(Default)]
pub(super) struct Documents(BTreeMap<Key, (u64, Document)>);

fn key(document: &Document) -> Key {
    (document.kind.clone(), document.project.clone(), document.name.clone())
}

impl Documents {
    /// Stores it if its revision is still the stored one; 0: if there is none.
    pub(super) fn put(&mut self, document: &Document, sequence: u64) -> Result<u64> {
        match (document.revision, self.0.get(&key(document)).map(|(_, stored)| stored.revision)) {
            (0, Some(_)) => return Err(document_exists(document)),
            (0, None) => {}
            (revision, Some(stored)) if revision == stored => {}
            (_, stored) => return Err(document_refused(document, stored)),
        }
        Ok(self.upsert(document, sequence))
    }

    /// Stores it, whatever is there.
    pub(super) fn upsert(&mut self, document: &Document, sequence: u64) -> u64 {
        let key = key(document);
        let revision = self.0.get(&key).map_or(0, |(_, stored)| stored.revision) + 1;
        let stored = Document { revision, updated: Timestamp::now(), ..document.clone() };
        self.0.insert(key, (sequence, stored));
        revision
    }

    pub(super) fn get(&self, kind: &str, project: &str, name: &str) -> Option<Document> {
        let key = (kind.to_owned(), project.to_owned(), name.to_owned());
        self.0.get(&key).map(|(_, document)| document.clone())
    }

    pub(super) fn list(&self, filter: &DocumentFilter) -> Vec<Document> {
        let mut found: Vec<&(u64, Document)> =
            self.0.values().filter(|(_, document)| matches(filter, document)).collect();
        if filter.due_before.is_some() {
            found.sort_by_key(|(sequence, document)| (document.due, *sequence));
        } else {
            found.sort_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        }
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
        found.into_iter().take(limit).map(|(_, document)| document.clone()).collect()
    }

    pub(super) fn delete(
        &mut self,
        kind: &str,
        project: &str,
        name: &str,
        revision: Option<u64>,
    ) -> Result<bool> {
        let Some(stored) = self.get(kind, project, name) else { return Ok(false) };
        if let Some(revision) = revision.filter(|revision| *revision != stored.revision) {
            let asked = Document { revision, ..stored.clone() };
            return Err(document_refused(&asked, Some(stored.revision)).operation("store.delete_document"));
        }
        Ok(self.0.remove(&key(&stored)).is_some())
    }

    /// Those that belong to a run that is deleted go with it.
    pub(super) fn forget(&mut self, run: &RunKey) {
        self.0.retain(|_, (_, document)| document.parent.as_ref() != Some(run));
    }
}

fn matches(filter: &DocumentFilter, document: &Document) -> bool {
    filter.kind == document.kind
        && filter.project.as_ref().is_none_or(|project| *project == document.project)
        && filter.name.as_ref().is_none_or(|name| *name == document.name)
        && filter.topic.as_ref().is_none_or(|topic| document.topic.as_ref() == Some(topic))
        && filter.parent.as_ref().is_none_or(|parent| document.parent.as_ref() == Some(parent))
        && filter.due_before.is_none_or(|before| document.due.is_some_and(|due| due <= before))
}
