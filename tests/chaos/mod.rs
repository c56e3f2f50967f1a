//! What the tests of recovery share: a scene with its own home, work to be run, an orchestrator in a process of its
//! own that dies where it is told to, and the questions that are asked afterwards.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod fuse;
pub(crate) mod scene;
pub(crate) mod work;

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use fuse::{Fuse, FusedStore, FusedTarget};
use runtimes::{
    Orchestrator, Update,
    core::{
        Store,
        run::{Notification, NotificationKind},
        serde_json::{self, Value, json},
    },
    local::HostTarget,
    store::SqliteStore,
};
use rustix::process::{Pid, Signal, kill_process};
pub(crate) use scene::Scene;
pub(crate) use work::Work;

/// The variable by which a process of this test binary knows that it is to be an orchestrator.
const ORDER: &str = "RUNTIMES_TEST_ORDER";

/// The lease of an orchestrator that nobody waits for.
const LEASE: Duration = Duration::from_secs(15);

/// What an orchestrator in another process is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// What it runs.
    pub work: Work,
    /// Where it dies; empty: nowhere.
    pub die: &'a str,
    /// It runs detached.
    pub detached: bool,
    /// It aborts the run at its first line.
    pub abort: bool,
    /// The address of its store; empty: the file of its home.
    pub store: &'a str,
    /// The name of its home.
    pub home: &'a str,
    /// How long its lease is.
    pub lease: Duration,
    /// The address that is told of its run; empty: nobody is.
    pub notify: &'a str,
}

impl Order<'_> {
    /// It runs this to the end.
    pub(crate) fn run(work: Work) -> Self {
        Self {
            work,
            die: "",
            detached: false,
            abort: false,
            store: "",
            home: "home",
            lease: LEASE,
            notify: "",
        }
    }
}

/// An orchestrator in another process.
pub(crate) struct Other {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    pub(crate) fn start(scene: &Scene, order: Order<'_>) -> Self {
        let text = json!({
            "scene": scene.path(), "work": order.work.name(), "die": order.die,
            "detached": order.detached, "abort": order.abort,
            "store": order.store, "home": order.home, "lease": order.lease.as_secs_f64(), "notify": order.notify,
        });
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "other", "--nocapture"])
            .env(ORDER, text.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Reads what it prints until a line begins so; whether one did.
    pub(crate) fn until(&mut self, wanted: &str) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                return false;
            }
            if line.starts_with(wanted) {
                return true;
            }
        }
    }

    /// The most memory that it had, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Stops it for a while, and lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`, of it alone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> std::process::ExitStatus {
        while self.until("\0") {}
        self.child.wait().unwrap()
    }
}

/// In a process that [`Other::start`] started: does what it was told. Elsewhere: nothing.
pub(crate) fn other() {
    let Ok(order) = env::var(ORDER) else { return };
    let order: Value = serde_json::from_str(&order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(obey(&order));
}

async fn obey(order: &Value) {
    let scene = Scene::at(order["scene"].as_str().unwrap());
    let work = Work::of(order["work"].as_str().unwrap());
    let fuse = Arc::new(Fuse::new(order["die"].as_str().unwrap()));
    println!("\n@begin");
    let home = scene.path().join(order["home"].as_str().unwrap());
    let store = open_store(order["store"].as_str().unwrap(), &home).await;
    let orchestrator = Orchestrator::builder(&home)
        .store(Arc::new(FusedStore::new(store, Arc::clone(&fuse))))
        .lease(Duration::from_secs_f64(order["lease"].as_f64().unwrap()))
        .target(Arc::new(FusedTarget::new(HostTarget::new(&home), Arc::clone(&fuse))))
        .open()
        .await
        .unwrap();
    println!("@open");
    let mut request = work.request(&scene);
    request.detached = order["detached"] == true;
    if order["notify"] != "" {
        let mut notification = Notification::new(NotificationKind::Webhook);
        notification.when = ["completed", "error", "aborted"].map(str::to_owned).to_vec();
        notification.params = json!({"url": order["notify"]}).as_object().cloned();
        request = request.notify(notification);
    }
    let mut handle = orchestrator.submit(request).await.unwrap();
    println!("@submitted");
    let mut abort = order["abort"] == true;
    while let Some(update) = handle.next().await {
        match update {
            Update::Run(run) => println!("@{}", run.state()),
            Update::Log(line) => {
                println!("@line {:.80}", line.text());
                if std::mem::take(&mut abort) {
                    let (orchestrator, key) = (orchestrator.clone(), handle.key());
                    tokio::spawn(async move { orchestrator.abort(&key).await });
                }
            }
            Update::Progress(what) => println!("@doing {what}"),
        }
    }
    fuse.burn("before close");
    orchestrator.close().await.unwrap();
    println!("@closed");
}

async fn open_store(address: &str, home: &Path) -> Arc<dyn Store> {
    match address.strip_prefix("sqlite:") {
        Some(file) => Arc::new(SqliteStore::open(file).await.unwrap()),
        None if address.is_empty() => Arc::new(SqliteStore::open(home.join("runtimes.db")).await.unwrap()),
        #[cfg(feature = "postgres")]
        None => Arc::new(runtimes::store::PostgresStore::connect(address).await.unwrap()),
        #[cfg(not(feature = "postgres"))]
        None => panic!("{address} needs the feature `postgres`"),
    }
}
