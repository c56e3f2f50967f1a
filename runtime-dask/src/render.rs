//! Pure: function and run -> a Dask cluster, and the driver beside it.

use std::collections::BTreeMap;

use runtime_core::{
    Error, ErrorKind, Function, Result, Run,
    cluster::{CODE_DIR, Carry, Cluster, Program, Style, Workload, object_name, variable},
    k8s_openapi::api::core::v1::{
        Container, ContainerPort, EnvVar, PodSpec, Probe, Service, TCPSocketAction,
    },
    k8s_openapi::apimachinery::pkg::util::intstr::IntOrString,
    plan::{ClusterPlan, Manifest, Role, program::Mode},
    run::Thresholds,
};

use crate::{
    classic,
    config::{DaskConfig, Engine, Workers},
    crd::{self, API_VERSION},
    host::{ADDRESS, EXPECTED, QUIET, SHARED},
    plain,
};

/// The port of the scheduler, and that of its pages: Dask's own.
pub(crate) const PORT: i32 = 8786;
pub(crate) const DASHBOARD: i32 = 8787;

/// What names of parts of a cluster have behind its own: `-scheduler`, and in labels `-default` of its workers' group.
const ROOM: usize = "-scheduler".len();

/// How many workers there may be where nobody says: MLRun's default.
const MOST: u32 = 16;

/// Waits in the pods of driver and workers until the scheduler listens: a client does not wait for a node and an image, and
/// asks ever less often.
const WAIT: &str = "\
import socket, sys, time
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
        break
    except OSError:
        time.sleep(0.5)
";

/// What the parts of a cluster are made of.
pub(crate) struct Parts<'a> {
    /// The cluster's name.
    pub(crate) name: String,
    pub(crate) config: DaskConfig,
    pub(crate) workload: Workload<'a>,
    /// What the scheduler is to the run: a service of its driver, or the deployment itself.
    pub(crate) scheduler: Role,
    /// Variables of all of its containers, beside the function's own.
    env: Vec<EnvVar>,
}

/// The objects of a run: the cluster first, the driver last, which owns the others; the driver alone, where the function
/// has a cluster that stays up.
pub(crate) fn plan(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = DaskConfig::of(function)?;
    if cluster.style == Style::Mlrun {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "MLRun makes the cluster of a `dask` function, and runs its code where its client is",
        )
        .at("run")
        .help("leave the run out to see the cluster, or `--style mlrun` to see what is made here"));
    }
    let thresholds = Thresholds::of(&[&function.spec.pod.state_thresholds, &run.spec.state_thresholds])?;
    let (expected, packages, job) = (config.expected(), config.extra_pip.clone(), config.job.clone());
    let mut program = program(function, run, cluster, &config)?;
    let mut plan = match run.deployed() {
        Some(_) => {
            let objects = std::mem::take(&mut program.objects);
            ClusterPlan { objects, ..ClusterPlan::default() }
        }
        None => of_cluster(&mut program, config, Role::Service)?,
    };
    let deployed = run.deployed().map(|all| all.get(SCHEDULER).cloned().unwrap_or_default());
    if deployed.is_some() {
        program.set_env(SHARED, "1");
    }
    let address = deployed.unwrap_or_else(|| plan.addresses.remove(SCHEDULER).unwrap_or_default());
    program.set_env(ADDRESS, address.as_str());
    program.set_env(EXPECTED, expected.to_string());
    if let Some(packages) = packages {
        program.set_env(EXTRA_PIP, packages);
    }
    let metadata = program.metadata();
    let mut spec = program.pod_spec();
    wait_for_scheduler(&mut spec, &address);
    plan.objects.push(job.around(metadata, spec, false, &thresholds));
    plan.deadline = thresholds.executing;
    Ok(plan)
}

/// The objects of a deployment: a cluster until somebody closes it.
pub(crate) fn deployment(function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
    let config = DaskConfig::of(function)?;
    let mut program = program(function, run, cluster, &config)?;
    of_cluster(&mut program, config, Role::Main)
}

/// The cluster of a function without a run: what MLRun makes of it, or, in our own style, what `deploy` makes.
pub(crate) fn deploy(function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
    let mut run = Run::default();
    run.metadata.project.clone_from(&function.metadata.project);
    match cluster.style {
        Style::Mlrun => classic::plan(function, &run, cluster),
        Style::Native => {
            run.metadata.name.clone_from(&function.metadata.name);
            run.metadata.uid = "0".repeat(32);
            deployment(function, &run, cluster)
        }
    }
}

/// What the function's own code needs there.
fn program<'a>(
    function: &Function,
    run: &'a Run,
    cluster: &'a Cluster,
    config: &DaskConfig,
) -> Result<Program<'a>> {
    Program::new(function, run, cluster, (config.agent, Mode::of(function)?), Carry::File)
}

/// Scheduler and workers, with what the program needs before them, and where the scheduler is.
fn of_cluster(program: &mut Program<'_>, config: DaskConfig, scheduler: Role) -> Result<ClusterPlan> {
    let mut objects = std::mem::take(&mut program.objects);
    let (run, cluster) = (program.workload.run, program.workload.cluster);
    let engine = engine(&config, cluster)?;
    let parts = Parts::new(program, config, object_name(run, cluster.attempt, ROOM), scheduler);
    let function = &parts.workload.function;
    let mut notes = vec![format!(
        "the dashboard of its scheduler: kubectl port-forward -n {} service/{}-scheduler {DASHBOARD}",
        cluster.namespace_of(function),
        parts.name
    )];
    let workers = parts.workers(engine);
    if function.spec.build.load_source_on_run {
        notes.push(
            "its source is fetched for the driver alone: what workers import must be in the image".to_owned(),
        );
    }
    match engine {
        Engine::Operator => objects.extend(crd::objects(&parts, workers)?),
        Engine::Plain => {
            if matches!(parts.config.workers, Workers::Adaptive { .. }) {
                notes.push(format!(
                    "without Dask's operator nothing scales the cluster: it has {} workers (`replicas` sets how many)",
                    workers.0
                ));
            }
            objects.extend(plain::objects(&parts, workers.0)?);
        }
    }
    let host = parts.host();
    let addresses =
        [(SCHEDULER, format!("tcp://{host}:{PORT}")), (PAGES, format!("http://{host}:{DASHBOARD}/status"))];
    let addresses = addresses.map(|(name, address)| (name.to_owned(), address));
    Ok(ClusterPlan { objects, addresses: BTreeMap::from(addresses), deadline: None, notes })
}

/// What addresses are called: that of the scheduler, and that of its pages.
const SCHEDULER: &str = "scheduler";
const PAGES: &str = "dashboard";

/// The variable by which images of Dask are told what to install.
pub(crate) const EXTRA_PIP: &str = "EXTRA_PIP_PACKAGES";

/// What makes the cluster there.
fn engine(config: &DaskConfig, cluster: &Cluster) -> Result<Engine> {
    match (config.engine, cluster.serves(API_VERSION)) {
        (Some(Engine::Operator), Some(false)) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("this cluster knows no DaskCluster of {API_VERSION}"),
        )
        .at("spec.engine")
        .help(
            "install Dask's operator (helm install --repo https://helm.dask.org --create-namespace -n dask-operator \
             --generate-name dask-kubernetes-operator), or write `engine: plain`",
        )),
        (Some(engine), _) => Ok(engine),
        (None, Some(false)) => Ok(Engine::Plain),
        (None, _) => Ok(Engine::Operator),
    }
}

/// The pod waits until the scheduler of this address listens.
fn wait_for_scheduler(spec: &mut PodSpec, address: &str) {
    let Some(main) = spec.containers.first() else { return };
    let address = address.rsplit_once("//").map_or(address, |(_, address)| address);
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let wait = Container {
        name: "wait-for-scheduler".to_owned(),
        image: main.image.clone(),
        image_pull_policy: main.image_pull_policy.clone(),
        command: Some(["python3", "-c", WAIT].map(str::to_owned).to_vec()),
        args: Some(vec![host.to_owned(), port.to_owned()]),
        resources: main.resources.clone(),
        security_context: main.security_context.clone(),
        ..Container::default()
    };
    spec.init_containers = Some(vec![wait]);
}

impl DaskConfig {
    /// How many workers are sure to come.
    pub(crate) fn expected(&self) -> u32 {
        match self.workers {
            Workers::Fixed(replicas) => replicas,
            Workers::Adaptive { min, .. } => min,
        }
    }
}

impl<'a> Parts<'a> {
    fn new(program: &Program<'a>, config: DaskConfig, name: String, scheduler: Role) -> Self {
        let workload = program.workload.clone();
        let pythonpath = &workload.function.spec.pythonpath;
        let folders = [CODE_DIR, pythonpath.as_str()];
        let folders = folders.iter().enumerate().filter(|(index, folder)| match index {
            0 => program.has_code_file,
            _ => !folder.is_empty(),
        });
        let folders: Vec<_> = folders.map(|(_, folder)| *folder).collect();
        let mut env = vec![variable(QUIET.0, QUIET.1), variable("PYTHONUNBUFFERED", "1")];
        if !folders.is_empty() {
            env.push(variable("PYTHONPATH", folders.join(":")));
        }
        env.extend(config.extra_pip.iter().map(|packages| variable(EXTRA_PIP, packages.as_str())));
        Self { name, config, workload, scheduler, env }
    }

    /// How many workers there are at first, and between which numbers that may change.
    fn workers(&self, engine: Engine) -> (u32, Option<(u32, u32)>) {
        match (self.config.workers, engine) {
            (Workers::Fixed(replicas), _) => (replicas, None),
            (Workers::Adaptive { min, max }, Engine::Plain) => (min.max(1).min(max.unwrap_or(MOST)), None),
            (Workers::Adaptive { min, max }, Engine::Operator) => {
                (min, Some((min, max.unwrap_or(min.max(MOST)))))
            }
        }
    }

    /// The scheduler's pod.
    pub(crate) fn scheduler(&self) -> PodSpec {
        let mut args = vec![
            "--port".to_owned(),
            PORT.to_string(),
            "--dashboard-address".to_owned(),
            format!(":{DASHBOARD}"),
        ];
        if let Some(timeout) = &self.config.scheduler_timeout {
            args.extend(["--idle-timeout".to_owned(), timeout.clone()]);
        }
        let port = |name: &str, port| ContainerPort {
            name: Some(name.to_owned()),
            container_port: port,
            ..ContainerPort::default()
        };
        let probe = Probe {
            // By its name: the operator's definition, on older servers, takes no number.
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::String("tcp-comm".to_owned()),
                ..TCPSocketAction::default()
            }),
            period_seconds: Some(2),
            ..Probe::default()
        };
        let container = Container {
            name: "scheduler".to_owned(),
            ports: Some(vec![port("tcp-comm", PORT), port("http-dashboard", DASHBOARD)]),
            readiness_probe: Some(probe),
            ..self.container("scheduler", args, Vec::new())
        };
        self.pod(container, &self.config.scheduler.requirements)
    }

    /// A worker's pod; `named` says how it knows its name.
    pub(crate) fn worker(&self, named: Vec<EnvVar>) -> PodSpec {
        let options = [
            ("--name", "$(DASK_WORKER_NAME)".to_owned()),
            ("--nthreads", self.config.nthreads.to_string()),
            ("--memory-limit", crate::host::memory(&self.config)),
        ];
        let flags = ["--no-nanny", "--no-dashboard"].map(str::to_owned);
        let options = options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        let args = flags.into_iter().chain(options).collect();
        let container = Container { name: "worker".to_owned(), ..self.container("worker", args, named) };
        let mut spec = self.pod(container, &self.config.worker.requirements);
        wait_for_scheduler(&mut spec, &format!("{}:{PORT}", self.host()));
        spec
    }

    /// The name by which pods find the scheduler.
    pub(crate) fn host(&self) -> String {
        format!("{}-scheduler.{}", self.name, self.workload.cluster.namespace_of(&self.workload.function))
    }

    fn container(&self, command: &str, args: Vec<String>, more: Vec<EnvVar>) -> Container {
        let mut env = self.env.clone();
        env.extend(more);
        Container {
            command: Some(["python3", "-m", "dask", command].map(str::to_owned).to_vec()),
            args: Some(args),
            env: Some(self.workload.env(env)),
            ..Container::default()
        }
    }

    /// The pod of a part, which a Deployment makes again where it ends.
    fn pod(
        &self,
        container: Container,
        resources: &runtime_core::k8s_openapi::api::core::v1::ResourceRequirements,
    ) -> PodSpec {
        let mut workload = self.workload.clone();
        workload.function.spec.pod.resources = resources.clone();
        let mut spec = workload.pod_spec(container);
        spec.restart_policy = Some("Always".to_owned());
        spec
    }

    /// The Service of the scheduler.
    pub(crate) fn service(&self) -> Service {
        let mut service = service(&self.config, &self.name, ("tcp-comm", "http-dashboard"));
        for port in service.spec.iter_mut().flat_map(|spec| spec.ports.iter_mut().flatten()) {
            port.target_port = port.name.clone().map(IntOrString::String);
        }
        service
    }
}

/// The Service of a scheduler; its ports have these names.
pub(crate) fn service(config: &DaskConfig, name: &str, ports: (&str, &str)) -> Service {
    use runtime_core::k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
    let port = |name: &str, port, node_port| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        node_port,
        ..ServicePort::default()
    };
    // A port of the nodes makes it that type.
    let kind = if config.node_port.is_some() { "NodePort" } else { config.service_type.as_str() };
    let spec = ServiceSpec {
        type_: Some(kind.to_owned()),
        ports: Some(vec![port(ports.0, PORT, None), port(ports.1, DASHBOARD, config.node_port)]),
        selector: Some(crd::selector(name, "scheduler")),
        ..ServiceSpec::default()
    };
    Service { spec: Some(spec), ..Service::default() }
}

/// An object that this crate has as what is sent, and nothing more.
pub(crate) fn custom(value: impl serde::Serialize) -> Result<Manifest> {
    let value = runtime_core::serde_json::to_value(value);
    value.map(Manifest::Custom).map_err(|error| Error::internal("an object cannot be written").source(error))
}
