//! A function and a run with all that the service and the project add to them.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    Cluster, Style, env, full_image, given, mount, names::label_value, preemption, resources, secrets,
    selector,
};
use crate::{
    Error, Function, Result, Run, labels,
    plan::{Manifest, Role},
};

/// A function and a run with all that the service and the project add to them.
#[derive(Clone)]
pub struct Workload<'a> {
    /// The function, enriched.
    pub function: Function,
    /// The run.
    pub run: &'a Run,
    /// Where it goes.
    pub cluster: &'a Cluster,
    /// The image with its tag and its registry.
    pub image: String,
    /// Labels that the node must have, also those that were taken away by an empty value.
    pub node_selector: BTreeMap<String, String>,
    /// Secrets that are to be made before anything that names them.
    pub secrets: Vec<Manifest>,
}

impl<'a> Workload<'a> {
    /// Applies what the service and the project say.
    ///
    /// # Errors
    /// `Invalid`, naming the field, where something of that cannot be.
    pub fn new(function: &Function, run: &'a Run, cluster: &'a Cluster) -> Result<Self> {
        let settings = &cluster.settings;
        selector::check(&function.spec.pod.node_selector, "spec.node_selector")?;
        let function = mount::apply(function.clone(), &settings.storage)?;
        let function = secrets::with_vault(function, run, cluster);
        let (function, mut secrets) = secrets::hide_access_keys(function, cluster);
        let (mut function, given) = given::mounted(function, run, cluster);
        secrets.extend(given);
        let image = full_image(image_of(&function, cluster)?, cluster)?;
        let pod = &mut function.spec.pod;
        pod.service_account = check_service_account(&pod.service_account, cluster)?;
        if !function.spec.allow_empty_resources {
            resources::add_defaults(&mut pod.resources, settings);
        }
        if !run.spec.tolerations.is_empty() {
            pod.tolerations.clone_from(&run.spec.tolerations);
        }
        if run.spec.affinity.is_some() {
            pod.affinity.clone_from(&run.spec.affinity);
        }
        preemption::apply(pod, settings);
        if pod.priority_class_name.is_empty() {
            pod.priority_class_name =
                settings.default_function_priority_class_name.clone().unwrap_or_default();
        }
        let node_selector = selector::merged(&function.spec.pod.node_selector, Some(run), cluster)?;
        Ok(Self { function, run, cluster, image, node_selector, secrets })
    }

    /// The variables that say which run it is and where the service is.
    ///
    /// # Errors
    /// `Invalid`, where the run is too large for a variable.
    pub fn run_env(&self) -> Result<Vec<core::EnvVar>> {
        let mut env = env::of_run(&self.function, self.run, &self.node_selector, self.cluster)?;
        env.extend(given::folder(self.cluster));
        Ok(env)
    }

    /// The variables that say where the service is, for containers that are not the run itself.
    pub fn service_env(&self) -> Vec<core::EnvVar> {
        env::of_service(&self.function, self.run, self.cluster)
    }

    /// These variables, and those by which MLRun, where that runs the code, finds the secrets that the run is given.
    pub fn with_mlrun_secrets(&self, mut env: Vec<core::EnvVar>) -> Vec<core::EnvVar> {
        env.extend(given::for_mlrun(self.run, self.cluster));
        env::distinct(env)
    }

    /// These variables, then the function's own, then the secrets that the run gets; one of each name.
    pub fn env(&self, mut own: Vec<core::EnvVar>) -> Vec<core::EnvVar> {
        own.extend(self.function.spec.pod.env.iter().cloned());
        own.extend(secrets::of_project(self.run, self.cluster));
        env::distinct(own)
    }

    /// Labels and annotations of what the run creates, under this name.
    pub fn metadata(&self, name: String) -> ObjectMeta {
        pod_metadata(&self.function, self.run, self.cluster, name)
    }

    /// Labels of pods that others make for the run (an operator, a Deployment): by these whoever follows the run finds
    /// them, and what they are to it. In MLRun's style, the run's own labels alone.
    pub fn part_labels(&self, part: &str, role: Role) -> BTreeMap<String, String> {
        let mut all = run_labels(&self.function, self.run, self.cluster);
        if self.cluster.style == Style::Native {
            let mut put = |key: &str, value: &str| all.insert(key.to_owned(), value.to_owned());
            put(labels::MANAGED_BY, labels::RUNTIMES);
            put(labels::RUN, &self.run.key().to_string());
            put(labels::ATTEMPT, &self.cluster.attempt.to_string());
            if role != Role::Main {
                put(labels::PART, part);
                put(labels::ROLE, role.as_str());
            }
        }
        all
    }

    /// The pod of this container: what the function says of where and as whom it runs is added.
    pub fn pod_spec(self, mut container: core::Container) -> core::PodSpec {
        let pod = self.function.spec.pod;
        container.image = Some(self.image);
        container.image_pull_policy = some(pod.image_pull_policy);
        container.resources = (pod.resources != Default::default()).then_some(pod.resources);
        container.volume_mounts = some_list(pod.volume_mounts);
        let security_context = pod.security_context.as_ref().map(|context| context.to_pod());
        container.security_context = pod.security_context.and_then(|context| context.to_container());
        let has_priorities = self.cluster.settings.has_priorities();
        let mut spec = core::PodSpec {
            containers: vec![container],
            restart_policy: Some("Never".to_owned()),
            volumes: some_list(pod.volumes),
            node_name: some(pod.node_name),
            node_selector: selector::of_pod(&self.node_selector),
            affinity: pod.affinity,
            tolerations: some_list(pod.tolerations),
            priority_class_name: some(pod.priority_class_name).filter(|_| has_priorities),
            security_context: security_context.filter(|context| *context != Default::default()),
            image_pull_secrets: some(pod.image_pull_secret)
                .map(|name| vec![core::LocalObjectReference { name }]),
            ..core::PodSpec::default()
        };
        match self.cluster.style {
            // The older name of the same field.
            Style::Mlrun => spec.service_account = some(pod.service_account),
            Style::Native => spec.service_account_name = some(pod.service_account),
        }
        spec
    }
}

/// Labels and annotations of what a run creates.
pub fn pod_metadata(function: &Function, run: &Run, cluster: &Cluster, name: String) -> ObjectMeta {
    let annotations = match function.metadata.annotations.is_empty() {
        false => function.metadata.annotations.clone(),
        // Notes of our own are about the record.
        true => run
            .metadata
            .annotations
            .iter()
            .filter(|(key, _)| !key.starts_with("runtimes/"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    };
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace_of(function).to_owned()),
        labels: Some(run_labels(function, run, cluster)),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    }
}

fn run_labels(function: &Function, run: &Run, cluster: &Cluster) -> BTreeMap<String, String> {
    let mut all = function.metadata.labels.clone();
    let mut put = |key: &str, value: &str| all.insert(key.to_owned(), label_value(value));
    let scrape = run.spec.scrape_metrics.unwrap_or(cluster.settings.scrape_metrics);
    let project =
        [&run.metadata.project, &function.metadata.project].into_iter().find(|name| !name.is_empty());
    // MLRun's server reads a function by its hash, and forgets the tag.
    let tag = match cluster.style {
        Style::Native if !function.metadata.tag.is_empty() => function.metadata.tag.as_str(),
        _ => "latest",
    };
    put(labels::CLASS, &function.kind);
    put(labels::PROJECT, project.map_or("default", String::as_str));
    put(labels::FUNCTION, &function.metadata.name);
    put(labels::TAG, tag);
    put(labels::SCRAPE_METRICS, if scrape { "True" } else { "False" });
    put(labels::UID, &run.metadata.uid);
    put(labels::NAME, &run.metadata.name);
    if let Some(owner) = run.metadata.labels.get("owner") {
        match owner.split_once('@') {
            Some((name, domain)) => {
                put(labels::OWNER, name);
                put(labels::OWNER_DOMAIN, domain);
            }
            None => {
                put(labels::OWNER, owner);
            }
        }
    }
    if run.metadata.iteration > 0 {
        put(labels::ITERATION, &run.metadata.iteration.to_string());
    }
    all
}

/// The image that the function runs with.
fn image_of<'f>(function: &'f Function, cluster: &'f Cluster) -> Result<&'f str> {
    let spec = &function.spec;
    if !spec.image.is_empty() {
        return Ok(&spec.image);
    }
    let build = &spec.build;
    let to_build = !build.commands.is_empty()
        || !build.requirements.is_empty()
        || (!build.source.is_empty() && !build.load_source_on_run);
    let default = cluster.settings.function_defaults.image_by_kind.get(&function.kind);
    match default.filter(|_| !to_build) {
        Some(image) => Ok(image),
        None => Err(Error::invalid("spec.image", "is missing").help(if to_build {
            "the function has commands, requirements or a source for an image of its own: build it with `--auto-build` \
             or by `runtimes build FUNCTION`, or name one here that has all of that"
        } else {
            "write the image that its code runs in"
        })),
    }
}

/// The service account: the function's, else the project's or the service's.
///
/// # Errors
/// `Invalid`, where the project does not allow it.
pub fn check_service_account(of_function: &str, cluster: &Cluster) -> Result<String> {
    let default = match cluster.default_service_account.as_str() {
        "" => cluster.settings.function.spec.service_account.default.as_deref().unwrap_or_default(),
        default => default,
    };
    let account = if of_function.is_empty() { default } else { of_function };
    let allowed = &cluster.allowed_service_accounts;
    if account.is_empty() || allowed.is_empty() || allowed.iter().any(|name| name == account) {
        return Ok(account.to_owned());
    }
    Err(Error::invalid("spec.service_account", format!("{account:?} is not allowed in this project"))
        .help(format!("allowed: {}", allowed.join(", "))))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
