//! Pure: function and run -> a scheduler, workers and the main process on this machine.

use std::{collections::BTreeMap, path::PathBuf};

use runtime_core::{
    Function, Result, Run,
    plan::{Code, EnvVar, HostPlan, Isolation, Limits, Process, Readiness, Role, Work, host, program},
    serde_json::{Value, json},
};

use crate::config::{DaskConfig, ServiceType, Workers};

/// What the scheduler is called, its port, and that of its pages.
const SCHEDULER: &str = "scheduler";
const PORT: &str = "scheduler";
const DASHBOARD: &str = "dashboard";

/// The variable with the scheduler's address. Dask's own name: `Client()` without an address finds it.
pub(crate) const ADDRESS: &str = "DASK_SCHEDULER_ADDRESS";

/// Where the scheduler is, and its pages.
const HERE: &str = "tcp://127.0.0.1:${port.scheduler}";
const PAGES: &str = "http://127.0.0.1:${port.dashboard}/status";

/// How many workers `context.dask_client` waits for.
pub(crate) const EXPECTED: &str = "RUNTIMES_DASK_WORKERS";

/// Says that the workers were started before the run, and may have other code than it: what it sends them carries its own.
pub(crate) const SHARED: &str = "RUNTIMES_DASK_SHARED";

/// How long a worker looks for its scheduler, in seconds.
const PATIENCE: u32 = 60;

/// What Dask says of its own going on, beside what is wrong: nothing, unless the function's environment says more.
pub(crate) const QUIET: (&str, &str) = ("DASK_LOGGING__DISTRIBUTED", "warning");

/// Dask's scheduler, and its adaptive scaling.
const PROGRAM: &str = include_str!("scheduler.py");

/// Packages that each of the processes needs.
const PACKAGES: [&str; 2] = ["dask", "distributed"];

/// The plan of a run: its own scheduler and workers, and beside them its main process; this alone, where the function has
/// a cluster that stays up.
pub(crate) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let config = DaskConfig::of(function)?;
    let mut plan = program::plan(function, run)?;
    need_dask(&mut plan, function, run);
    let expected = config.expected();
    let deployed = run.deployed();
    let address = deployed.as_ref().and_then(|all| all.get(PORT)).map_or(HERE, String::as_str);
    for main in &mut plan.processes {
        main.env.push(EnvVar::new(ADDRESS, address));
        main.env.push(EnvVar::new(EXPECTED, expected.to_string()));
        match deployed {
            Some(_) => main.env.push(EnvVar::new(SHARED, "1")),
            None => main.after.push(SCHEDULER.to_owned()),
        }
    }
    if deployed.is_none() {
        let cluster = cluster(&config, &plan, function, Role::Service);
        plan.processes.splice(0..0, cluster);
        plan.ports = vec![PORT.to_owned(), DASHBOARD.to_owned()];
        plan.addresses = BTreeMap::from([(DASHBOARD.to_owned(), PAGES.to_owned())]);
    }
    note_unused(&config, &mut plan);
    Ok(plan)
}

/// The plan of a deployment: scheduler and workers, until somebody closes it.
pub(crate) fn deployment(function: &Function, run: &Run) -> Result<HostPlan> {
    let config = DaskConfig::of(function)?;
    let mut plan = program::plan(function, run)?;
    need_dask(&mut plan, function, run);
    plan.processes = cluster(&config, &plan, function, Role::Main);
    plan.ports = vec![PORT.to_owned(), DASHBOARD.to_owned()];
    let addresses = [(PORT, HERE), (DASHBOARD, PAGES)];
    plan.addresses = addresses.map(|(name, address)| (name.to_owned(), address.to_owned())).into();
    // How long a run may take is said of runs.
    plan.deadline = None;
    note_unused(&config, &mut plan);
    Ok(plan)
}

/// Puts Dask among the packages.
fn need_dask(plan: &mut HostPlan, function: &Function, run: &Run) {
    let mut python = plan.python.take().unwrap_or_else(|| host::python(function, run));
    add_dask(&mut python.requirements);
    plan.python = Some(python);
}

/// The function as its image is built: where that has packages, Dask is among them.
pub(crate) fn with_dask(function: &Function) -> Function {
    let mut function = function.clone();
    if !function.spec.build.requirements.is_empty() {
        add_dask(&mut function.spec.build.requirements);
    }
    function
}

fn add_dask(requirements: &mut Vec<String>) {
    for package in PACKAGES {
        if !host::requires(requirements, package) {
            requirements.push(package.to_owned());
        }
    }
}

/// Scheduler and workers, which import what the main process of the plan is.
fn cluster(config: &DaskConfig, plan: &HostPlan, function: &Function, role: Role) -> Vec<Process> {
    let imports = host::imports(plan, function);
    let own = plan.main().map(|main| main.env.clone()).unwrap_or_default();
    let own = own.into_iter().filter(|var| ![ADDRESS, EXPECTED].contains(&var.name.as_str()));
    let quiet = [EnvVar::new(QUIET.0, QUIET.1), EnvVar::new(ADDRESS, HERE)];
    let env: Vec<_> = quiet.into_iter().chain(own).collect();
    let process = |name: String, role, work, limits: Limits| Process {
        env: env.clone(),
        imports: imports.clone(),
        workdir: Some(function.spec.workdir.clone()).filter(|workdir| !workdir.is_empty()),
        limits,
        ready: if role == Role::Worker { Readiness::Started } else { Readiness::Port(PORT.to_owned()) },
        ..Process::new(name, role, work)
    };
    let scheduler =
        |adaptive, limits| process(SCHEDULER.to_owned(), role, scheduler(config, adaptive), limits);
    match config.workers {
        Workers::Fixed(replicas) => {
            // The workers look for the scheduler by themselves: all start at once.
            let workers = (0..replicas).map(|number| {
                let name = format!("worker-{number}");
                let work = worker(config, &name);
                process(name, Role::Worker, work, config.worker.limits)
            });
            std::iter::once(scheduler(Value::Null, config.scheduler.limits)).chain(workers).collect()
        }
        // Its workers are its children: they would count to the limits of the scheduler.
        Workers::Adaptive { min, max } => vec![scheduler(adaptive(config, min, max), Limits::default())],
    }
}

/// Says which fields are for clusters alone.
fn note_unused(config: &DaskConfig, plan: &mut HostPlan) {
    for (field, set) in [
        ("spec.engine", config.engine.is_some()),
        ("spec.service_type", config.service_type != ServiceType::default()),
        ("spec.node_port", config.node_port.is_some()),
        ("spec.extra_pip", config.extra_pip.is_some()),
    ] {
        if set {
            plan.notes.push(format!("{field} has no effect on this machine"));
        }
    }
}

fn scheduler(config: &DaskConfig, adaptive: Value) -> Work {
    let options = json!({"idle_timeout": config.scheduler_timeout, "adaptive": adaptive});
    Work::Python {
        code: Code::Source { name: PathBuf::from("dask_scheduler.py"), text: PROGRAM.to_owned() },
        handler: None,
        args: vec![options.to_string(), "${port.scheduler}".to_owned(), "${port.dashboard}".to_owned()],
        pythonpath: Vec::new(),
        isolation: Isolation::Process,
    }
}

/// A worker without a nanny: whoever starts it sees its end, and starts it again.
fn worker(config: &DaskConfig, name: &str) -> Work {
    let flags = ["-m", "dask", "worker", HERE, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard"];
    let options = [
        ("--name", name.to_owned()),
        ("--nthreads", config.nthreads.to_string()),
        ("--memory-limit", memory(config)),
        ("--death-timeout", PATIENCE.to_string()),
    ];
    let options = options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
    let args = flags.into_iter().map(str::to_owned).chain(options).collect();
    Work::Program { command: "python3".to_owned(), args, code: None }
}

pub(crate) fn memory(config: &DaskConfig) -> String {
    config.worker.limits.memory.map_or_else(|| "auto".to_owned(), |bytes| bytes.to_string())
}

/// What the scheduler must know to start workers.
fn adaptive(config: &DaskConfig, min: u32, max: Option<u32>) -> Value {
    json!({
        "minimum": min,
        "maximum": max,
        "worker": {
            "nthreads": config.nthreads,
            "memory_limit": memory(config),
            "death_timeout": PATIENCE,
        },
    })
}
