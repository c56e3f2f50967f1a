//! Objects of a Kubernetes cluster, as a plan has them.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{ConfigMap, Pod, Secret, Service},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::labels;

/// Objects of a Kubernetes cluster, and what should be known about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterPlan {
    /// The objects in the order in which they are created. Each is there before the next one is asked for.
    pub objects: Vec<Manifest>,
    /// Where others in the cluster find it once its main pod is ready, by what is there: `dashboard`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, String>,
    /// How long the run may execute, from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// What the user should know about this plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One object. It is written as Kubernetes has it, with `apiVersion` and `kind`.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Manifest {
    /// Small files and settings. Plans of many runs may have the same one.
    ConfigMap(Arc<ConfigMap>),
    /// Values that must not be shown.
    Secret(Box<Secret>),
    /// A name for pods that others talk to.
    Service(Box<Service>),
    /// Containers that run together.
    Pod(Box<Pod>),
    /// A pod that is made again where it fails.
    Job(Box<Job>),
    /// An object of an operator, which this crate does not know.
    Custom(Value),
}

/// How long pods that do not say it may take to end: Kubernetes' default.
const GRACE: Duration = Duration::from_secs(30);

impl ClusterPlan {
    /// How long its pods may take to end after they were asked to.
    pub fn grace(&self) -> Duration {
        let spec = self.objects.iter().find_map(|object| match object {
            Manifest::Pod(pod) => pod.spec.as_ref(),
            Manifest::Job(job) => job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()),
            _ => None,
        });
        let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds);
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE, Duration::from_secs)
    }
}

impl Manifest {
    /// Its kind: `Pod`.
    pub fn kind(&self) -> &str {
        match self {
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
            Self::Service(_) => "Service",
            Self::Pod(_) => "Pod",
            Self::Job(_) => "Job",
            Self::Custom(value) => value["kind"].as_str().unwrap_or_default(),
        }
    }

    /// The group and version of its type: `batch/v1`.
    pub fn api_version(&self) -> &str {
        match self {
            Self::ConfigMap(_) | Self::Secret(_) | Self::Service(_) | Self::Pod(_) => "v1",
            Self::Job(_) => "batch/v1",
            Self::Custom(value) => value["apiVersion"].as_str().unwrap_or_default(),
        }
    }

    /// It as a client sends it that says by the address what it is: without `apiVersion` and `kind`, but for a Service
    /// and an object of an operator, which MLRun sends whole.
    pub fn as_addressed(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        let whole = matches!(self, Self::Custom(_) | Self::Service(_));
        if let (Value::Object(map), false) = (&mut value, whole) {
            map.shift_remove("apiVersion");
            map.shift_remove("kind");
        }
        value
    }

    /// Its namespace, where it says one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Custom(value) => value["metadata"]["namespace"].as_str(),
            _ => self.metadata()?.namespace.as_deref(),
        }
    }

    /// Whether it belongs to no run: all of a namespace have it together. It is made once, and stays.
    pub fn is_shared(&self) -> bool {
        let labels = self.metadata().and_then(|metadata| metadata.labels.as_ref());
        labels.is_some_and(|labels| labels.contains_key(labels::SHARED))
    }

    /// What all but objects of operators have.
    fn metadata(&self) -> Option<&ObjectMeta> {
        Some(match self {
            Self::ConfigMap(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Job(object) => &object.metadata,
            Self::Custom(_) => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let Self::Custom(value) = self else {
            return self.metadata().and_then(|metadata| metadata.name.as_deref()).unwrap_or_default();
        };
        value["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// What is in a secret is not shown.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap(object) => object.fmt(f),
            Self::Secret(_) => write!(f, "Secret {:?}", self.name()),
            Self::Service(object) => object.fmt(f),
            Self::Pod(object) => object.fmt(f),
            Self::Job(object) => object.fmt(f),
            Self::Custom(value) => value.fmt(f),
        }
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::ConfigMap(object) => object.serialize(serializer),
            Self::Secret(object) => object.serialize(serializer),
            Self::Service(object) => object.serialize(serializer),
            Self::Pod(object) => object.serialize(serializer),
            Self::Job(object) => object.serialize(serializer),
            Self::Custom(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn typed<T: for<'a> Deserialize<'a>, E: serde::de::Error>(value: Value) -> Result<Box<T>, E> {
            T::deserialize(value).map(Box::new).map_err(E::custom)
        }
        let value = Value::deserialize(deserializer)?;
        match (value["apiVersion"].as_str(), value["kind"].as_str()) {
            (Some("v1"), Some("ConfigMap")) => typed(value).map(|map| Self::ConfigMap(Arc::from(map))),
            (Some("v1"), Some("Secret")) => typed(value).map(Self::Secret),
            (Some("v1"), Some("Service")) => typed(value).map(Self::Service),
            (Some("v1"), Some("Pod")) => typed(value).map(Self::Pod),
            (Some("batch/v1"), Some("Job")) => typed(value).map(Self::Job),
            (Some(_), Some(_)) => Ok(Self::Custom(value)),
            _ => Err(D::Error::custom("an object of Kubernetes has an `apiVersion` and a `kind`")),
        }
    }
}
