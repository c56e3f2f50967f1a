//! Which resources the server has.

use serde_json::{Value, json};

/// A resource that the server knows: a built-in one, or one that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub(super) group: String,
    pub(super) versions: Vec<String>,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    pub(super) status: bool,
    pub(super) short_names: Vec<String>,
    pub(super) builtin: bool,
}

impl Resource {
    /// A namespaced resource with a status, as most custom ones are. Its plural is the kind in small letters with an
    /// `s`, unless told otherwise.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            versions: vec![version.to_owned()],
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_ascii_lowercase()),
            namespaced: true,
            status: true,
            short_names: Vec::new(),
            builtin: false,
        }
    }

    /// The name that it has in addresses.
    #[must_use]
    pub fn plural(mut self, plural: &str) -> Self {
        plural.clone_into(&mut self.plural);
        self
    }

    /// Objects of it are in no namespace.
    #[must_use]
    pub fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// It has no status of its own: whatever is written is written as a whole.
    #[must_use]
    pub fn without_status(mut self) -> Self {
        self.status = false;
        self
    }

    /// It is served in this version, too. Objects are the same in all versions but for their `apiVersion`.
    #[must_use]
    pub fn also(mut self, version: &str) -> Self {
        self.versions.push(version.to_owned());
        self
    }

    pub(super) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Whether changes of the spec are counted in `metadata.generation`.
    pub(super) fn has_generation(&self) -> bool {
        self.status && !self.group.is_empty() && self.group != "coordination.k8s.io"
    }

    /// Whether an update needs the version that was read.
    pub(super) fn needs_version(&self) -> bool {
        !self.builtin || matches!(self.kind.as_str(), "Lease" | "CustomResourceDefinition")
    }

    /// Whether an update of what is not there creates it.
    pub(super) fn created_by_update(&self) -> bool {
        matches!(
            (self.group.as_str(), self.kind.as_str()),
            ("coordination.k8s.io", "Lease") | ("", "Event" | "Endpoints")
        )
    }

    /// Whether an answer to a deletion carries the object.
    pub(super) fn answers_with_deleted(&self) -> bool {
        let returned =
            matches!(self.kind.as_str(), "Pod" | "PersistentVolumeClaim" | "Service" | "ServiceAccount");
        self.group.is_empty() && (returned || self.kind == "PersistentVolume")
    }

    /// As `APIResourceList` shows it, with its subresources.
    pub(super) fn described(&self) -> Vec<Value> {
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        let mut main = json!({
            "name": self.plural, "singularName": self.kind.to_ascii_lowercase(), "namespaced": self.namespaced,
            "kind": self.kind, "verbs": verbs,
        });
        if !self.short_names.is_empty() {
            main["shortNames"] = json!(self.short_names);
        }
        let sub = |name: &str, kind: &str, verbs: &[&str]| {
            let name = format!("{}/{name}", self.plural);
            json!({"name": name, "singularName": "", "namespaced": self.namespaced, "kind": kind, "verbs": verbs})
        };
        let mut all = vec![main];
        if self.status {
            all.push(sub("status", &self.kind, &["get", "patch", "update"]));
        }
        if self.is_pod() {
            all.push(sub("log", "Pod", &["get"]));
            all.push(sub("binding", "Binding", &["create"]));
            let mut eviction = sub("eviction", "Eviction", &["create"]);
            eviction["group"] = "policy".into();
            eviction["version"] = "v1".into();
            all.push(eviction);
        }
        all
    }

    pub(super) fn is_pod(&self) -> bool {
        self.group.is_empty() && self.kind == "Pod"
    }

    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// What every server has: group, version, kind, plural, namespaced, with status, short names.
type Row = (&'static str, &'static str, &'static str, &'static str, bool, bool, &'static str);

const BUILTIN: &[Row] = &[
    ("", "v1", "Namespace", "namespaces", false, true, "ns"),
    ("", "v1", "Pod", "pods", true, true, "po"),
    ("", "v1", "Event", "events", true, false, "ev"),
    ("", "v1", "ConfigMap", "configmaps", true, false, "cm"),
    ("", "v1", "Secret", "secrets", true, false, ""),
    ("", "v1", "Service", "services", true, true, "svc"),
    ("", "v1", "ServiceAccount", "serviceaccounts", true, false, "sa"),
    ("", "v1", "Endpoints", "endpoints", true, false, "ep"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true, true, "pvc"),
    ("", "v1", "PersistentVolume", "persistentvolumes", false, true, "pv"),
    ("", "v1", "Node", "nodes", false, true, "no"),
    ("", "v1", "ResourceQuota", "resourcequotas", true, true, "quota"),
    ("", "v1", "LimitRange", "limitranges", true, false, "limits"),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
        true,
        "crd,crds",
    ),
    ("apps", "v1", "DaemonSet", "daemonsets", true, true, "ds"),
    ("apps", "v1", "Deployment", "deployments", true, true, "deploy"),
    ("apps", "v1", "ReplicaSet", "replicasets", true, true, "rs"),
    ("apps", "v1", "StatefulSet", "statefulsets", true, true, "sts"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true, true, "hpa"),
    ("batch", "v1", "CronJob", "cronjobs", true, true, "cj"),
    ("batch", "v1", "Job", "jobs", true, true, ""),
    ("coordination.k8s.io", "v1", "Lease", "leases", true, false, ""),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", true, true, "ing"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true, false, "netpol"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true, true, "pdb"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", false, false, ""),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", false, false, ""),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", true, false, ""),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", true, false, ""),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", false, false, "pc"),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", false, false, "sc"),
];

pub(super) fn builtin() -> impl Iterator<Item = Resource> {
    BUILTIN.iter().map(|&(group, version, kind, plural, namespaced, status, short)| Resource {
        group: group.to_owned(),
        versions: vec![version.to_owned()],
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
        status,
        short_names: short.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        builtin: true,
    })
}
