//! A function's name and version.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Fields, fields, put_extra};
use crate::Result;

fields! {
    /// A function's name and version.
    pub struct Metadata {
        /// Its name: a DNS label.
        name: String = "name",
        /// Its project; empty: the one that is used with it.
        project: String = "project",
        /// The tag under which it was stored.
        tag: String = "tag",
        /// The hash of its content, as it was stored; [`Function::hash`](super::Function::hash) computes it.
        hash: String = "hash",
        /// When it was stored last.
        updated: String = "updated",
        /// When it was stored first.
        created: String = "created",
        /// The namespace in which it runs on a cluster.
        namespace: String = "namespace",
        /// Labels, which what it starts on a cluster has too.
        labels: BTreeMap<String, String> = "labels",
        /// Annotations, which what it starts on a cluster has too.
        annotations: BTreeMap<String, String> = "annotations",
        /// Where a catalogue lists it.
        categories: Vec<String> = "categories",
        /// Names of credentials; kept, without effect here.
        credentials: Map<String, Value> = "credentials",
    }
    and {
        /// Fields that are not known here, kept; those that are null are left out.
        extra: Map<String, Value>,
    }
}

impl Metadata {
    pub(super) fn read(mut from: Fields<'_>) -> Result<Self> {
        let mut metadata = Self::take(&mut from)?;
        metadata.extra = from.rest();
        Ok(metadata)
    }

    /// Whether all that counts in the hash is the same: not the tag, the hash itself, and the times.
    pub(super) fn same_version(&self, other: &Self) -> bool {
        let Self {
            name,
            project,
            tag: _,
            hash: _,
            updated: _,
            created: _,
            namespace,
            labels,
            annotations,
            categories,
            credentials,
            extra,
        } = self;
        *name == other.name
            && *project == other.project
            && *namespace == other.namespace
            && *labels == other.labels
            && *annotations == other.annotations
            && *categories == other.categories
            && *credentials == other.credentials
            && *extra == other.extra
    }

    pub(super) fn write(&self, but: Option<&Self>) -> Map<String, Value> {
        let mut map = Map::new();
        self.put(&mut map, but);
        put_extra(&mut map, &self.extra, but.map(|but| &but.extra));
        map
    }
}
