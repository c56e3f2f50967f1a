//! How runs are stopped, and how they go on without the command.

use std::fs::File;

use rustix::process::Signal;

use crate::fixture::{Folder, Running, wait_for_end};

/// A program that says `ready`, and goes on until it is stopped. It holds a FIFO open all its life.
fn endless(folder: &Folder, traps: &str) -> std::path::PathBuf {
    let fifo = folder.fifo("alive");
    folder.write("endless.sh", format!("{traps}\nexec 9>alive\necho ready\nwhile :; do sleep 1; done\n"));
    fifo
}

/// Starts it, and opens its FIFO, which waits for the program to be there.
fn start(folder: &Folder, fifo: &std::path::Path, args: &str) -> (Running, File) {
    let running = folder.start(args);
    (running, File::open(fifo).unwrap())
}

#[test]
fn ctrl_c_stops_the_run() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = Folder::new();
        let fifo = endless(&folder, "");
        let (mut run, alive) = start(&folder, &fifo, "run endless.sh");
        run.until("ready");
        run.signal(signal);
        let done = run.end();
        done.code(code).says(&["stopping… press Ctrl-C again to kill it"]);
        assert!(done.stdout.contains("aborted in "), "{done:#?}");
        wait_for_end(|| alive);
        assert_eq!(folder.runs()[0]["status"]["state"], "aborted");
    }
}

#[test]
fn a_second_ctrl_c_kills_it() {
    let folder = Folder::new();
    let fifo = endless(&folder, "trap '' TERM INT");
    let (mut run, alive) = start(&folder, &fifo, "run endless.sh");
    run.until("ready");
    run.signal(Signal::INT);
    run.until_stderr("stopping…");
    run.signal(Signal::INT);
    run.end().code(130);
    wait_for_end(|| alive);
    assert_eq!(folder.runs()[0]["status"]["state"], "aborted");
}

#[test]
fn ctrl_c_stops_many() {
    let folder = Folder::new();
    let fifo = endless(&folder, "");
    let (run, mut alive) = start(&folder, &fifo, "run endless.sh --count 100 --parallel 2");
    // The FIFO is open, so at least one of them is on its way.
    run.signal(Signal::INT);
    run.end().code(130);
    std::io::Read::read_to_end(&mut alive, &mut Vec::new()).unwrap();
    let runs = folder.runs();
    assert!(!runs.is_empty() && runs.len() <= 2, "{runs:?}");
    assert!(runs.iter().all(|run| run["status"]["state"] == "aborted"), "{runs:?}");
}

#[test]
fn detached_runs_go_on_and_are_followed() {
    let folder = Folder::with("wait.sh", "echo begin\ncat go\necho end\n");
    let go = folder.fifo("go");
    let done = folder.run("run wait.sh --detach");
    let uid = done.ok().stdout.trim().to_owned();
    assert_eq!(uid.len(), 32, "{done:#?}");
    done.says(&["runtimes logs -f ", &uid[..8]]);
    let mut logs = folder.start(&format!("logs -f {}", &uid[..12]));
    logs.until("begin");
    let state = folder.run(&format!("get {uid} -o json")).ok().json()["status"]["state"].clone();
    assert_eq!(state, "running");
    std::fs::write(go, "going\n").unwrap();
    let rest = logs.end();
    assert_eq!(rest.ok().stdout, "going\nend\n");
    let run = folder.run(&format!("get {uid} -o json")).ok().json();
    assert_eq!(run["status"]["state"], "completed");
}

#[test]
fn a_detached_run_is_aborted_from_elsewhere() {
    let folder = Folder::new();
    let fifo = endless(&folder, "");
    let uid = folder.run("run endless.sh --detach").ok().stdout.trim().to_owned();
    let alive = File::open(&fifo).unwrap();
    let done = folder.run(&format!("abort {uid}"));
    assert_eq!(done.ok().stdout, format!("{} endless is aborted\n", &uid[..8]));
    wait_for_end(|| alive);
    folder.run(&format!("abort {uid}")).code(2).says(&["error: ", "aborted"]);
    assert_eq!(folder.runs()[0]["status"]["state"], "aborted");
}

#[test]
fn a_run_that_goes_on_is_not_deleted() {
    let folder = Folder::new();
    let fifo = endless(&folder, "");
    let uid = folder.run("run endless.sh --detach").ok().stdout.trim().to_owned();
    let alive = File::open(&fifo).unwrap();
    folder.run(&format!("delete {uid}")).code(2).says(&["error: ", "runtimes abort"]);
    assert_eq!(folder.run("delete --older-than 0s").ok().stdout, "deleted 0 runs\n");
    folder.run(&format!("abort {uid}")).ok();
    wait_for_end(|| alive);
}

#[test]
fn a_killed_command_leaves_the_truth() {
    let folder = Folder::new();
    let fifo = endless(&folder, "");
    let (mut run, alive) = start(&folder, &fifo, "run endless.sh");
    run.until("ready");
    run.signal(Signal::KILL);
    run.end();
    // Whether it was taken over or ended is the target's to say; it is not `running` with nobody there.
    let state = folder.runs()[0]["status"]["state"].as_str().unwrap().to_owned();
    if state == "running" {
        folder.run("abort endless").ok();
    }
    wait_for_end(|| alive);
    let state = folder.runs()[0]["status"]["state"].as_str().unwrap().to_owned();
    assert!(state == "aborted" || state == "error", "{state}");
}
