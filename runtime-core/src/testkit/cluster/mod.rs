//! A Kubernetes API server in this process, and a cluster behind it that does what a script says.
//!
//! [`FakeCluster`] is a [`tower_service::Service`]: give it to a client as its transport. With `kube` that is
//! `kube::Client::new(cluster.clone(), "default")`.
//!
//! ```
//! use runtime_core::testkit::cluster::{Fault, FakeCluster, Life};
//!
//! let cluster = FakeCluster::new();
//! cluster.on_pod(|pod| match pod.metadata.name.as_deref() {
//!     Some("hungry") => Life::started().prints("loading").oom_killed(),
//!     _ => Life::started().prints("hello").wait("go").exits(0),
//! });
//! // The next two creations of pods find the server busy.
//! cluster.fault(Fault::too_many_requests(1).on("create", "pods").times(2));
//! // ... the code under test ...
//! cluster.go("go");
//! assert_eq!(cluster.count("create", "pods"), 0);
//! ```
//!
//! Nothing has to be slept for: what follows from a request has followed before it is answered. Where time matters
//! (graces, TTLs, deadlines, delays), it goes with tokio's clock, and [`FakeCluster::advance`] puts it forward.

mod access;
mod acts;
mod apply;
mod call;
mod clock;
mod collect;
mod containers;
mod defaults;
mod deployment;
mod discovery;
mod events;
mod evict;
mod fault;
mod fields;
mod ids;
mod job;
mod job_end;
mod job_pods;
mod kubelet;
mod life;
mod logs;
mod look;
mod managed;
mod names;
mod nodes;
mod object;
mod patch;
mod pod_status;
mod process;
mod quota;
mod read;
mod record;
mod remove;
mod request;
mod resource;
mod same;
mod schema;
mod selector;
mod server;
mod service;
mod status;
mod validate;
mod watch;
mod world;
mod write;

pub use access::Forbid;
pub use fault::Fault;
pub use life::{Life, NODE};
pub use record::Seen;
pub use resource::Resource;
pub use server::FakeCluster;
pub use service::{Answering, Body};

/// A number that stands for texts.
fn digest(texts: &[&str]) -> u64 {
    use sha1::{Digest, Sha1};
    let mut hash = Sha1::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first)
}
