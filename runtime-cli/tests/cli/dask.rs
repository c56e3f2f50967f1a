//! Functions of the kind `dask`, with the real Dask.

use std::{
    fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::{
    fixture::{Done, Folder, Running, exists},
    kills::{self, Process, processes},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const CODE: &str = r#"
import os
import signal
import time

import neighbour


def total(context, n: int = 10):
    client = context.dask_client
    assert client is context.dask_client
    print("workers:", len(client.scheduler_info()["workers"]))
    context.log_result("total", sum(client.gather(client.map(neighbour.square, range(n)))))


def burst(context):
    client = context.dask_client
    count = lambda: len(client.scheduler_info()["workers"])
    futures, most = client.map(neighbour.slowly, range(60)), 0
    while any(future.status == "pending" for future in futures):
        most = max(most, count())
        time.sleep(0.05)
    context.log_results({"most": most, "total": sum(client.gather(futures))})
    del futures
    while count() > 1:
        time.sleep(0.05)
    context.log_result("last", count())


def hurt(context, whom: str):
    client = context.dask_client
    workers = client.run(os.getpid)
    pids = {"scheduler": client.run_on_scheduler(os.getpid), "worker": min(workers.values()), "driver": os.getpid()}
    print(*{*workers.values(), *pids.values()}, flush=True)
    if whom in pids:
        os.kill(pids[whom], signal.SIGKILL)
    if whom != "worker":
        time.sleep(600)
    while pids["worker"] in client.run(os.getpid, on_error="ignore").values() or len(client.scheduler_info()["workers"]) < 2:
        time.sleep(0.05)
    context.log_result("total", sum(client.gather(client.map(neighbour.square, range(10)))))
"#;

const NEIGHBOUR: &str =
    "import time\n\ndef square(n):\n    return n * n\n\ndef slowly(n):\n    time.sleep(0.2)\n    return n\n";

fn folder() -> Folder {
    let folder = Folder::with("work.py", CODE);
    folder.write("neighbour.py", NEIGHBOUR);
    let function = |workers: &str| {
        format!("kind: dask\nmetadata: {{name: work}}\nspec: {{command: work.py, {workers}}}\n")
    };
    folder.write("fixed.yaml", function("replicas: 2"));
    folder.write("adaptive.yaml", function("min_replicas: 1, max_replicas: 3"));
    // One environment for all these tests.
    let home = folder.path(".runtimes");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::symlink(environments(), home.join("envs")).unwrap();
    folder
}

fn environments() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dask-envs");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A folder with the functions; `None`, having said so, where the machine cannot have Dask.
fn dask() -> Option<Folder> {
    static TRIED: LazyLock<Result<(), String>> = LazyLock::new(|| {
        let folder = folder();
        let done = folder.run("run fixed.yaml --handler total -o json");
        let cause = &done.json()["status"]["cause"];
        match cause["reason"] == "Environment" {
            true => Err(cause["message"].as_str().unwrap_or_default().to_owned()),
            false => Ok(()),
        }
    });
    match &*TRIED {
        Ok(()) => Some(folder()),
        Err(why) => {
            eprintln!("skipped: no Dask, which pip installs from PyPI: {why}");
            None
        }
    }
}

#[test]
fn a_handler_has_a_cluster() {
    let Some(folder) = dask() else { return };
    let done = folder.run("run fixed.yaml --handler total -p n=100");
    assert!(done.ok().stdout.contains(", dashboard: http://127.0.0.1:"), "{done:#?}");
    assert!(done.stdout.contains("workers: 2\n") && done.stdout.contains("328350"), "{done:#?}");
    assert!(!done.stderr.contains("Traceback"), "all end in their order: {done:#?}");
}

#[test]
fn there_are_as_many_workers_as_there_is_work_for() {
    let Some(folder) = dask() else { return };
    let run = folder.run("run adaptive.yaml --handler burst -o json");
    let run = run.ok().json();
    let results = &run["status"]["results"];
    assert_eq!((&results["most"], &results["last"], &results["total"]), (&3.into(), &1.into(), &1770.into()));
}

/// The processes that it names.
fn named(run: &mut Running) -> Vec<i32> {
    loop {
        let line = run.line();
        assert!(!line.is_empty(), "it names its processes");
        let pids: Result<Vec<i32>, _> = line.split(' ').map(str::parse).collect();
        if let Ok(pids) = pids {
            assert!(pids.len() >= 4, "a scheduler, two workers and the driver: {line:?}");
            return pids;
        }
    }
}

fn all_gone(pids: Vec<i32>) {
    let end = Instant::now() + PATIENCE;
    for pid in pids {
        let pid = Pid::from_raw(pid).unwrap();
        while rustix::process::test_kill_process(pid).is_ok() {
            assert!(Instant::now() < end, "{pid:?} goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How the run whose part was killed ended: its state and cause.
fn end(folder: &Folder, mut run: Running) -> (String, String, Done) {
    let pids = named(&mut run);
    let done = run.end();
    all_gone(pids);
    let status = folder.runs().remove(0)["status"].take();
    let text = |value: &runtimes::core::serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&status["state"]), text(&status["cause"]["message"]), done)
}

#[test]
fn a_worker_that_is_killed_is_replaced() {
    for function in ["fixed", "adaptive"] {
        let Some(folder) = dask() else { return };
        if function == "adaptive" {
            let spec = "{command: work.py, min_replicas: 2, max_replicas: 3}";
            folder.write("adaptive.yaml", format!("kind: dask\nmetadata: {{name: work}}\nspec: {spec}\n"));
        }
        let run = folder.start(&format!("run {function}.yaml --handler hurt -p whom=worker"));
        let (state, cause, done) = end(&folder, run);
        assert_eq!(state, "completed", "{function}: {cause} {done:#?}");
        assert!(done.stdout.contains("285"), "{function}: {done:#?}");
    }
}

#[test]
fn without_its_scheduler_or_its_driver_it_ends() {
    for (whom, said) in [("scheduler", "scheduler, which it needs, ended first"), ("driver", "SIGKILL")] {
        let Some(folder) = dask() else { return };
        let run = folder.start(&format!("run fixed.yaml --handler hurt -p whom={whom}"));
        let (state, cause, done) = end(&folder, run);
        assert_eq!(state, "error", "{whom}: {done:#?}");
        assert!(cause.contains(said), "{whom}: {cause}");
    }
}

#[test]
fn it_is_stopped_as_a_whole() {
    for signal in [Signal::INT, Signal::KILL] {
        let Some(folder) = dask() else { return };
        let mut run = folder.start("run fixed.yaml --handler hurt -p whom=nobody");
        let pids = named(&mut run);
        run.signal(signal);
        run.end();
        if signal == Signal::KILL {
            // It goes on without the command, and the next one takes it up.
            folder.run("abort work-hurt").ok();
        }
        all_gone(pids);
        assert_eq!(folder.runs()[0]["status"]["state"], "aborted", "{signal:?}");
    }
}

/// What is up is closed also where a test fails.
struct Closed<'a>(&'a Folder);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.run("close work");
    }
}

fn pids_of(run: &runtimes::core::serde_json::Value) -> Vec<i32> {
    let uid = run["metadata"]["uid"].as_str().unwrap();
    processes(uid, part).into_iter().map(|(pid, _)| pid.as_raw_nonzero().get()).collect()
}

#[test]
fn a_cluster_stays_up_between_runs() {
    let Some(folder) = dask() else { return };
    let up = folder.run("deploy fixed.yaml -o json");
    let _closed = Closed(&folder);
    let up = up.ok().json();
    let scheduler = up["status"]["addresses"]["scheduler"].as_str().unwrap().to_owned();
    assert!(scheduler.starts_with("tcp://127.0.0.1:"), "{up}");
    let pids = pids_of(&up);
    assert_eq!(pids.len(), 3, "a scheduler and two workers");
    let total = |done: &Done| done.ok().json()["status"]["results"]["total"].clone();
    let run = folder.run("run fixed.yaml --handler total -p n=100 -o json");
    assert_eq!(total(&run), 328_350);
    assert_eq!(run.json()["metadata"]["annotations"]["runtimes/uses"], up["metadata"]["uid"]);
    assert_eq!(pids_of(&up), pids, "they are still those");

    // Iterations share it.
    let run =
        folder.run("run fixed.yaml --handler total -x n=2,3,4 --parallel 3 --selector max.total -o json");
    assert_eq!(total(&run), 14);
    // Each run has its own code, whatever the cluster was deployed with.
    folder.write(
        "work.py",
        CODE.replace("neighbour.square, range", "mine, range") + "\n\ndef mine(n):\n    return 1\n",
    );
    let run = folder.run("run fixed.yaml --handler total -p n=7 -o json");
    assert_eq!(total(&run), 7);
    assert!(run.json()["status"]["notes"].to_string().contains("another version"), "{run:#?}");

    // The same version is left as it is; another one takes its place.
    let again = folder.run("deploy fixed.yaml -o json").ok().json();
    assert_ne!(again["metadata"]["uid"], up["metadata"]["uid"]);
    all_gone(pids);
    let same = folder.run("deploy fixed.yaml");
    assert!(same.ok().stderr.contains("it is up already"), "{same:#?}");
    let listed = folder.run("status -o json").ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["metadata"]["uid"], again["metadata"]["uid"]);

    let pids = pids_of(&again);
    folder.run("close work").ok();
    all_gone(pids);
    folder.run("status").ok().says(&["nothing is deployed"]);
    folder.run("close fixed.yaml").code(2).says(&["work is not deployed", "runtimes status"]);
    let run = folder.run("run fixed.yaml --handler total -p n=7 -o json");
    assert_eq!(total(&run), 7);
    assert!(
        run.json()["metadata"]["annotations"].get("runtimes/uses").is_none(),
        "it has a cluster of its own"
    );
}

#[test]
fn a_deployment_that_ends_takes_its_runs_along() {
    for whom in ["scheduler", "closed"] {
        let Some(folder) = dask() else { return };
        let up = folder.run("deploy fixed.yaml -o json").ok().json();
        let _closed = Closed(&folder);
        let pids = pids_of(&up);
        let mut run = folder.start(&format!("run fixed.yaml --handler hurt -p whom={whom}"));
        let of_run = named(&mut run);
        if whom == "closed" {
            folder.run("close work").ok();
        }
        let done = run.end();
        all_gone(pids);
        all_gone(of_run);
        let status = folder.runs().remove(0)["status"].take();
        assert_eq!(status["state"], "error", "{whom}: {done:#?}");
        let said = status["cause"]["message"].as_str().unwrap();
        let why = if whom == "closed" { "it was closed" } else { "SIGKILL" };
        assert!(said.contains("deployment") && said.contains(why), "{whom}: {said}");
        folder.run("status").ok().says(&["nothing is deployed"]);
    }
}

/// It goes on where whoever started it, or looks after it, is killed.
#[test]
fn a_deployment_is_taken_up() {
    let Some(folder) = dask() else { return };
    let command = folder.start("deploy fixed.yaml");
    let _closed = Closed(&folder);
    let end = Instant::now() + PATIENCE;
    while !exists(&folder, ".runtimes/runtimes.db") || folder.runs().is_empty() {
        assert!(Instant::now() < end, "it is recorded");
    }
    command.signal(Signal::KILL);
    command.end();
    let up = loop {
        let up = folder.run("status -o json").ok().json();
        if !up[0]["status"]["addresses"].is_null() {
            break up;
        }
        assert!(Instant::now() < end, "{up}");
    };
    let run = folder.run("run fixed.yaml --handler total -p n=100 -o json").ok().json();
    assert_eq!(run["status"]["results"]["total"], 328_350);
    assert_eq!(run["metadata"]["annotations"]["runtimes/uses"], up[0]["metadata"]["uid"]);
}

#[test]
fn what_cannot_be_deployed_is_said_at_once() {
    let folder = folder();
    folder
        .run("deploy fixed.yaml --kind job")
        .code(2)
        .says(&["kind `job` are run, not deployed", "runtimes run"]);
    folder.write("work.py", "def total(:\n");
    folder.run("deploy fixed.yaml").code(2).says(&["work.py:1:11", "syntax error"]);
    folder.write("work.py", CODE);
    folder.write("wrong.yaml", "kind: dask\nmetadata: {name: work}\nspec: {command: work.py, replicas: 0}\n");
    folder.run("deploy wrong.yaml").code(2).says(&["spec.replicas"]);
    assert!(folder.runs().is_empty(), "nothing is begun");
}

/// What a process is to a run: those that are Python.
fn part(process: &Process) -> Option<&'static str> {
    let parts = [("scheduler.run.json", "scheduler"), ("main.run.json", "driver"), ("worker-", "worker")];
    let found = parts.into_iter().find(|(word, _)| process.command.contains(word));
    found.filter(|_| process.program.starts_with("python")).map(|(_, part)| part)
}

#[test]
fn killed_at_any_moment() {
    let Some(folder) = dask() else { return };
    let command = "run fixed.yaml --handler total -p n=2000";
    let parts: &[&str] = &["worker", "scheduler", "driver"];
    kills::at_any_moment(&folder, command, (parts, part), Duration::from_millis(2500), |killed, status| {
        let cause = status["cause"]["message"].as_str().unwrap_or_default();
        match status["state"].as_str().unwrap() {
            "completed" => assert_eq!(status["results"]["total"], 2_664_667_000_u64, "{killed}: {status}"),
            _ if killed == "scheduler" => assert!(cause.contains("scheduler, which it needs"), "{status}"),
            _ if killed == "driver" => assert!(cause.contains("SIGKILL"), "{status}"),
            _ => assert_eq!(killed, "command", "{status}"),
        }
    });
}
