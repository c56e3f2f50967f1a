//! Pure: function and run -> a SparkApplication and what it needs.

use std::{borrow::Cow, collections::BTreeMap};

use runtime_core::{
    Error, ErrorKind, Function, Result, Run,
    cluster::{
        Agent, Carry, Cluster, Program, Style, check_service_account, object_name, variable, verbatim,
    },
    k8s_openapi::{
        api::core::v1::{
            Affinity, Container, PodSpec, ResourceRequirements, Toleration, Volume, VolumeMount,
        },
        apimachinery::pkg::api::resource::Quantity,
    },
    plan::{ClusterPlan, Manifest, Role, host::fill, program::Mode},
    run::Thresholds,
};

use crate::{
    config::{JobType, Restart, RestartPolicy, SparkConfig, is_gpu},
    crd::{API_VERSION, Gpu, Metrics, Part, Prometheus, SparkApplication, SparkSpec},
    mlrun,
};

/// What stands behind the object's name in those of its pods and Services, at most.
pub(crate) const LONGEST_ENDING: usize = "-driver-svc".len();
/// Where our agent's own file for `spark-submit` is.
const SUBMIT: &str = "local:///runtimes/agent/runtimes/submit.py";
/// Where the code is mounted.
const CODE: &str = "/runtimes/code";
/// The account of a driver, which makes the executors' pods: the one that the operator's chart makes.
const ACCOUNT: &str = "spark-operator-spark";
/// The version of Spark, where the function says none.
const VERSION: &str = "3.5.8";
/// The image of that, where the function wants the default one.
const IMAGE: &str = "docker.io/library/spark:3.5.8-scala2.12-java17-python3-ubuntu";
/// How long an application that has ended is kept where nobody takes it away: a week.
const TTL: i64 = 7 * 24 * 3600;

/// The objects of a run.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    match cluster.style {
        Style::Mlrun => mlrun::plan(function, run, cluster),
        Style::Native => native(function, run, cluster),
    }
}

/// Our own: the driver is our agent, which reports as it does everywhere.
fn native(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = SparkConfig::of(function)?;
    check_operator(cluster)?;
    let (agent, mode) = (Agent::of(function)?, Mode::of(function)?);
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    let mut function = Cow::Borrowed(function);
    if function.spec.image.is_empty() && config.use_default_image {
        IMAGE.clone_into(&mut function.to_mut().spec.image);
    }
    let name = object_name(run, cluster.attempt, LONGEST_ENDING);
    let is_python = config.job_type == JobType::Python;
    let by_agent = is_python && agent == Agent::Runtimes && mode != Mode::Pass;
    let by_mlrun = is_python && agent == Agent::Mlrun && !function.spec.build.function_source_code.is_empty();
    let (agent, mode) = if by_agent || by_mlrun { (agent, mode) } else { (Agent::Runtimes, Mode::Pass) };
    let places = config.places();
    let [mut of_driver, mut of_executor] = programs(&function, &places, |function| {
        let mut program = Program::new(function, run, cluster, (agent, mode), Carry::File)?;
        program.name.clone_from(&name);
        Ok(program)
    })?;
    let mut objects = std::mem::take(&mut of_driver.objects);
    if by_mlrun {
        objects.push(mlrun::add_script([&mut of_driver, &mut of_executor]));
    }
    let metadata = of_driver.metadata();
    let labels = |part: &str, role| of_driver.workload.part_labels(part, role);
    let (of_main, of_workers) = (labels("driver", Role::Main), labels("executor", Role::Worker));
    let annotations = metadata.annotations.clone().unwrap_or_default();

    let (main_application_file, arguments) = match (by_agent, by_mlrun) {
        (true, _) => (SUBMIT.to_owned(), of_driver.args.clone()),
        (_, true) => (mlrun::started(), Vec::new()),
        _ => (application(&function)?, arguments(&function, run)?),
    };
    of_driver.set_env("RUNTIMES_SPARK", "1");
    let image = of_driver.workload.image.clone();
    let executor_pod = executor_pod(of_executor);
    let driver_pod = of_driver.pod_spec();
    let account = match function.spec.pod.service_account.as_str() {
        "" => ACCOUNT.to_owned(),
        account => check_service_account(account, cluster)?,
    };
    let priority = Some(function.spec.pod.priority_class_name.clone()).filter(|name| !name.is_empty());
    let volumes = joined(&driver_pod, &executor_pod);
    let [driver, executor] = &places;
    let default = RestartPolicy { restart: Restart::Never, ..RestartPolicy::default() };
    let of_part = |own: &Place<'_>, pod, labels| -> Result<Part> {
        let (cores, java_options, overhead) = match own.name {
            "driver" => (config.driver_cores, &config.driver_java_options, &config.driver_memory_overhead),
            _ => (config.executor_cores, &config.executor_java_options, &config.executor_memory_overhead),
        };
        Ok(Part {
            memory: config.memory(own.name, own.resources)?.map(|mebibytes| format!("{mebibytes}m")),
            memory_overhead: overhead.clone(),
            java_options: java_options.clone(),
            annotations: annotations.clone(),
            priority_class_name: priority.clone(),
            ..part(own, cores, pod, labels)?
        })
    };
    let common = spec(&config, &function, (image, VERSION), &driver_pod);
    let spec = SparkSpec {
        main_application_file,
        arguments,
        spark_conf: config.settings(false)?,
        hadoop_conf: config.settings(true)?,
        restart_policy: config.restart_policy.clone().unwrap_or(default).into(),
        time_to_live_seconds: Some(config.time_to_live_seconds.unwrap_or(TTL)),
        suspend: config.suspend,
        volumes,
        driver: Part { service_account: Some(account), ..of_part(driver, driver_pod, of_main)? },
        executor: Part {
            instances: Some(config.executors()),
            ..of_part(executor, executor_pod, of_workers)?
        },
        ..common
    };
    let application = SparkApplication { api_version: API_VERSION, kind: "SparkApplication", metadata, spec };
    objects.push(Manifest::Custom(application.into_value()?));
    Ok(ClusterPlan { objects, deadline: thresholds.executing, ..ClusterPlan::default() })
}

/// # Errors
/// `Unsupported`, where the cluster has no operator of Spark.
fn check_operator(cluster: &Cluster) -> Result<()> {
    if cluster.serves(API_VERSION) != Some(false) {
        return Ok(());
    }
    let message = format!("this cluster knows no SparkApplication of {API_VERSION}");
    Err(Error::new(ErrorKind::Unsupported, message).at("kind").help(
        "install Spark's operator (helm repo add spark-operator https://kubeflow.github.io/spark-operator; helm install \
         spark-operator spark-operator/spark-operator --namespace spark-operator --create-namespace)",
    ))
}

/// Where the code is, as the operator has it: a path is one of the image.
fn application(function: &Function) -> Result<String> {
    match function.spec.command.as_str() {
        "" => Err(Error::invalid("spec.command", "there is nothing to run")
            .help("the file or the jar in the image: /app/main.py")),
        command if command.contains("://") => Ok(command.to_owned()),
        command if command.starts_with('/') => Ok(format!("local://{command}")),
        command => Err(Error::invalid("spec.command", format!("{command:?} is no path in the image"))
            .help("an absolute one (/app/train.jar), or an address (https://…, s3a://…)")),
    }
}

fn arguments(function: &Function, run: &Run) -> Result<Vec<String>> {
    let args = function.spec.args.iter().enumerate();
    args.map(|(index, arg)| fill(arg, index, run).map(verbatim)).collect()
}

/// The pod of an executor: it has the function's variables, and the code, but nothing of the run itself.
fn executor_pod(program: Program<'_>) -> PodSpec {
    let path = &program.workload.function.spec.pythonpath;
    let folders = program.has_code_file.then_some(CODE).into_iter().chain(Some(path.as_str()));
    let folders: Vec<_> = folders.filter(|folder| !folder.is_empty()).collect();
    let own = (!folders.is_empty()).then(|| variable("PYTHONPATH", folders.join(":")));
    let env = Some(program.workload.env(own.into_iter().collect()));
    program.workload.pod_spec(Container { env, ..Container::default() })
}

/// The volumes of both.
fn joined(driver: &PodSpec, executor: &PodSpec) -> Vec<Volume> {
    let mut volumes = driver.volumes.clone().unwrap_or_default();
    for volume in executor.volumes.iter().flatten() {
        if volumes.iter().all(|known| known.name != volume.name) {
            volumes.push(volume.clone());
        }
    }
    volumes
}

/// What a function says of its driver, or of its executors, alone.
pub(crate) struct Place<'a> {
    pub(crate) name: &'static str,
    pub(crate) resources: &'a ResourceRequirements,
    node_selector: Option<&'a BTreeMap<String, String>>,
    tolerations: Option<&'a Vec<Toleration>>,
    affinity: Option<&'a Affinity>,
    preemption_mode: Option<&'a String>,
    volume_mounts: &'a [VolumeMount],
}

impl SparkConfig {
    /// Of the driver, and of the executors.
    pub(crate) fn places(&self) -> [Place<'_>; 2] {
        let driver = Place {
            name: "driver",
            resources: &self.driver_resources,
            node_selector: self.driver_node_selector.as_ref(),
            tolerations: self.driver_tolerations.as_ref(),
            affinity: self.driver_affinity.as_ref(),
            preemption_mode: self.driver_preemption_mode.as_ref(),
            volume_mounts: &self.driver_volume_mounts,
        };
        let executor = Place {
            name: "executor",
            resources: &self.executor_resources,
            node_selector: self.executor_node_selector.as_ref(),
            tolerations: self.executor_tolerations.as_ref(),
            affinity: self.executor_affinity.as_ref(),
            preemption_mode: self.executor_preemption_mode.as_ref(),
            volume_mounts: &self.executor_volume_mounts,
        };
        [driver, executor]
    }
}

impl Place<'_> {
    /// The function as it is there; `None`, where nothing else is said of that.
    fn of(&self, function: &Function) -> Option<Function> {
        let pod = &function.spec.pod;
        let is_same = self.node_selector.is_none_or(|own| *own == pod.node_selector)
            && self.tolerations.is_none_or(|own| *own == pod.tolerations)
            && (self.affinity.is_none() || self.affinity == pod.affinity.as_ref())
            && self.preemption_mode.is_none_or(|own| *own == pod.preemption_mode)
            && self.volume_mounts.is_empty();
        if is_same {
            return None;
        }
        let mut function = function.clone();
        let pod = &mut function.spec.pod;
        self.node_selector.into_iter().for_each(|own| pod.node_selector.clone_from(own));
        self.tolerations.into_iter().for_each(|own| pod.tolerations.clone_from(own));
        self.preemption_mode.into_iter().for_each(|own| pod.preemption_mode.clone_from(own));
        if let Some(own) = self.affinity {
            pod.affinity = Some(own.clone());
        }
        pod.volume_mounts.extend(self.volume_mounts.iter().cloned());
        Some(function)
    }
}

/// What driver and executors start: the same, where they have no places of their own.
pub(crate) fn programs<'a>(
    function: &Function,
    [driver, executor]: &[Place<'_>; 2],
    start: impl Fn(&Function) -> Result<Program<'a>>,
) -> Result<[Program<'a>; 2]> {
    let (of_driver, of_executor) = (driver.of(function), executor.of(function));
    let first = start(of_driver.as_ref().unwrap_or(function))?;
    let second = match (&of_driver, &of_executor) {
        (None, None) => first.clone(),
        _ => start(of_executor.as_ref().unwrap_or(function))?,
    };
    Ok([first, second])
}

/// The amount of one of the resources.
pub(crate) fn amount(list: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<String> {
    list?.get(name).map(|amount| amount.0.clone())
}

/// The driver, or the executors, of what their pods would be.
pub(crate) fn part(
    own: &Place<'_>,
    cores: Option<i64>,
    pod: PodSpec,
    labels: BTreeMap<String, String>,
) -> Result<Part> {
    let gpu = own.resources.limits.iter().flatten().find(|(name, _)| is_gpu(name));
    let gpu = gpu.map(|(name, amount)| {
        let quantity = amount.0.parse().map_err(|_| {
            let place = format!("spec.{}_resources.limits.{name}", own.name);
            Error::invalid(place, format!("{:?} is no number", amount.0)).help("whole GPUs: 1")
        })?;
        Ok(Gpu { name: name.clone(), quantity })
    });
    let container = pod.containers.into_iter().next().unwrap_or_default();
    Ok(Part {
        cores: cores.unwrap_or(1),
        core_request: amount(own.resources.requests.as_ref(), "cpu"),
        core_limit: amount(own.resources.limits.as_ref(), "cpu"),
        gpu: gpu.transpose()?,
        env: container.env.unwrap_or_default(),
        labels,
        volume_mounts: container.volume_mounts.unwrap_or_default(),
        node_selector: pod.node_selector.unwrap_or_default(),
        tolerations: pod.tolerations.unwrap_or_default(),
        affinity: pod.affinity,
        pod_security_context: pod.security_context,
        security_context: container.security_context,
        ..Part::default()
    })
}

/// What both styles say alike.
pub(crate) fn spec(
    config: &SparkConfig,
    function: &Function,
    (image, version): (String, &str),
    driver: &PodSpec,
) -> SparkSpec {
    SparkSpec {
        job_type: config.job_type,
        mode: "cluster",
        image,
        image_pull_policy: Some(function.spec.pod.image_pull_policy.clone()).filter(|it| !it.is_empty()),
        image_pull_secrets: driver.image_pull_secrets.iter().flatten().map(|one| one.name.clone()).collect(),
        main_class: config.main_class.clone(),
        spark_version: config.spark_version.clone().unwrap_or_else(|| version.to_owned()),
        deps: config.deps.clone(),
        dynamic_allocation: config.dynamic_allocation.enabled.then(|| config.dynamic_allocation.clone()),
        monitoring: metrics(config),
        ..SparkSpec::default()
    }
}

fn metrics(config: &SparkConfig) -> Option<Metrics> {
    config.monitoring.enabled.then(|| Metrics {
        expose_driver_metrics: true,
        expose_executor_metrics: true,
        prometheus: config
            .monitoring
            .exporter_jar
            .clone()
            .map(|jmx_exporter_jar| Prometheus { jmx_exporter_jar }),
    })
}
