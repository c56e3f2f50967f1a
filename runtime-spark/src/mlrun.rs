//! Pure: what MLRun sends, and what starts its code in its images.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use runtime_core::{
    Error, Function, Result, Run,
    cluster::{Agent, Carry, Cluster, Program, check_service_account, object_name},
    k8s_openapi::{
        api::core::v1::{ConfigMap, ConfigMapVolumeSource, PodSpec, Volume, VolumeMount},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    plan::{ClusterPlan, Manifest, Role, program::Mode},
    run::Thresholds,
    serde_json::Value,
};

use crate::{
    config::SparkConfig,
    crd::{API_VERSION, BatchScheduler, Part, SparkApplication, SparkSpec},
    render::{LONGEST_ENDING, Place, amount, part, programs, spec},
};

/// MLRun's label with the name of the object.
const JOB: &str = "mlrun/job";
/// How long the name of a run may be that MLRun takes.
const LONGEST_NAME: usize = 29;
/// Where MLRun mounts what starts its code, and what that is called.
const SCRIPT: (&str, &str, &str) = ("script", "/etc/config/mlrun", "spark-function-code.py");
/// The account of a driver, and of executors where nothing else is said.
const ACCOUNT: &str = "sparkapp";
/// The version of Spark, where the function says none.
const VERSION: &str = "3.2.3";
/// Where events are written that nobody says a place for.
const EVENTS: &str = "/tmp";

/// What MLRun sends.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = SparkConfig::of(function)?;
    if run.metadata.name.len() > LONGEST_NAME {
        return Err(Error::invalid("run.metadata.name", format!("{:?} is too long", run.metadata.name))
            .help(format!("at most {LONGEST_NAME} letters: Spark's names are made of it")));
    }
    let name = object_name(run, cluster.attempt, LONGEST_ENDING);
    let mut run = run.clone();
    run.metadata.labels.insert(JOB.to_owned(), name.clone());
    let mode = Mode::of(function)?;
    let mut function = Cow::Borrowed(function);
    let (image, tag) = (&cluster.settings.spark_app_image, &cluster.settings.spark_app_image_tag);
    if function.spec.image.is_empty() && !image.is_empty() {
        function.to_mut().spec.image = format!("{image}:{tag}");
    }
    let starts = !function.spec.build.function_source_code.is_empty();
    let main_application_file = match function.spec.command.as_str() {
        _ if starts => started(),
        command if command.contains("://") => command.to_owned(),
        command => format!("local://{command}"),
    };
    let places = config.places();
    let start =
        |function: &Function| Program::new(function, &run, cluster, (Agent::Mlrun, mode), Carry::Variable);
    let [mut of_driver, mut of_executor] = programs(&function, &places, start)?;
    let mut objects = std::mem::take(&mut of_driver.objects);
    of_driver.name.clone_from(&name);
    if starts {
        objects.push(add_script([&mut of_driver, &mut of_executor]));
    }
    // What MLRun tells both of the run is without labels of nodes.
    let without_labels = match of_driver.workload.node_selector.is_empty() {
        true => None,
        false => {
            let mut function = function.as_ref().clone();
            function.spec.pod.node_selector.clear();
            Some(start(&function)?)
        }
    };
    let metadata = of_driver.metadata();
    let mut labels = of_driver.workload.part_labels("", Role::Main);
    labels.insert(JOB.to_owned(), name);
    let account = check_service_account(&function.spec.pod.service_account, cluster)?;
    let (image, driver_pod, executor_pod) =
        (of_driver.workload.image.clone(), of_driver.pod_spec(), of_executor.pod_spec());
    let volumes = driver_pod.volumes.clone().unwrap_or_default();
    let env = |pod: &PodSpec| pod.containers.first().and_then(|container| container.env.clone());
    let env = without_labels.map_or_else(|| env(&driver_pod), |program| env(&program.pod_spec()));
    let env = env.unwrap_or_default();
    let [driver, executor] = &places;
    let common = spec(&config, &function, (image, VERSION), &driver_pod);
    let spec = SparkSpec {
        main_application_file,
        arguments: function.spec.args.clone(),
        spark_conf: with_events(as_python(&config.spark_conf)),
        hadoop_conf: as_python(&config.hadoop_conf),
        restart_policy: config.restart_policy.clone().unwrap_or_default().into(),
        batch_scheduler_options: Some(function.spec.pod.priority_class_name.clone())
            .filter(|name| !name.is_empty())
            .map(|priority_class_name| BatchScheduler { priority_class_name }),
        volumes,
        driver: Part {
            service_account: Some(ACCOUNT.to_owned()),
            java_options: config.driver_java_options.clone(),
            env: env.clone(),
            ..required(driver, config.driver_cores, driver_pod, labels.clone())?
        },
        executor: Part {
            instances: Some(config.executors()),
            service_account: Some(account).filter(|name| !name.is_empty()).or(Some(ACCOUNT.to_owned())),
            java_options: config.executor_java_options.clone(),
            env,
            ..required(executor, config.executor_cores, executor_pod, labels)?
        },
        ..common
    };
    let application = SparkApplication { api_version: API_VERSION, kind: "SparkApplication", metadata, spec };
    objects.push(Manifest::Custom(application.into_value()?));
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    Ok(ClusterPlan { objects, deadline: thresholds.executing, ..ClusterPlan::default() })
}

/// What starts the function's code with MLRun, as a file that driver and executors mount.
pub(crate) fn add_script(programs: [&mut Program<'_>; 2]) -> Manifest {
    let [driver, _] = &programs;
    let name = format!("{}-script", driver.name);
    let metadata = ObjectMeta { name: Some(name.clone()), ..driver.metadata() };
    let data = [(SCRIPT.2.to_owned(), starter(&driver.args))].into();
    let (volume, mount) = script_volume(&name);
    for program in programs {
        let pod = &mut program.workload.function.spec.pod;
        pod.volumes.push(volume.clone());
        pod.volume_mounts.push(mount.clone());
    }
    Manifest::ConfigMap(Arc::new(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }))
}

/// Where that is, for the operator.
pub(crate) fn started() -> String {
    format!("local://{}/{}", SCRIPT.1, SCRIPT.2)
}

/// Settings as Python writes them.
fn as_python(settings: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    };
    settings.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A log of events has a place.
fn with_events(mut settings: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if settings.get("spark.eventLog.enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("true")) {
        settings.entry("spark.eventLog.dir".to_owned()).or_insert_with(|| EVENTS.to_owned());
    }
    settings
}

/// A part as MLRun has it, which must have requests.
fn required(
    own: &Place<'_>,
    cores: Option<i64>,
    pod: PodSpec,
    labels: BTreeMap<String, String>,
) -> Result<Part> {
    for name in ["cpu", "memory"] {
        if amount(own.resources.requests.as_ref(), name).is_none() {
            return Err(Error::invalid(format!("spec.{}_resources.requests.{name}", own.name), "is missing")
                .help("requests of cpu and memory: {cpu: '1', memory: 2g}"));
        }
    }
    let memory = amount(own.resources.requests.as_ref(), "memory");
    Ok(Part { memory, ..part(own, cores, pod, labels)? })
}

/// A file of Python that starts MLRun with these arguments.
fn starter(args: &[String]) -> String {
    // A text of JSON is one of Python, too.
    let words: Vec<_> = args.iter().map(|arg| Value::from(arg.as_str()).to_string()).collect();
    format!(
        "import sys\n\nimport mlrun.__main__ as mlrun\n\nsys.argv[1:] = [{}]\nmlrun.main()\n",
        words.join(", ")
    )
}

fn script_volume(map: &str) -> (Volume, VolumeMount) {
    let source = ConfigMapVolumeSource { name: map.to_owned(), ..ConfigMapVolumeSource::default() };
    let volume = Volume { name: SCRIPT.0.to_owned(), config_map: Some(source), ..Volume::default() };
    let mount =
        VolumeMount { name: SCRIPT.0.to_owned(), mount_path: SCRIPT.1.to_owned(), ..VolumeMount::default() };
    (volume, mount)
}
