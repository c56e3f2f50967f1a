//! Kaniko: the pod that builds, as MLRun has it, and ours.

use crate::{
    Function, Result, Run,
    cluster::{Cluster, Style, Workload, label_value, variable},
    k8s_openapi::{
        api::core::v1::{
            ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, Pod, PodSpec, Volume, VolumeMount,
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    labels, naming,
    plan::{ClusterPlan, Manifest},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    credentials,
    dockerfile::{self, Dockerfile},
    mount,
    recipe::Recipe,
    requests,
};

/// Where the builder finds the requirements.
const REQUIREMENTS: &str = "/empty/requirements.txt";
/// Where the files of the build are before they are there.
const FILES: &str = "/runtimes/build";
/// Where it writes the image's digest.
const DIGEST: &str = "/dev/termination-log";

/// What MLRun creates.
pub(super) fn of_mlrun(function: &Function, recipe: &Recipe, cluster: &Cluster) -> Result<ClusterPlan> {
    let run = Run::default();
    let mut placed = function.clone();
    placed.spec.image.clone_from(&recipe.base);
    let place = Workload::new(&placed, &run, cluster)?.pod_spec(Container::default());
    let (text, args) = (text(function, recipe)?, arguments(function, recipe, cluster)?);
    let (volumes, mounts) = volumes(recipe);
    let mut init = writes(recipe, &text);
    init.image = Some(cluster.settings.httpdb.builder.kaniko_init_container_image.clone());
    init.volume_mounts = Some(mounts.clone());
    let spec = PodSpec {
        containers: vec![container(recipe, args, mounts, cluster)],
        init_containers: Some(vec![init]),
        volumes: Some(volumes),
        restart_policy: place.restart_policy,
        node_name: place.node_name,
        node_selector: place.node_selector,
        affinity: place.affinity,
        tolerations: place.tolerations,
        priority_class_name: place.priority_class_name,
        service_account: place.service_account,
        service_account_name: place.service_account_name,
        ..PodSpec::default()
    };
    let metadata = ObjectMeta { namespace: Some(cluster.namespace.clone()), ..metadata(function) };
    let pod = Pod { metadata, spec: Some(spec), ..Pod::default() };
    Ok(ClusterPlan { objects: vec![Manifest::Pod(Box::new(pod))], ..ClusterPlan::default() })
}

/// Ours: the files of the build, and the pod. It says the image's digest as its last word.
pub(super) fn pod(
    function: &Function,
    recipe: &Recipe,
    cluster: &Cluster,
    files: &str,
) -> Result<(Vec<(&'static str, String)>, PodSpec)> {
    let mut texts = vec![("Dockerfile", text(function, recipe)?)];
    if !recipe.requirements.is_empty() {
        texts.push(("requirements.txt", recipe.requirements.join("\n") + "\n"));
    }
    let mut args = arguments(function, recipe, cluster)?;
    args.push(format!("--digest-file={DIGEST}"));
    let (mut volumes, mounts) = volumes(recipe);
    let source = ConfigMapVolumeSource { name: files.to_owned(), ..ConfigMapVolumeSource::default() };
    volumes.push(Volume { name: "files".to_owned(), config_map: Some(source), ..Volume::default() });
    // Kaniko wants files that are its own, not links into a volume.
    let init = Container {
        name: "files".to_owned(),
        image: Some(cluster.settings.httpdb.builder.kaniko_init_container_image.clone()),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), format!("cp -L {FILES}/* /empty/")]),
        volume_mounts: Some(vec![mount("empty", "/empty"), mount("files", FILES)]),
        ..Container::default()
    };
    let mut container = container(recipe, args, mounts, cluster);
    container.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    let spec = PodSpec {
        containers: vec![container],
        init_containers: Some(vec![init]),
        volumes: Some(volumes),
        automount_service_account_token: Some(false),
        ..PodSpec::default()
    };
    Ok((texts, spec))
}

fn text(function: &Function, recipe: &Recipe) -> Result<String> {
    let (_, copied) = dockerfile::context(&recipe.source)?;
    let build = &function.spec.build;
    Ok(Dockerfile {
        base: &recipe.base,
        args: recipe.env.iter().map(argument_name).chain(extra_build_args(&build.extra_args)).collect(),
        source: copied.as_deref(),
        target: &recipe.folder,
        commands: recipe.commands.clone(),
        requirements: (!recipe.requirements.is_empty()).then_some(REQUIREMENTS),
        extra: &build.dockerfile_extra,
    }
    .text())
}

fn volumes(recipe: &Recipe) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes = vec![Volume {
        name: "empty".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }];
    let mut mounts = vec![mount("empty", "/empty")];
    if !recipe.secret.is_empty() {
        let name = naming::normalize(&recipe.secret);
        volumes.push(credentials(&name, &recipe.secret));
        mounts.push(mount(&name, "/kaniko/.docker"));
    }
    (volumes, mounts)
}

fn container(recipe: &Recipe, args: Vec<String>, mounts: Vec<VolumeMount>, cluster: &Cluster) -> Container {
    Container {
        name: "base".to_owned(),
        image: Some(cluster.settings.httpdb.builder.kaniko_image.clone()),
        args: Some(args),
        env: (!recipe.env.is_empty()).then(|| recipe.env.clone()),
        resources: requests(cluster),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// `NAME`, or `NAME=$NAME` for a secret: its value stands nowhere.
fn argument_name(variable: &EnvVar) -> String {
    match &variable.value {
        Some(_) => variable.name.clone(),
        None => format!("{0}=${0}", variable.name),
    }
}

/// The names of `--build-arg A=b` in further arguments of the builder.
fn extra_build_args(extra: &str) -> Vec<String> {
    let words: Vec<&str> = extra.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "--build-arg");
    pairs.filter_map(|pair| pair[1].split_once('=')).map(|(name, _)| name.to_owned()).collect()
}

/// The arguments of the builder.
fn arguments(function: &Function, recipe: &Recipe, cluster: &Cluster) -> Result<Vec<String>> {
    let (context, _) = dockerfile::context(&recipe.source)?;
    let builder = &cluster.settings.httpdb.builder;
    let mut args: Vec<String> = [
        ("--dockerfile", "/empty/Dockerfile"),
        ("--context", context.as_str()),
        ("--destination", recipe.target.as_str()),
        ("--image-fs-extract-retry", builder.kaniko_image_fs_extraction_retries.as_str()),
        ("--push-retry", builder.kaniko_image_push_retry.as_str()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()])
    .collect();
    for (mode, flag) in [
        (&builder.insecure_pull_registry_mode, "--insecure-pull"),
        (&builder.insecure_push_registry_mode, "--insecure"),
    ] {
        // Without being told so, only MLRun speaks to registries that nobody vouches for.
        let auto = cluster.style == Style::Mlrun && mode == "auto" && recipe.secret.is_empty();
        if mode == "enabled" || auto {
            args.push(flag.to_owned());
        }
    }
    if function.verbose {
        args.extend(["--verbosity".to_owned(), "debug".to_owned()]);
    }
    for variable in &recipe.env {
        let value = match &variable.value {
            Some(value) => format!("{}={value}", variable.name),
            None => argument_name(variable),
        };
        args.extend(["--build-arg".to_owned(), value]);
    }
    args.extend(function.spec.build.extra_args.split_whitespace().map(str::to_owned));
    Ok(args)
}

/// What writes the Dockerfile and the requirements to where the builder reads them.
fn writes(recipe: &Recipe, text: &str) -> Container {
    let mut commands = vec!["echo ${DOCKERFILE} | base64 -d > /empty/Dockerfile".to_owned()];
    let mut env = vec![variable("DOCKERFILE", STANDARD.encode(text))];
    if !recipe.requirements.is_empty() {
        commands.push(format!("echo ${{REQUIREMENTS}} | base64 -d > {REQUIREMENTS}"));
        env.push(variable("REQUIREMENTS", STANDARD.encode(recipe.requirements.join("\n") + "\n")));
    }
    Container {
        name: "create-dockerfile".to_owned(),
        args: Some(vec!["sh".to_owned(), "-c".to_owned(), commands.join("; ")]),
        env: Some(env),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        ..Container::default()
    }
}

/// The pod is named after the function's content: the same content is built once.
fn metadata(function: &Function) -> ObjectMeta {
    let task = naming::normalize(&format!("mlrun-build-{}", function.metadata.name));
    let project = if function.metadata.project.is_empty() { "default" } else { &function.metadata.project };
    let given = [
        (labels::TASK_NAME, task.as_str()),
        (labels::CLASS, "build"),
        (labels::PROJECT, project),
        (labels::NAME, task.as_str()),
        (labels::FUNCTION, function.metadata.name.as_str()),
        (labels::TAG, "latest"),
    ];
    let hash = function.hash();
    let mut name = task.clone();
    name.truncate(naming::MAX_NAME - 11);
    ObjectMeta {
        name: Some(format!("{}-{}", name.trim_end_matches('-'), &hash[..10.min(hash.len())])),
        labels: Some(given.map(|(key, value)| (key.to_owned(), label_value(value))).into()),
        ..ObjectMeta::default()
    }
}
