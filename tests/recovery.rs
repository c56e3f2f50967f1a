//! `kill -9` of the orchestrator, of a supervisor, of the work itself, at every step and at any moment: the next
//! orchestrator on the same home tells the truth about every run, starts none twice, and leaves nothing behind.
#![cfg(all(feature = "sqlite", feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod chaos;

use std::time::Duration;

use chaos::{Order, Other, Scene, Work};
use runtimes::{Orchestrator, Run, RunState, Update, core::run::Reason};
use rustix::process::Signal;

/// An orchestrator in a process of its own, when another test starts it; does nothing by itself.
#[test]
fn other() {
    chaos::other();
}

const STEPS: [&str; 16] = [
    "before created",
    "after created",
    "before apply",
    "after apply",
    "event 1",
    "event 2",
    "before running",
    "after running",
    "event 5",
    "event 20",
    "last event",
    "before end",
    "after end",
    "before release",
    "after release",
    "before close",
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

/// Numbers that look random; the seed is printed, and can be given.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = std::env::var("RUNTIMES_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7919);
        println!("RUNTIMES_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn killed_at_any_moment() {
    let mut dice = Dice::new();
    for round in 0..60 {
        let work = Work::ALL[round % Work::ALL.len()];
        let detached = matches!(work, Work::Shell | Work::Program | Work::Handler) && dice.below(2) == 0;
        let abort = dice.below(4) == 0;
        let delay = Duration::from_micros(dice.below(400_000));
        let what = format!("round {round}: {work:?}, abort {abort}, {delay:?}");
        let scene = Scene::new();
        let mut other = Other::start(&scene, Order { detached, abort, ..Order::run(work) });
        assert!(other.until("@begin"));
        // The moment is drawn: there is nothing to wait for.
        std::thread::sleep(delay);
        other.kill();
        let ended = settle(&scene, &what);
        assert!(ended.len() <= 1 && scene.starts() <= 1, "{what}: {} starts", scene.starts());
        for (run, lines) in &ended {
            match run.state() {
                RunState::Aborted if abort => scene.logged(&what, work, lines, None),
                _ if work == Work::Rust => scene.lost_or_ended(&what, &ended),
                _ => scene.ended_well(&what, work, &ended),
            }
        }
        scene.is_clean(&what);
    }
}

#[test]
fn killed_while_it_aborts() {
    for work in [Work::Shell, Work::Handler, Work::Forked, Work::Reuse] {
        for die in
            ["before aborting", "after aborting", "before abort", "after abort", "before end", "after end"]
        {
            let what = format!("{work:?} that dies {die} of an abort");
            let scene = Scene::new();
            scene.hold();
            let order = Order { die, abort: true, ..Order::run(work) };
            assert!(!Other::start(&scene, order).end().success(), "{what}");
            // Nobody had written that it was to stop.
            let goes_on = die == "before aborting";
            if goes_on {
                scene.let_go();
            }
            let ended = settle(&scene, &what);
            let [(run, lines)] = ended.as_slice() else { panic!("{what}: {} runs", ended.len()) };
            if goes_on {
                scene.ended_well(&what, work, &ended);
            } else {
                assert_eq!(run.state(), RunState::Aborted, "{what}: {:?}", run.status);
                scene.logged(&what, work, lines, None);
            }
            assert_eq!(scene.starts(), 1, "{what}");
            scene.is_clean(&what);
        }
    }
}

/// Kills one process of a run while its orchestrator lives; returns the run's end.
fn loses(work: Work, choose: impl Fn(&Scene) -> (i32, bool)) -> (Scene, Run) {
    let scene = Scene::new();
    scene.hold();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let run = runtime.block_on(async {
        let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
        let mut handle = orchestrator.submit(work.request(&scene)).await.unwrap();
        loop {
            match handle.next().await.unwrap() {
                Update::Log(line) if line.text() == "out 3" => break,
                _ => {}
            }
        }
        let (pid, group) = choose(&scene);
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        if group {
            rustix::process::kill_process_group(pid, Signal::KILL).unwrap();
        } else {
            rustix::process::kill_process(pid, Signal::KILL).unwrap();
        }
        if work == Work::Forked {
            // It lives longer than its template.
            scene.let_go();
        }
        let run = tokio::time::timeout(chaos::scene::PATIENCE, handle.wait()).await.unwrap().unwrap();
        orchestrator.close().await.unwrap();
        run
    });
    scene.is_clean(&format!("{work:?}"));
    (scene, run)
}

fn reason(run: &Run) -> Option<Reason> {
    run.status.cause.as_ref().map(|cause| cause.reason)
}

#[test]
fn the_work_is_killed() {
    for work in [Work::Shell, Work::Program, Work::Handler, Work::Forked] {
        let (scene, run) = loses(work, |scene| (scene.worker(), false));
        assert_eq!(
            (run.state(), reason(&run)),
            (RunState::Error, Some(Reason::Signal)),
            "{work:?} {:?}",
            run.status
        );
        assert_eq!((run.status.exit_code, scene.starts()), (Some(137), 1), "{work:?}");
    }
}

#[test]
fn the_supervisor_is_killed() {
    for work in [Work::Shell, Work::Program, Work::Handler] {
        for group in [false, true] {
            let (scene, run) = loses(work, |scene| (scene.supervisor(), group));
            assert_eq!(
                (run.state(), reason(&run)),
                (RunState::Error, Some(Reason::Lost)),
                "{work:?} {:?}",
                run.status
            );
            assert_eq!(scene.starts(), 1);
        }
    }
}

#[test]
fn the_template_is_killed() {
    // A forked handler goes on without it; a worker is the template.
    let (scene, run) = loses(Work::Forked, |scene| (scene.parent_of_worker(), false));
    assert_eq!((run.state(), scene.starts()), (RunState::Completed, 1), "{:?}", run.status);
    let (scene, run) = loses(Work::Reuse, |scene| (scene.worker(), false));
    assert_eq!((run.state(), scene.starts()), (RunState::Error, 1), "{:?}", run.status);
}

#[test]
fn killed_while_packages_are_installed() {
    for moment in ["@doing creating", "@doing installing", "@running"] {
        let scene = Scene::new();
        let mut other = Other::start(&scene, Order::run(Work::Packaged));
        assert!(other.until(moment), "{moment}");
        other.kill();
        let ended = settle(&scene, moment);
        scene.ended_well(moment, Work::Packaged, &ended);
        scene.is_clean(moment);
    }
}
