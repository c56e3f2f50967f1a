//! A function's name and version.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Fields, fields};
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

    pub(super) fn write(&self) -> Map<String, Value> {
        let mut map = Map::new();
        self.put(&mut map);
        map.extend(self.extra.clone());
        map
    }
}
