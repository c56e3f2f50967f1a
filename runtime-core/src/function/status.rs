//! What became of a function: of its image, and where it is deployed.

use serde_json::{Map, Value};

use super::fields::{Fields, fields, put_extra};
use crate::Result;

fields! {
    /// What became of a function: of its image, and where it is deployed. No part of its version.
    pub struct Status {
        /// `ready`, `pending`, `building`, `deploying`, `error`, ...; empty where there was nothing to do.
        state: String = "state",
        /// The pod that builds or built the image.
        build_pod: String = "build_pod",
        /// The image that was built.
        container_image: String = "container_image",
        /// The name under which Nuclio knows it.
        nuclio_name: String = "nuclio_name",
        /// Where it is reached: `host:port`.
        address: String = "address",
        /// Where it is reached from within the cluster.
        internal_invocation_urls: Vec<String> = "internal_invocation_urls",
        /// Where it is reached from outside of the cluster.
        external_invocation_urls: Vec<String> = "external_invocation_urls",
        /// The name of its Dask cluster.
        cluster_name: String = "cluster_name",
        /// Where its Dask scheduler is reached.
        scheduler_address: String = "scheduler_address",
        /// The ports of its nodes at which it is reached, by what they are for.
        node_ports: Map<String, Value> = "node_ports",
    }
    and {
        /// Fields that are not known here, kept; those that are null are left out.
        extra: Map<String, Value>,
    }
}

impl Status {
    pub(super) fn read(mut from: Fields<'_>) -> Result<Self> {
        let mut status = Self::take(&mut from)?;
        status.extra = from.rest();
        Ok(status)
    }

    pub(super) fn write(&self, but: Option<&Self>) -> Map<String, Value> {
        let mut map = Map::new();
        self.put(&mut map, but);
        put_extra(&mut map, &self.extra, but.map(|but| &but.extra));
        map
    }
}
