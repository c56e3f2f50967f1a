//! A Dask cluster of what every Kubernetes cluster has: two Deployments and a Service.

use runtime_core::{
    Result,
    cluster::{object_field, variable},
    k8s_openapi::{
        api::{
            apps::v1::{Deployment, DeploymentSpec},
            core::v1::{PodSpec, PodTemplateSpec},
        },
        apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    },
    plan::{Manifest, Role},
};

use crate::{
    crd::selector,
    render::{PORT, Parts, custom},
};

/// The objects, the Service first: its name is what workers look for.
pub(crate) fn objects(parts: &Parts<'_>, workers: u32) -> Result<Vec<Manifest>> {
    let name = format!("{}-scheduler", parts.name);
    let mut service = parts.service();
    service.metadata = parts.workload.metadata(name);
    let address = format!("tcp://{}:{PORT}", parts.host());
    let named =
        vec![object_field("DASK_WORKER_NAME", "metadata.name"), variable("DASK_SCHEDULER_ADDRESS", address)];
    let scheduler = deployment(parts, "scheduler", parts.scheduler, (1, parts.scheduler()));
    let worker = deployment(parts, "worker", Role::Worker, (workers, parts.worker(named)));
    let (service, scheduler, worker) =
        (Manifest::Service(Box::new(service)), custom(scheduler)?, custom(worker)?);
    Ok(match parts.scheduler {
        // The last one is the deployment.
        Role::Main => vec![service, worker, scheduler],
        _ => vec![service, scheduler, worker],
    })
}

fn deployment(parts: &Parts<'_>, part: &str, role: Role, (replicas, spec): (u32, PodSpec)) -> Deployment {
    let match_labels = selector(&parts.name, part);
    let mut labels = parts.workload.part_labels(part, role);
    labels.extend(match_labels.clone());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(spec),
    };
    Deployment {
        metadata: parts.workload.metadata(format!("{}-{part}", parts.name)),
        spec: Some(DeploymentSpec {
            replicas: i32::try_from(replicas).ok(),
            selector: LabelSelector { match_labels: Some(match_labels), ..LabelSelector::default() },
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}
