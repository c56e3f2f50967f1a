//! Pure: function and run -> an MPIJob and what it needs.

use std::time::Duration;

use runtime_core::{
    Error, ErrorKind, Function, Result, Run,
    cluster::{Agent, Carry, Cluster, Program, Style, object_name, verbatim},
    k8s_openapi::{
        api::core::v1::{Capabilities, Container, PodSpec, SecurityContext},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    plan::{ClusterPlan, Manifest, Role, program::Mode},
    run::Thresholds,
    serde_json::json,
};

use crate::{
    args::{Placement, with_right_names},
    config::{Implementation, MpiConfig, Version},
    crd::{MpiJob, MpiJobSpec, Replica, Replicas, RunPolicy},
};

/// What a queue's label is called.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// MLRun's label with the name of the object.
const JOB: &str = "mlrun/job";
/// What stands behind the object's name in those of its pods, at most.
const LONGEST_ENDING: usize = "-worker-9999".len();
/// Open MPI's own switches for images whose user is root.
const AS_ROOT: [&str; 2] = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"];

/// The objects of a run.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    match cluster.style {
        Style::Native => native(function, run, cluster),
        Style::Mlrun => as_mlrun(function, run, cluster),
    }
}

/// Our own: what starts the ranks reports for all of them.
fn native(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = MpiConfig::of(function, run)?;
    let placement = config.placement()?;
    let (function, notes) = with_right_names(function);
    let (agent, mode) = (Agent::of(&function)?, Mode::of(&function)?);
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    let version = config.version(cluster)?;

    let mut program = Program::new(&function, run, cluster, (agent, mode), Carry::File)?;
    for (name, value) in &placement.env {
        program.set_env(name, verbatim(value.clone()));
    }
    let has_agent = program.has_agent;
    if !has_agent {
        AS_ROOT.iter().for_each(|name| program.set_env(name, "1"));
    }
    let mut objects = std::mem::take(&mut program.objects);
    program.name = object_name(run, cluster.attempt, LONGEST_ENDING);
    let mut metadata = program.metadata();
    if !config.queue_name.is_empty() {
        metadata.labels.get_or_insert_default().insert(QUEUE.to_owned(), config.queue_name.clone());
    }
    let labels = |part: &str, role| ObjectMeta {
        labels: Some(program.workload.part_labels(part, role)),
        annotations: metadata.annotations.clone(),
        ..ObjectMeta::default()
    };
    let (of_launcher, of_worker) = (labels("launcher", Role::Main), labels("worker", Role::Worker));
    let (mut launcher, worker) = pods(program, &config);
    if let Some(container) = launcher.containers.first_mut() {
        let start = if has_agent { by_agent } else { by_itself };
        start(container, &config, &placement)?;
    }

    let mut spec = spec(
        &config,
        version,
        Replicas {
            launcher: Replica::new(1, of_launcher, launcher),
            worker: Replica::new(config.replicas, of_worker, worker),
        },
    );
    if let Some(policy) = &mut spec.run_policy {
        policy.active_deadline_seconds = backstop(&thresholds);
    }
    let job = MpiJob { api_version: version, kind: "MPIJob", metadata, spec };
    objects.push(Manifest::Custom(job.into_value()?));
    Ok(ClusterPlan { objects, deadline: thresholds.executing, notes, ..ClusterPlan::default() })
}

/// The launcher's pod and those of the workers: the same but for what they start, and what they may use.
fn pods(program: Program<'_>, config: &MpiConfig) -> (PodSpec, PodSpec) {
    let settings = &program.workload.cluster.settings;
    let own = config.launcher_resources.clone().unwrap_or_else(|| settings.default_resources());
    let mut launcher = program.clone();
    launcher.workload.function.spec.pod.resources = own;
    let mut worker = program;
    // The operator knows what a worker starts.
    worker.command.clear();
    worker.args.clear();
    (launcher.pod_spec(), worker.pod_spec())
}

/// Our agent starts `mpirun`, reads what it prints, and reports.
fn by_agent(container: &mut Container, config: &MpiConfig, placement: &Placement) -> Result<()> {
    if config.mpi_implementation != Implementation::OpenMPI {
        let what = format!("our agent starts ranks by Open MPI, not by {:?}", config.mpi_implementation);
        return Err(Error::new(ErrorKind::Unsupported, what)
            .at("spec.mpi_implementation")
            .help("write `mode: pass` and the whole command, or take an image with Open MPI"));
    }
    let names: Vec<_> = container.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
    let options = json!({"ranks": placement.ranks, "args": placement.args, "export": names});
    let command = container.command.clone().unwrap_or_default();
    let args = container.args.take().unwrap_or_default();
    let mode = ["mpi".to_owned(), verbatim(options.to_string())];
    container.args = Some(mode.into_iter().chain(command).chain(args).collect());
    Ok(())
}

/// `mpirun` with the command as it stands. What the image's entry point does is done by `mpirun`'s.
fn by_itself(container: &mut Container, config: &MpiConfig, placement: &Placement) -> Result<()> {
    let mut words = vec!["mpirun".to_owned(), "-n".to_owned(), placement.ranks.to_string()];
    if config.mpi_implementation == Implementation::OpenMPI {
        // Others give all that they have.
        let names = container.env.iter().flatten().map(|variable| variable.name.clone());
        words.extend(names.flat_map(|name| ["-x".to_owned(), name]));
    }
    words.extend(placement.args.iter().cloned().map(verbatim));
    words.extend(container.command.take().unwrap_or_default());
    words.extend(container.args.take().unwrap_or_default());
    container.command = Some(words);
    Ok(())
}

fn spec(config: &MpiConfig, version: Version, mpi_replica_specs: Replicas) -> MpiJobSpec {
    let newest = version == Version::V2beta1;
    let scheduling_policy = config.scheduling_policy.clone().map(Into::into);
    MpiJobSpec {
        slots_per_worker: config.slots_per_worker,
        clean_pod_policy: (!newest).then_some(config.clean_pod_policy),
        run_policy: Some(RunPolicy {
            clean_pod_policy: config.clean_pod_policy,
            backoff_limit: config.backoff_limit,
            ttl_seconds_after_finished: config.ttl_seconds_after_finished,
            active_deadline_seconds: None,
            suspend: newest && (config.suspend || !config.queue_name.is_empty()),
            scheduling_policy,
        }),
        launcher_creation_policy: newest.then_some(config.launcher_creation_policy),
        run_launcher_as_worker: newest && config.run_launcher_as_worker,
        mpi_implementation: newest.then_some(config.mpi_implementation),
        ssh_auth_mount_path: config.ssh_auth_mount_path.clone().filter(|_| newest),
        mpi_replica_specs,
    }
}

/// When the cluster ends it by itself. The exact limit is kept by whoever follows the run; this one is for the case that
/// nobody does, and has room for the time that the image takes.
fn backstop(thresholds: &Thresholds) -> Option<i64> {
    let executing = thresholds.executing?;
    let waiting = thresholds.pending_scheduled?.max(thresholds.image_pull_backoff.unwrap_or(Duration::ZERO));
    i64::try_from((executing + waiting).as_secs()).ok().filter(|seconds| *seconds > 0)
}

/// What MLRun sends: always v1, `mpirun` with the arguments as they stand and what MLRun starts, and a right that RDMA needs.
fn as_mlrun(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = MpiConfig::of(function, run)?;
    let mode = Mode::of(function)?;
    let name = object_name(run, cluster.attempt, LONGEST_ENDING);
    let mut run = run.clone();
    run.metadata.labels.insert(JOB.to_owned(), name.clone());
    let mut program = Program::new(function, &run, cluster, (Agent::Mlrun, mode), Carry::Variable)?;
    let mut objects = std::mem::take(&mut program.objects);
    program.name = name.clone();
    let metadata = program.metadata();
    let mut labels = program.workload.part_labels("", Role::Main);
    labels.insert(JOB.to_owned(), name);
    let of_pods = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
    let (mut launcher, mut worker) = pods(program, &config);
    for pod in [&mut launcher, &mut worker] {
        pod.service_account_name = pod.service_account.take();
    }
    for container in launcher.containers.iter_mut().chain(&mut worker.containers) {
        let lock = Capabilities { add: Some(vec!["IPC_LOCK".to_owned()]), drop: None };
        container.security_context =
            Some(SecurityContext { capabilities: Some(lock), ..SecurityContext::default() });
    }
    for container in &mut launcher.containers {
        let words = ["mpirun".to_owned()].into_iter().chain(config.mpi_args.iter().cloned());
        let own = container.command.take().into_iter().chain(container.args.take()).flatten();
        container.command = Some(words.chain(own).collect());
    }
    let mut launcher = Replica::new(1, of_pods.clone(), launcher);
    let mut worker = Replica::new(config.replicas, of_pods, worker);
    (launcher.replicas, launcher.restart_policy, worker.restart_policy) = (None, None, None);
    let mut spec = spec(&config, Version::V1, Replicas { launcher, worker });
    spec.run_policy = None;
    let job = MpiJob { api_version: Version::V1, kind: "MPIJob", metadata, spec };
    objects.push(Manifest::Custom(job.into_value()?));
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    Ok(ClusterPlan { objects, deadline: thresholds.executing, ..ClusterPlan::default() })
}
