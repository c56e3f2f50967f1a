//! The cluster that MLRun makes of a function: pods and a Service, as the retired classic `KubeCluster` of
//! dask-kubernetes had them. Rendered to be compared, and sent by nobody here.

use runtime_core::{
    Function, Result, Run,
    cluster::{Cluster, Workload, object_name, variable},
    k8s_openapi::api::core::v1::{
        Affinity, Container, EnvVar, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Pod,
        PreferredSchedulingTerm, ResourceRequirements, Toleration,
    },
    labels,
    plan::{ClusterPlan, Manifest},
};

use crate::{
    config::{DaskConfig, Workers},
    crd::selector,
    render::{EXTRA_PIP, PORT, service},
};

/// What MLRun sends for the function.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = DaskConfig::of(function)?;
    let mut workload = Workload::new(function, run, cluster)?;
    let mut objects = std::mem::take(&mut workload.secrets);
    let mut named = run.clone();
    named.metadata.name = format!("mlrun-{}", function.metadata.name);
    let name = object_name(&named, 0, 0);
    let mut env = workload.service_env();
    // The service's own count more.
    let own: Vec<_> = env.iter().map(|variable| variable.name.clone()).collect();
    let theirs = workload.function.spec.pod.env.iter().filter(|variable| !own.contains(&variable.name));
    env.extend(theirs.cloned());
    env.extend(config.extra_pip.iter().map(|packages| variable(EXTRA_PIP, packages.as_str())));
    let classic = Classic { workload, name, env };

    let timeout =
        config.scheduler_timeout.iter().flat_map(|timeout| ["--idle-timeout".to_owned(), timeout.clone()]);
    let args = program("scheduler", cluster).into_iter().chain(timeout).collect();
    objects.push(classic.pod("scheduler", args, Vec::new(), &config.scheduler.requirements));
    let mut of_scheduler = service(&config, &classic.name, ("comm", "dashboard"));
    of_scheduler.metadata = classic.metadata("scheduler");
    objects.push(Manifest::Service(Box::new(of_scheduler)));

    let namespace = cluster.namespace_of(&classic.workload.function);
    let address = format!("tcp://{}.{namespace}:{PORT}", classic.name);
    let workers = match config.workers {
        Workers::Fixed(replicas) => replicas,
        Workers::Adaptive { min, .. } => min,
    };
    for number in 0..workers {
        let mut args = program("worker", cluster);
        args.extend(["--nthreads".to_owned(), config.nthreads.to_string()]);
        let limit = config.worker.requirements.limits.as_ref().and_then(|limits| limits.get("memory"));
        args.extend(limit.into_iter().flat_map(|limit| ["--memory-limit".to_owned(), limit.0.clone()]));
        args.extend(classic.workload.function.spec.args.iter().cloned());
        args.extend(["--name".to_owned(), number.to_string()]);
        let found = vec![variable("DASK_SCHEDULER_ADDRESS", address.as_str())];
        objects.push(classic.pod("worker", args, found, &config.worker.requirements));
    }
    Ok(ClusterPlan { objects, ..ClusterPlan::default() })
}

/// The program's name in the images of a version: until 1.6 each part had one of its own.
fn program(part: &str, cluster: &Cluster) -> Vec<String> {
    let mut numbers = cluster.client_version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version < (1, 6) {
        true => vec![format!("dask-{part}")],
        false => vec!["dask".to_owned(), part.to_owned()],
    }
}

struct Classic<'a> {
    workload: Workload<'a>,
    name: String,
    env: Vec<EnvVar>,
}

impl Classic<'_> {
    fn metadata(
        &self,
        component: &str,
    ) -> runtime_core::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        let mut metadata = self.workload.metadata(self.name.clone());
        let all = metadata.labels.get_or_insert_default();
        all.extend(selector(&self.name, component));
        all.insert("app".to_owned(), "dask".to_owned());
        let tag = &self.workload.function.metadata.tag;
        if !tag.is_empty() {
            all.insert(labels::TAG.to_owned(), tag.clone());
        }
        metadata
    }

    fn pod(
        &self,
        component: &str,
        args: Vec<String>,
        more: Vec<EnvVar>,
        resources: &ResourceRequirements,
    ) -> Manifest {
        let mut workload = self.workload.clone();
        let pod = &mut workload.function.spec.pod;
        pod.resources = resources.clone();
        // Nodes that are kept for such pods are theirs, and preferred.
        pod.tolerations.extend(["k8s.dask.org/dedicated", "k8s.dask.org_dedicated"].map(|key| Toleration {
            key: Some(key.to_owned()),
            operator: Some("Equal".to_owned()),
            value: Some(component.to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        }));
        prefer(pod.affinity.get_or_insert_default(), component);
        let env = self.env.iter().cloned().chain(more).collect();
        let container =
            Container { name: "base".to_owned(), args: Some(args), env: Some(env), ..Container::default() };
        let spec = Some(workload.pod_spec(container));
        Manifest::Pod(Box::new(Pod { metadata: self.metadata(component), spec, ..Pod::default() }))
    }
}

fn prefer(affinity: &mut Affinity, component: &str) {
    let purpose = NodeSelectorRequirement {
        key: "k8s.dask.org/node-purpose".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![component.to_owned()]),
    };
    let preference =
        NodeSelectorTerm { match_expressions: Some(vec![purpose]), ..NodeSelectorTerm::default() };
    let node = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let preferred = node.preferred_during_scheduling_ignored_during_execution.get_or_insert_default();
    preferred.push(PreferredSchedulingTerm { weight: 100, preference });
}
