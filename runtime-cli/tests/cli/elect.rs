//! `daemon --leader-elect`: several daemons, of which one acts. With a real cluster, where `KUBECONFIG` names one.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use runtimes::{
    cluster::kube::{
        Api, Client, Config,
        api::{DeleteParams, PostParams},
    },
    core::{
        k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace},
        serde_json::{from_value, json},
    },
};
use rustix::process::Signal;

use crate::{
    fixture::{Done, Folder, Running},
    watch::make_due,
};

#[test]
fn what_cannot_be_is_said() {
    let folder = Folder::with(
        "config",
        r#"{"apiVersion": "v1", "kind": "Config", "current-context": "far", "contexts": [{"name": "far",
        "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]}"#,
    );
    let run = |config: &str, args: &str| {
        let mut command = folder.command(args.split_whitespace());
        Done::of(command.env("KUBECONFIG", folder.path(config)).output().unwrap())
    };
    run("config", "daemon --leader-elect --lease-duration 5s").code(2).says(&["--renew-deadline", "help: "]);
    run("config", "daemon --leader-elect --retry-period 9s").code(2).says(&["--retry-period"]);
    run("config", "daemon --leader-elect --lease-duration 1500ms").code(2).says(&["--lease-duration"]);
    run("config", "daemon --lease other").code(2).says(&["--leader-elect"]);
    let began = Instant::now();
    let done = run("config", "daemon --leader-elect");
    done.code(1).says(&["http://127.0.0.1:1 (context far) does not answer", "help: "]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    run("none", "daemon --leader-elect").code(1).says(&["no way to a cluster", "KUBECONFIG"]);
    assert!(!folder.path(".runtimes").exists(), "nothing is made for a daemon that does not begin");
}

/// A namespace of its own on the real cluster.
struct Place {
    runtime: tokio::runtime::Runtime,
    client: Client,
    name: String,
}

impl Place {
    fn new() -> Option<Self> {
        if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
            println!("skipped: KUBECONFIG names no cluster");
            return None;
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, name) = runtime.block_on(async {
            let client = Client::try_from(Config::infer().await.unwrap()).unwrap();
            let namespace: Namespace =
                from_value(json!({"metadata": {"generateName": "runtimes-test-"}})).unwrap();
            let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
            (client, made.metadata.name.unwrap())
        });
        Some(Self { runtime, client, name })
    }

    fn holder(&self) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.name);
        let lease = self.runtime.block_on(leases.get("daemons")).unwrap();
        lease.spec.unwrap().holder_identity
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let all: Api<Namespace> = Api::all(self.client.clone());
        let _ = self.runtime.block_on(all.delete(&self.name, &DeleteParams::default()));
    }
}

/// Reads what it prints until a line has this; returns that line.
#[track_caller]
fn until(daemon: &mut Running, part: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let line = daemon.line();
        if line.contains(part) {
            return line;
        }
        assert!(!line.is_empty(), "no {part:?} in {seen:?}");
        seen.push(line);
    }
}

/// The time of the schedule comes: this daemon fires it, and the run ends.
#[track_caller]
fn fires(folder: &Folder, daemon: &mut Running) {
    make_due(folder, "often");
    let line = until(daemon, "often: started ");
    let uid = line.split_once("started ").unwrap().1.split_whitespace().next().unwrap();
    assert_eq!(folder.run(&format!("logs -f {uid}")).ok().stdout, "hi\n");
}

/// The status of `GET path`.
fn status(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn of_several_daemons_one_acts_and_another_follows_it() {
    let Some(namespace) = Place::new() else { return };
    let folder = Folder::with("f.sh", "echo hi\n");
    folder.run("run f.sh --schedule @yearly --schedule-name often").ok();
    let ports = [free_port(), free_port()];
    let start = |port: u16| {
        folder.start(&format!(
            "daemon --leader-elect --lease daemons --namespace {} --lease-duration 4s --renew-deadline 3s \
             --retry-period 300ms --listen 127.0.0.1:{port}",
            namespace.name
        ))
    };
    let mut first = start(ports[0]);
    let line = until(&mut first, "takes part in the election");
    let identity = line.split_whitespace().nth(1).unwrap().to_owned();
    until(&mut first, "serving ");
    assert_eq!(namespace.holder(), Some(identity.clone()));
    let mut second = start(ports[1]);
    until(&mut second, &format!("standing by: {identity} leads"));
    assert_eq!(ports.map(|port| status(port, "/readyz")), ["200", "503"]);
    assert_eq!(ports.map(|port| status(port, "/livez")), ["200", "200"]);
    assert_eq!(status(ports[1], "/api/v1/healthz"), "503");
    fires(&folder, &mut first);

    // One that is killed is followed by the other.
    first.signal(Signal::KILL);
    drop(first.end());
    until(&mut second, "leading");
    until(&mut second, "serving ");
    assert_eq!(status(ports[1], "/readyz"), "200");
    fires(&folder, &mut second);
    assert_eq!(folder.runs().len(), 2, "each time was fired once");

    // One that is stopped for a while does nothing when it goes on.
    let mut third = start(free_port());
    until(&mut third, "standing by");
    second.signal(Signal::STOP);
    until(&mut third, "serving ");
    fires(&folder, &mut third);
    make_due(&folder, "often");
    second.signal(Signal::CONT);
    let ended = second.end();
    ended.code(1).says(&["leads no more", "help: "]);
    assert!(!ended.stdout.contains("often"), "{ended:#?}");
    until(&mut third, "often: started");
    assert_eq!(folder.runs().len(), 4, "each time was fired once");

    // One that is told to end gives its place back; one that stands by just ends.
    third.signal(Signal::TERM);
    third.end().ok();
    assert_eq!(namespace.holder(), None);
    let mut fourth = start(free_port());
    until(&mut fourth, "serving ");
    let mut fifth = start(free_port());
    until(&mut fifth, "standing by");
    fifth.signal(Signal::TERM);
    assert!(fifth.end().ok().stdout.contains("ending"));
    fourth.signal(Signal::INT);
    fourth.end().ok();
}
