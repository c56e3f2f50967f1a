//! Pure: function -> the pod that builds its image. What goes into the image is said once (the recipe); how it is built,
//! by BuildKit or by Kaniko, is the builder's own.

mod buildkit;
mod dockerfile;
mod extra;
mod kaniko;
mod recipe;
mod status;

use std::sync::Arc;

use crate::{
    Error, Function, Result, Run,
    cluster::{Cluster, Settings, Style, Workload, object_name, pod_metadata},
    k8s_openapi::{
        api::core::v1::{
            ConfigMap, Container, KeyToPath, Pod, PodSpec, ResourceRequirements, SecretVolumeSource, Volume,
            VolumeMount,
        },
        apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
    },
    labels, naming,
    plan::{ClusterPlan, Image, Manifest},
    run::Thresholds,
};

use recipe::Recipe;
pub use status::observe;

/// How much of files a config map may hold, less room for the rest of the object.
const MAX_FILES: usize = (1 << 20) - 16 * 1024;

/// What builds.
enum Builder {
    BuildKit,
    Kaniko,
}

impl Builder {
    fn of(settings: &Settings) -> Result<Self> {
        match settings.httpdb.builder.builder.as_str() {
            "buildkit" => Ok(Self::BuildKit),
            "kaniko" => Ok(Self::Kaniko),
            other => {
                Err(Error::invalid("config.httpdb.builder.builder", format!("{other:?} builds no images"))
                    .help("`buildkit`, or `kaniko` as MLRun does it"))
            }
        }
    }
}

/// What deploying a function that is run creates: what the first build of its image would.
///
/// # Errors
/// As [`image`], and where there is nothing to build.
pub fn deploy(function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
    if cluster.style == Style::Mlrun {
        let recipe = Recipe::of(function, cluster)?.ok_or_else(nothing)?;
        return kaniko::of_mlrun(function, &recipe, cluster);
    }
    let image = image(function, cluster)?.ok_or_else(nothing)?;
    let mut run = Run::default();
    run.metadata.uid = image.uid(0);
    run.metadata.name = name(function);
    run.metadata.project.clone_from(&function.metadata.project);
    plan(function, &run, cluster)
}

/// What is to be built; `None`, where the image is used as it is.
///
/// # Errors
/// `Invalid`, naming the field, where it cannot be built as the function says.
pub fn image(function: &Function, cluster: &Cluster) -> Result<Option<Image>> {
    let Some(recipe) = Recipe::of(function, cluster)? else { return Ok(None) };
    // What cannot be built is said now.
    if matches!(Builder::of(&cluster.settings)?, Builder::BuildKit) {
        buildkit::check(function, &recipe, cluster)?;
    }
    Ok(Some(recipe.image(function)))
}

/// The objects of a run that builds it.
///
/// # Errors
/// As [`image`], and where there is nothing to build.
pub fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let recipe = Recipe::of(function, cluster)?.ok_or_else(nothing)?;
    let name = object_name(run, cluster.attempt, 6);
    let metadata = |name: &str| metadata(function, run, cluster, name.to_owned());
    let (files, mut spec) = match Builder::of(&cluster.settings)? {
        Builder::BuildKit => buildkit::pod(function, &recipe, cluster, &format!("{name}-files"))?,
        Builder::Kaniko => kaniko::pod(function, &recipe, cluster, &format!("{name}-files"))?,
    };
    let size: usize = files.iter().map(|(_, text)| text.len()).sum();
    if size > MAX_FILES {
        let wrong = format!(
            "the Dockerfile and the requirements have {size} bytes, and a cluster keeps at most {MAX_FILES} of them"
        );
        return Err(Error::invalid("spec.build", wrong)
            .help("put large files into the source, or into the base image"));
    }
    place(&mut spec, function, &recipe, cluster)?;
    let data = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let map =
        ConfigMap { metadata: metadata(&format!("{name}-files")), data: Some(data), ..ConfigMap::default() };
    let mut pod = metadata(&name);
    if matches!(Builder::of(&cluster.settings)?, Builder::BuildKit) {
        pod.annotations.get_or_insert_default().extend(buildkit::annotations());
    }
    let pod = Pod { metadata: pod, spec: Some(spec), ..Pod::default() };
    Ok(ClusterPlan {
        objects: vec![Manifest::ConfigMap(Arc::new(map)), Manifest::Pod(Box::new(pod))],
        deadline: Thresholds::of(&[&run.spec.state_thresholds])?.executing,
        ..ClusterPlan::default()
    })
}

fn nothing() -> Error {
    Error::invalid("spec.build", "there is nothing to build")
        .help("name `requirements`, `commands` or a `source`; without them the image is used as it is")
}

/// What a run that builds is called.
fn name(function: &Function) -> String {
    naming::run_name(&format!("build-{}", function.metadata.name), "")
}

/// Labels as those of a run, but for the class.
fn metadata(function: &Function, run: &Run, cluster: &Cluster, name: String) -> ObjectMeta {
    let mut metadata = pod_metadata(function, run, cluster, name);
    metadata.labels.get_or_insert_default().insert(labels::CLASS.to_owned(), "build".to_owned());
    metadata
}

/// Where the function runs, its image is built as well.
fn place(spec: &mut PodSpec, function: &Function, recipe: &Recipe, cluster: &Cluster) -> Result<()> {
    let run = Run::default();
    let mut placed = function.clone();
    placed.spec.image.clone_from(&recipe.base);
    let place = Workload::new(&placed, &run, cluster)?.pod_spec(Container::default());
    spec.restart_policy = place.restart_policy;
    spec.node_name = place.node_name;
    spec.node_selector = place.node_selector;
    spec.affinity = place.affinity;
    spec.tolerations = place.tolerations;
    spec.priority_class_name = place.priority_class_name;
    spec.service_account = place.service_account;
    spec.service_account_name = place.service_account_name;
    Ok(())
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// The credentials of the registry, as the program of Docker keeps them.
fn credentials(name: &str, secret: &str) -> Volume {
    let item = KeyToPath {
        key: ".dockerconfigjson".to_owned(),
        path: "config.json".to_owned(),
        ..KeyToPath::default()
    };
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        items: Some(vec![item]),
        ..SecretVolumeSource::default()
    };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}

/// A limit could end the build half-way; requests say where it fits.
fn requests(cluster: &Cluster) -> Option<ResourceRequirements> {
    let defaults = &cluster.settings.default_function_pod_resources.requests;
    let given = [("cpu", &defaults.cpu), ("memory", &defaults.memory)];
    let requests = given.into_iter().filter_map(|(name, amount)| {
        amount
            .as_ref()
            .filter(|amount| !amount.is_empty())
            .map(|amount| (name.to_owned(), Quantity(amount.clone())))
    });
    let requests: std::collections::BTreeMap<_, _> = requests.collect();
    (!requests.is_empty())
        .then(|| ResourceRequirements { requests: Some(requests), ..ResourceRequirements::default() })
}
