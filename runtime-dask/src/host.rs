//! Pure: function and run -> a scheduler, workers and the main process on this machine.

use std::path::{Path, PathBuf};

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

/// Where the scheduler is. Dask's own name: `Client()` without an address finds it.
const ADDRESS: (&str, &str) = ("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:${port.scheduler}");

/// How many workers `context.dask_client` waits for.
pub(crate) const EXPECTED: &str = "RUNTIMES_DASK_WORKERS";

/// How long a worker looks for its scheduler, in seconds.
const PATIENCE: u32 = 60;

/// What Dask says of its own going on, beside what is wrong: nothing, unless the function's environment says more.
pub(crate) const QUIET: (&str, &str) = ("DASK_LOGGING__DISTRIBUTED", "warning");

/// Dask's scheduler, and its adaptive scaling.
const PROGRAM: &str = include_str!("scheduler.py");

/// Packages that each of the processes needs.
const PACKAGES: [&str; 2] = ["dask", "distributed"];

/// The plan of a run: its own scheduler and workers, and beside them its main process.
pub(crate) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let config = DaskConfig::of(function)?;
    let mut plan = program::plan(function, run)?;
    let mut python = plan.python.take().unwrap_or_else(|| host::python(function, run));
    for package in PACKAGES {
        if !host::requires(&python.requirements, package) {
            python.requirements.push(package.to_owned());
        }
    }
    plan.python = Some(python);
    plan.ports = vec![PORT.to_owned(), DASHBOARD.to_owned()];
    let imports = imports(&plan, function);
    let expected = config.expected();
    for main in &mut plan.processes {
        main.after.push(SCHEDULER.to_owned());
        main.env.push(EnvVar::new(ADDRESS.0, ADDRESS.1));
        main.env.push(EnvVar::new(EXPECTED, expected.to_string()));
    }
    let env = plan.main().map(|main| main.env.clone()).unwrap_or_default();
    let env: Vec<_> = std::iter::once(EnvVar::new(QUIET.0, QUIET.1)).chain(env).collect();
    let process = |name: String, role, work, limits: Limits| Process {
        name,
        role,
        work,
        env: env.clone(),
        imports: imports.clone(),
        launcher: None,
        workdir: Some(function.spec.workdir.clone()).filter(|workdir| !workdir.is_empty()),
        limits,
        ready: if role == Role::Service { Readiness::Port(PORT.to_owned()) } else { Readiness::Started },
        after: Vec::new(),
    };
    let scheduler =
        |adaptive, limits| process(SCHEDULER.to_owned(), Role::Service, scheduler(&config, adaptive), limits);
    let cluster = match config.workers {
        Workers::Fixed(replicas) => {
            // The workers look for the scheduler by themselves: all start at once.
            let workers = (0..replicas).map(|number| {
                let name = format!("worker-{number}");
                let work = worker(&config, &name);
                process(name, Role::Worker, work, config.worker.limits)
            });
            std::iter::once(scheduler(Value::Null, config.scheduler.limits)).chain(workers).collect()
        }
        // Its workers are its children: they would count to the limits of the scheduler.
        Workers::Adaptive { min, max } => vec![scheduler(adaptive(&config, min, max), Limits::default())],
    };
    plan.processes.splice(0..0, cluster);
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
    Ok(plan)
}

/// The code of the main process, which workers import as it does.
fn imports(plan: &HostPlan, function: &Function) -> Vec<Code> {
    let main = plan.main().map(|main| &main.work);
    let own = match main {
        Some(Work::Python { code, .. }) => Some(code.clone()),
        _ => None,
    };
    // What lies in a folder stands for it.
    let folders = host::pythonpath(function);
    let folders = folders.iter().map(|folder| Code::File(Path::new(folder).join("__init__.py")));
    own.into_iter().chain(folders).collect()
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
    let flags = ["-m", "dask", "worker", ADDRESS.1, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard"];
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
