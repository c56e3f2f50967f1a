//! What runs on a cluster cost beside its floors: `cargo bench -p runtimes --features kubernetes --bench cluster`.
//!
//! - `events`: from a change on the cluster to the stored state, at 500 changes a second,
//! - `flight`: what an orchestrator needs that follows 10,000 runs, on a cluster in another process,
//! - `submission`: runs beside a bare loop that creates the same pods on the same API server, that of `KUBECONFIG`, turn
//!   by turn. Best on one without nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that fails ends")]

mod fake;
mod submission;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use runtimes::{
    Function, Orchestrator, Request, RunState, Update,
    cluster::{
        ClusterOptions, Kubernetes,
        kube::{Client, Config},
    },
    core::{
        k8s_openapi::api::core::v1::Pod,
        testkit::cluster::{FakeCluster, Life},
    },
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Runs whose changes are measured.
const CHANGING: usize = 2000;

/// Changes a second.
const RATE: u32 = 500;

/// Runs in flight.
const FLIGHT: usize = 10_000;

fn main() -> Outcome {
    // `cargo test` and `cargo bench --no-run` ask for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if std::env::var_os(fake::SERVE).is_some() {
        return runtime.block_on(fake::serve());
    }
    runtime.block_on(async {
        if wanted("events") {
            events().await?;
        }
        if wanted("flight") {
            flight().await?;
        }
        if wanted("submission") {
            submission::beside_a_bare_loop().await?;
        }
        Outcome::Ok(())
    })
}

/// Whether this part was asked for: `... --bench cluster -- events`; without a name, all are.
fn wanted(part: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    names.peek().is_none() || names.any(|name| name == part)
}

/// A home that goes with this.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(name: &str) -> Outcome<Self> {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An orchestrator on the cluster of a client, that is not held back.
pub(crate) async fn open(home: &Home, client: Client, options: ClusterOptions) -> Outcome<Orchestrator> {
    let options = ClusterOptions { requests_per_second: 100_000, ..options };
    let target = Arc::new(Kubernetes::with_client(client, options));
    Ok(Orchestrator::builder(&home.0).target(target).open().await?)
}

pub(crate) fn function(wrapper: &str) -> Function {
    let code = "def fit(context):\n    context.log_result('x', 1)\n";
    let mut function = Function::new("job", "bench").with_code(code).with_image("python:3");
    function.spec.extra.insert("wrapper".to_owned(), wrapper.into());
    function
}

pub(crate) fn request(wrapper: &str) -> Request {
    Request { detached: true, ..Request::new(function(wrapper)).handler("fit").on("kubernetes") }
}

fn run_of(pod: &Pod) -> String {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get("runtimes/run")).cloned().unwrap_or_default()
}

/// From a change on the cluster to the state that is stored, and said: of two changes a run. The cluster is in this
/// process, and has the same processors; with Jobs it would need most of them for itself.
async fn events() -> Outcome {
    let (home, cluster) = (Home::new("events")?, FakeCluster::new());
    cluster.on_pod(|pod| {
        let run = run_of(pod);
        let begun = Life::new().scheduled().pulled().wait(&format!("{run}-running"));
        begun.running().ready().wait(&format!("{run}-completed")).exits(0)
    });
    let orchestrator =
        open(&home, Client::new(cluster.clone(), "default"), ClusterOptions::default()).await?;
    let changes: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (sender, mut latencies) = tokio::sync::mpsc::unbounded_channel();
    let mut keys = Vec::new();
    for _ in 0..CHANGING {
        let mut handle = orchestrator.submit(request("pod")).await?;
        let key = handle.key();
        keys.push(key.to_string());
        let (changes, sender) = (Arc::clone(&changes), sender.clone());
        tokio::spawn(async move {
            while let Some(update) = handle.next().await {
                let Update::Run(run) = update else { continue };
                let change = format!("{key}-{}", run.state());
                if let Some(began) = changes.lock().unwrap().remove(&change) {
                    let _ = sender.send((run.state().as_str(), began.elapsed()));
                }
            }
        });
    }
    drop(sender);
    // To look is work, which is not done at each change.
    while cluster.objects("pods").len() < CHANGING {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let began = Instant::now();
    for (number, (state, key)) in
        ["running", "completed"].iter().flat_map(|state| keys.iter().map(move |key| (state, key))).enumerate()
    {
        let due = began + Duration::from_secs(1) / RATE * u32::try_from(number)?;
        tokio::time::sleep_until(due.into()).await;
        let change = format!("{key}-{state}");
        changes.lock().unwrap().insert(change.clone(), Instant::now());
        cluster.go(&change);
    }
    let reached = (2 * CHANGING) as f64 / began.elapsed().as_secs_f64();
    let mut found = Vec::new();
    while let Some(latency) = latencies.recv().await {
        found.push(latency);
    }
    println!("event to stored state, at {reached:.0} changes/s  (p99 at most 100 ms)");
    for wanted in ["running", "completed", ""] {
        let of = found.iter().filter(|(state, _)| state.starts_with(wanted)).map(|(_, latency)| *latency);
        let mut of: Vec<Duration> = of.collect();
        of.sort();
        let at = |part: f64| of[((of.len() - 1) as f64 * part) as usize];
        let name = if wanted.is_empty() { "all" } else { wanted };
        println!(
            "{name:<10} p50 {:>8.1?}, p99 {:>8.1?}, most {:>8.1?}, of {}",
            at(0.5),
            at(0.99),
            at(1.0),
            of.len()
        );
    }
    orchestrator.close().await?;
    Ok(())
}

/// How much memory an orchestrator needs that follows so many runs, each of which runs and has a log.
async fn flight() -> Outcome {
    let (home, fake) = (Home::new("flight")?, fake::Fake::start()?);
    let client = Client::try_from(Config::new(fake.url.parse()?))?;
    let orchestrator = open(&home, client, ClusterOptions::default()).await?;
    println!("before: {}", memory());
    let began = Instant::now();
    let mut submitted = Vec::new();
    for _ in 0..FLIGHT {
        submitted.push(orchestrator.submit(request("job")).await?.key());
    }
    let mut running = 0;
    for key in &submitted {
        let mut handle = orchestrator.watch(key).await?;
        while let Some(update) = handle.next().await {
            if let Update::Run(run) = update {
                running += usize::from(run.state() == RunState::Running);
                if run.state() != RunState::Created && run.state() != RunState::Pending {
                    break;
                }
            }
        }
    }
    println!("{running} runs in flight after {:.1?}: {}  (at most 300 MB)", began.elapsed(), memory());
    // Whoever ends now leaves them: that is the end of the cluster, too.
    drop(orchestrator);
    Ok(())
}

/// What this process needs, and needed at most.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default()
    };
    format!("{:.0} MB resident, {:.0} MB at most", kilobytes("VmRSS:") / 1000.0, kilobytes("VmHWM:") / 1000.0)
}
