//! `kill -9` of the orchestrator, of a supervisor, of the work itself, at every step and at any moment: the next
//! orchestrator on the same home tells the truth about every run, starts none twice, and leaves nothing behind.
#![cfg(all(feature = "sqlite", feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod chaos;

use chaos::{Order, Other, Scene, Work};

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    chaos::other();
}

const STEPS: [&str; 16] = [
    "before created", "after created", "before apply", "after apply", "event 1", "event 2", "before running",
    "after running", "event 5", "event 20", "last event", "before end", "after end", "before release",
    "after release", "before close",
];

/// Dies at each step; returns what became of the run.
fn dies_at_every_step(work: Work, detached: bool) {
    for die in STEPS {
        let what = format!("{work:?} that dies {die}");
        let scene = Scene::new();
        let order = Order { die, detached, ..Order::run(work) };
        assert!(!Other::start(&scene, order).end().success(), "{what}: did not die");
        let ended = settle(&scene, &what);
        match (die, work) {
            ("before created", _) => assert!(ended.is_empty() && scene.starts() == 0, "{what}"),
            ("after end" | "before release" | "after release" | "before close", _) => {
                scene.ended_well(&what, work, &ended);
            }
            (_, Work::Rust) => scene.lost_or_ended(&what, &ended),
            _ => scene.ended_well(&what, work, &ended),
        }
        scene.is_clean(&what);
    }
}

fn settle(scene: &Scene, what: &str) -> Vec<(runtimes::Run, Vec<runtimes::core::logs::LogLine>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(scene.settle(what))
}

#[test]
fn shell_programs_survive_every_step() {
    dies_at_every_step(Work::Shell, false);
}

#[test]
fn detached_programs_survive_every_step() {
    dies_at_every_step(Work::Program, true);
}

#[test]
fn local_handlers_survive_every_step() {
    dies_at_every_step(Work::Handler, false);
}

#[test]
fn forked_handlers_survive_every_step() {
    dies_at_every_step(Work::Forked, false);
}

#[test]
fn reused_workers_survive_every_step() {
    dies_at_every_step(Work::Reuse, false);
}

#[test]
fn rust_handlers_are_never_called_twice() {
    dies_at_every_step(Work::Rust, false);
}
