//! Pure: function -> the pod that builds its image, with Kaniko as MLRun does it.

use base64::{Engine, engine::general_purpose::STANDARD};
use runtime_core::{
    Error, Function, Result, Run,
    cluster::{Cluster, Style, Workload, full_image, label_value, project_secret_name, variable},
    k8s_openapi::{
        api::core::v1::{
            Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath, Pod, PodSpec,
            ResourceRequirements, SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
        },
        apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
    },
    labels, naming,
    plan::{ClusterPlan, Manifest},
};

use crate::dockerfile::{self, Dockerfile};

/// Where the builder finds the requirements.
const REQUIREMENTS: &str = "/empty/requirements.txt";

/// What is built, with all that is said of it resolved.
struct Recipe {
    base: String,
    target: String,
    secret: String,
    commands: Vec<String>,
    requirements: Vec<String>,
    /// Variables of the build with their values, and those that are keys of a secret.
    env: Vec<EnvVar>,
}

/// The objects of a build.
pub(crate) fn plan(function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
    let recipe = recipe(function, cluster)?;
    let build = &function.spec.build;
    let source = if build.load_source_on_run { "" } else { build.source.as_str() };
    let (context, copied) = dockerfile::context(source)?;
    let folder = [&build.source_code_target_dir, &function.spec.clone_target_dir];
    let folder = folder.into_iter().find(|folder| !folder.is_empty());
    let text = Dockerfile {
        base: &recipe.base,
        args: recipe.env.iter().map(argument_name).chain(extra_build_args(&build.extra_args)).collect(),
        source: copied.as_deref(),
        target: &dockerfile::target(folder.map_or("", String::as_str)),
        commands: recipe.commands.clone(),
        requirements: (!recipe.requirements.is_empty()).then_some(REQUIREMENTS),
        extra: &build.dockerfile_extra,
    }
    .text();

    let args = arguments(function, &recipe, context, cluster);
    let pod = pod(function, &recipe, args, &text, cluster)?;
    Ok(ClusterPlan { objects: vec![Manifest::Pod(Box::new(pod))], ..ClusterPlan::default() })
}

fn recipe(function: &Function, cluster: &Cluster) -> Result<Recipe> {
    let build = &function.spec.build;
    let settings = &cluster.settings;
    let named = [&build.base_image, &function.spec.image, &settings.default_base_image];
    let base = named.into_iter().find(|image| !image.is_empty()).map_or("", String::as_str);
    let is_mlrun = ["mlrun/mlrun", "mlrun/ml-base"].iter().any(|image| base.contains(image));
    let with_mlrun = !is_mlrun && (build.with_mlrun || !build.base_image.is_empty());
    let nothing = build.source.is_empty()
        && build.commands.is_empty()
        && build.requirements.is_empty()
        && build.dockerfile_extra.is_empty();
    if nothing && !with_mlrun {
        return Err(Error::invalid("spec.build", "there is nothing to build")
            .help("name `requirements`, `commands` or a `source`; without them the image is used as it is"));
    }
    let base = full_image(base, cluster)?;
    let mut commands = build.commands.clone();
    let mut requirements = build.requirements.clone();
    let installs =
        commands.iter().any(|command| command.contains("pip install ") && command.contains("mlrun"));
    if with_mlrun {
        if !commands
            .iter()
            .any(|command| command.contains("pip install --upgrade ") && command.contains("pip"))
        {
            commands
                .push(format!("python -m pip install --upgrade pip{}", settings.httpdb.builder.pip_version));
        }
        if !installs {
            requirements.insert(0, mlrun_requirement(&cluster.client_version, cluster));
        }
    } else if !requirements.is_empty() {
        // What is there already, so that nothing that is installed beside it changes it.
        let tag = base
            .rsplit_once(':')
            .map(|(_, tag)| tag)
            .filter(|tag| tag.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(tag) = tag {
            requirements.insert(0, mlrun_requirement(tag.trim_end_matches("-py37"), cluster));
        }
    }
    let target = target_image(function, cluster);
    let of_service = target.starts_with('.');
    let target = full_image(&target, cluster).map_err(|error| match of_service {
        true => error.at("spec.build.image").help(
            "name it with its registry, or set `httpdb.builder.docker_registry` in the `config` of the context",
        ),
        false => error.at("spec.build.image"),
    })?;
    let secret = match build.secret.as_str() {
        "" if of_service => settings.httpdb.builder.docker_registry_secret.clone(),
        secret => secret.to_owned(),
    };
    Ok(Recipe { base, target, secret, commands, requirements, env: build_env(function, cluster) })
}

fn mlrun_requirement(version: &str, cluster: &Cluster) -> String {
    let settings = &cluster.settings;
    let package = &settings.package_path;
    match settings.httpdb.builder.mlrun_version_specifier.as_str() {
        "" if version.contains("unstable") => {
            format!("{package}[complete] @ git+https://github.com/mlrun/mlrun@development")
        }
        "" => format!("{package}[complete]=={version}"),
        specifier => specifier.to_owned(),
    }
}

/// The image that is built: the one that is named, else one of the function's own name in the service's registry.
fn target_image(function: &Function, cluster: &Cluster) -> String {
    let build = &function.spec.build;
    if !build.image.is_empty() {
        return match build.registry.as_str() {
            "" => build.image.clone(),
            registry => format!("{}/{}", registry.trim_end_matches('/'), build.image),
        };
    }
    let registry = &cluster.settings.httpdb.builder.docker_registry;
    let repository = registry.split_once('/').map_or("mlrun", |(_, repository)| repository);
    let metadata = &function.metadata;
    let project = if metadata.project.is_empty() { "default" } else { metadata.project.as_str() };
    let tag = if metadata.tag.is_empty() { "latest" } else { metadata.tag.as_str() };
    let name = format!("func-{project}-{}:{tag}", metadata.name);
    match build.registry.as_str() {
        "" => format!(".{repository}/{name}"),
        registry => format!("{}/{name}", registry.trim_end_matches('/')),
    }
}

/// What the build may read: the function's variables, and the project's secrets by their names.
fn build_env(function: &Function, cluster: &Cluster) -> Vec<EnvVar> {
    let given = &function.spec.build.builder_env;
    let secret = project_secret_name(&function.metadata.project, cluster);
    let named = cluster.secrets.iter().filter(|key| !key.starts_with("mlrun.") && !given.contains_key(*key));
    let secrets = named.map(|key| EnvVar {
        name: key.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.clone(),
                key: key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    });
    given.iter().map(|(name, value)| variable(name.as_str(), value.as_str())).chain(secrets).collect()
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
fn arguments(function: &Function, recipe: &Recipe, context: String, cluster: &Cluster) -> Vec<String> {
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
        if mode == "enabled" || (mode == "auto" && recipe.secret.is_empty()) {
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
    args
}

fn pod(
    function: &Function,
    recipe: &Recipe,
    args: Vec<String>,
    text: &str,
    cluster: &Cluster,
) -> Result<Pod> {
    let builder = &cluster.settings.httpdb.builder;
    let run = Run::default();
    // Where the function runs, its image is built as well.
    let mut placed = function.clone();
    placed.spec.image.clone_from(&recipe.base);
    let workload = Workload::new(&placed, &run, cluster)?;
    let place = workload.pod_spec(Container::default());

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
    let mut init = writes(recipe, text);
    init.image = Some(builder.kaniko_init_container_image.clone());
    init.volume_mounts = Some(mounts.clone());
    let container = Container {
        name: "base".to_owned(),
        image: Some(builder.kaniko_image.clone()),
        args: Some(args),
        env: (!recipe.env.is_empty()).then(|| recipe.env.clone()),
        resources: requests(cluster),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let spec = PodSpec {
        containers: vec![container],
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
    Ok(Pod { metadata: metadata(function, cluster), spec: Some(spec), ..Pod::default() })
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

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

/// The pod is named after the function's content: the same content is built once.
fn metadata(function: &Function, cluster: &Cluster) -> ObjectMeta {
    let task = naming::normalize(&format!("mlrun-build-{}", function.metadata.name));
    let tag = match cluster.style {
        Style::Native if !function.metadata.tag.is_empty() => function.metadata.tag.as_str(),
        _ => "latest",
    };
    let project = if function.metadata.project.is_empty() { "default" } else { &function.metadata.project };
    let given = [
        (labels::TASK_NAME, task.as_str()),
        (labels::CLASS, "build"),
        (labels::PROJECT, project),
        (labels::NAME, task.as_str()),
        (labels::FUNCTION, function.metadata.name.as_str()),
        (labels::TAG, tag),
    ];
    let hash = function.hash();
    let mut name = task.clone();
    name.truncate(naming::MAX_NAME - 11);
    ObjectMeta {
        name: Some(format!("{}-{}", name.trim_end_matches('-'), &hash[..10.min(hash.len())])),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(given.map(|(key, value)| (key.to_owned(), label_value(value))).into()),
        ..ObjectMeta::default()
    }
}
