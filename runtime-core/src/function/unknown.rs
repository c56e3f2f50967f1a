//! Fields that nobody reads: what was probably meant, and what is kept without effect.

use serde_json::{Map, Value};

use super::{Build, Function, Metadata, Spec};
use crate::{Error, Result, error::did_you_mean, pod::PodSpec, yaml};

/// A field that is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where it is: `spec.replcas`.
    pub path: String,
    /// The known field that was probably meant.
    pub suggestion: Option<String>,
}

const TOP: [&str; 5] = ["kind", "metadata", "spec", "status", "verbose"];

/// Fields of MLRun that any kind may have, and that have no effect.
const KEPT: [&str; 7] = ["rundb", "reset_on_run", "filename", "serving_spec", "auto_mount", "tty", "retry"];

/// Fields that some kind of MLRun has: on another kind they are no slip of the pen.
const OF_SOME_KIND: &[&str] = &[
    "add_templated_ingress_host_mode",
    "base_image_pull",
    "base_spec",
    "clean_pod_policy",
    "config",
    "default_class",
    "default_content_type",
    "deps",
    "disable_default_http_trigger",
    "driver_affinity",
    "driver_cores",
    "driver_java_options",
    "driver_node_selector",
    "driver_preemption_mode",
    "driver_resources",
    "driver_tolerations",
    "driver_volume_mounts",
    "dynamic_allocation",
    "env_from",
    "error_stream",
    "executor_affinity",
    "executor_cores",
    "executor_java_options",
    "executor_node_selector",
    "executor_preemption_mode",
    "executor_resources",
    "executor_tolerations",
    "executor_volume_mounts",
    "extra_pip",
    "function_handler",
    "function_kind",
    "function_refs",
    "graph",
    "graph_initializer",
    "hadoop_conf",
    "job_type",
    "kfp_image",
    "load_mode",
    "main_class",
    "max_replicas",
    "min_replicas",
    "monitoring",
    "mpi_args",
    "no_cache",
    "node_port",
    "nthreads",
    "nuclio_runtime",
    "parameters",
    "provider",
    "python_version",
    "readiness_timeout",
    "readiness_timeout_before_failure",
    "remote",
    "restart_policy",
    "scheduler_resources",
    "scheduler_timeout",
    "secret_sources",
    "service_type",
    "source",
    "spark_conf",
    "spark_version",
    "track_models",
    "tracking_policy",
    "use_default_image",
    "worker_resources",
];

/// The names that stand in the objects of Kubernetes which a function has, for suggestions.
const IN_OBJECTS: &[&str] = &[
    "name",
    "value",
    "valueFrom",
    "secretKeyRef",
    "configMapKeyRef",
    "fieldRef",
    "resourceFieldRef",
    "key",
    "optional",
    "fieldPath",
    "apiVersion",
    "limits",
    "requests",
    "claims",
    "persistentVolumeClaim",
    "claimName",
    "secret",
    "secretName",
    "configMap",
    "hostPath",
    "emptyDir",
    "medium",
    "sizeLimit",
    "flexVolume",
    "nfs",
    "csi",
    "projected",
    "downwardAPI",
    "ephemeral",
    "items",
    "path",
    "type",
    "defaultMode",
    "server",
    "driver",
    "options",
    "secretRef",
    "mountPath",
    "subPath",
    "subPathExpr",
    "readOnly",
    "mountPropagation",
    "operator",
    "effect",
    "tolerationSeconds",
    "nodeAffinity",
    "podAffinity",
    "podAntiAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
    "nodeSelectorTerms",
    "matchExpressions",
    "matchLabels",
    "matchFields",
    "values",
    "weight",
    "preference",
    "podAffinityTerm",
    "labelSelector",
    "topologyKey",
    "namespaces",
    "namespaceSelector",
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "fsGroup",
    "supplementalGroups",
    "privileged",
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "capabilities",
    "add",
    "drop",
    "seLinuxOptions",
    "level",
    "seccompProfile",
    "localhostProfile",
    "sysctls",
];

impl Function {
    /// The fields that neither a function has nor its kind, whose fields in `spec` are `kind_fields`. Those of the
    /// Kubernetes objects in it are looked at too. A field that is null has no effect and is not told.
    pub fn unknown_fields(&self, kind_fields: &[&str]) -> Vec<UnknownField> {
        let document = self.document();
        let nothing = Map::new();
        let part = |path: [&str; 2]| {
            let outer = if path[0].is_empty() { Some(&*document) } else { document.get(path[0]) };
            let inner = if path[1].is_empty() { outer } else { outer.and_then(|outer| outer.get(path[1])) };
            inner.and_then(Value::as_object).unwrap_or(&nothing)
        };
        let spec: Vec<&str> = [Spec::FIELDS, PodSpec::FIELDS, &["build"], &KEPT, kind_fields].concat();
        let metadata = [Metadata::FIELDS, &["uid"]].concat();

        let mut unknown = Vec::new();
        compare(&mut unknown, part(["", ""]), "", &TOP);
        compare(&mut unknown, part(["metadata", ""]), "metadata", &metadata);
        compare(&mut unknown, part(["spec", ""]), "spec", &spec);
        compare(&mut unknown, part(["spec", "build"]), "spec.build", Build::FIELDS);
        for (name, typed) in self.spec.pod.objects() {
            if let Some(written) = part(["spec", ""]).get(name) {
                dropped(&mut unknown, written, &typed, &yaml::join("spec", name));
            }
        }
        unknown
    }

    /// Refuses a field that is close to a known one, and tells of the others that have no effect.
    ///
    /// # Errors
    /// `Invalid`: the place and path of the field, and the one that was probably meant.
    pub fn check_fields(&self, kind_fields: &[&str]) -> Result<Vec<String>> {
        let mut notes = self.spec.pod.notes();
        for field in self.unknown_fields(kind_fields) {
            if let Some(meant) = field.suggestion {
                let error =
                    Error::invalid(field.path, "unknown field").help(format!("did you mean `{meant}`?"));
                return Err(self.locate(error));
            }
            let name = field.path.strip_prefix("spec.").unwrap_or_default();
            notes.push(if OF_SOME_KIND.contains(&name) {
                format!(
                    "{} is of another kind than `{}`; it is kept and has no effect",
                    field.path, self.kind
                )
            } else {
                format!("{} is not known here; it is kept and has no effect", field.path)
            });
        }
        Ok(notes)
    }
}

fn compare(unknown: &mut Vec<UnknownField>, map: &Map<String, Value>, path: &str, known: &[&str]) {
    for (key, _) in map.iter().filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str())) {
        let of_kind = path == "spec" && OF_SOME_KIND.contains(&key.as_str());
        let suggestion = if of_kind { None } else { meant(key, known) };
        unknown.push(UnknownField { path: yaml::join(path, key), suggestion });
    }
}

/// Finds what the types did not take: keys that were written and are not there any more.
fn dropped(unknown: &mut Vec<UnknownField>, written: &Value, typed: &Value, path: &str) {
    match (written, typed) {
        (Value::Object(written), Value::Object(typed)) => {
            for (key, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = yaml::join(path, key);
                match typed.get(key) {
                    Some(typed) => dropped(unknown, value, typed, &path),
                    None => unknown.push(UnknownField { path, suggestion: meant(key, IN_OBJECTS) }),
                }
            }
        }
        (Value::Array(written), Value::Array(typed)) => {
            for (index, (written, typed)) in written.iter().zip(typed).enumerate() {
                dropped(unknown, written, typed, &format!("{path}[{index}]"));
            }
        }
        _ => {}
    }
}

/// The known field that was meant: a slip of the pen, or the name in the other style (`mount_path`, `imagePullPolicy`).
fn meant(key: &str, known: &[&str]) -> Option<String> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let same = known.iter().find(|name| plain(name) == plain(key)).copied();
    same.or_else(|| did_you_mean(key, known.iter().copied())).map(str::to_owned)
}
