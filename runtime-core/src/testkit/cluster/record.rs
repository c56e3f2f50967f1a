//! What was asked of the server.

use std::collections::{HashMap, VecDeque};

use super::request::Request;

/// A request that the server was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The plural of the resource, with its subresource: `pods`, `pods/log`.
    pub resource: String,
    /// The namespace, where it named one.
    pub namespace: Option<String>,
    /// The object, where it named one.
    pub name: Option<String>,
    /// The status of the answer; none while there is no answer, or where it was lost.
    pub status: Option<u16>,
}

/// So many of the last requests are known one by one.
const KEPT: usize = 100_000;

/// The requests, one by one and counted.
#[derive(Debug, Default)]
pub(super) struct Records {
    first: usize,
    all: VecDeque<Seen>,
    counts: HashMap<(&'static str, String), usize>,
}

impl Records {
    /// Notes a request; gives its number, by which its answer is noted.
    pub(super) fn note(&mut self, request: &Request) -> usize {
        let resource = match &request.subresource {
            Some(sub) => format!("{}/{sub}", request.plural),
            None => request.plural.clone(),
        };
        *self.counts.entry((request.verb, resource.clone())).or_default() += 1;
        let (namespace, name) = (request.namespace.clone(), request.name.clone());
        self.all.push_back(Seen { verb: request.verb, resource, namespace, name, status: None });
        if self.all.len() > KEPT {
            self.all.pop_front();
            self.first += 1;
        }
        self.first + self.all.len() - 1
    }

    pub(super) fn answered(&mut self, number: usize, status: u16) {
        if let Some(seen) = number.checked_sub(self.first).and_then(|at| self.all.get_mut(at)) {
            seen.status = Some(status);
        }
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.all.iter().cloned().collect()
    }

    pub(super) fn count(&self, verb: &str, resource: &str) -> usize {
        let fits = |(this, of): &(&'static str, String)| {
            (verb == "*" || *this == verb) && (resource == "*" || of == resource)
        };
        self.counts.iter().filter(|(key, _)| fits(key)).map(|(_, count)| count).sum()
    }

    pub(super) fn forget(&mut self) {
        self.first += self.all.len();
        self.all.clear();
        self.counts.clear();
    }
}
