//! `kill -9` of the orchestrator.

use runtimes::{Run, RunState, core::logs::LogLine};

use crate::chaos::{Order, Other, Scene, Work};

/// How many iterations [`Work::Sweep`] and [`Work::Processes`] have.
const ITERATIONS: usize = 6;

fn settle(scene: &Scene, what: &str) -> Vec<(Run, Vec<LogLine>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The second time finds what was started by the first.
    runtime.block_on(scene.settle(what));
    runtime.block_on(scene.settle(what))
}

/// Every iteration ran once, all have their results, and their run has the best of them.
fn ended_well(scene: &Scene, what: &str, ended: &[(Run, Vec<LogLine>)]) {
    let parent = ended.iter().map(|(run, _)| run).find(|run| run.metadata.iteration == 0);
    let parent = parent.unwrap_or_else(|| panic!("{what}: its run is lost"));
    assert_eq!(parent.state(), RunState::Completed, "{what}: {:?}", parent.status);
    let mut starts: Vec<_> =
        std::fs::read_to_string(scene.pids()).unwrap().lines().map(str::to_owned).collect();
    starts.sort();
    let expected: Vec<_> = (1..=ITERATIONS).map(|n| n.to_string()).collect();
    assert_eq!(starts, expected, "{what}: which iterations were started");
    assert_eq!(ended.len(), ITERATIONS + 1, "{what}");
    for (run, lines) in ended.iter().filter(|(run, _)| run.metadata.iteration > 0) {
        assert_eq!(run.status.results["answer"], run.metadata.iteration, "{what}: {:?}", run.status);
        let text: Vec<_> = lines.iter().map(LogLine::text).collect();
        assert_eq!(text, [format!("begin {}", run.metadata.iteration), "end".to_owned()], "{what}");
    }
    assert_eq!(parent.status.iterations.len(), ITERATIONS + 1, "{what}");
    assert_eq!(parent.status.results["best_iteration"], ITERATIONS, "{what}");
}

/// Each change of the store and each event, of the run and of its iterations, as they come.
fn dies_at_every_step(work: Work, steps: impl Iterator<Item = usize>, detached: bool) {
    for step in steps {
        let die = format!("step {step}");
        let what = format!("{work:?} that dies at {die}");
        let scene = Scene::new();
        let died = !Other::start(&scene, Order { die: &die, detached, ..Order::run(work) }).end().success();
        assert!(died || step > 20, "{what}: there were only {step} steps");
        match settle(&scene, &what).as_slice() {
            [] => assert!(died && scene.starts() == 0, "{what}"),
            ended => ended_well(&scene, &what, ended),
        }
        scene.is_clean(&what);
    }
}

#[test]
fn iterations_survive_every_step() {
    dies_at_every_step(Work::Sweep, 1..=30, false);
}

#[test]
fn detached_iterations_survive() {
    dies_at_every_step(Work::Processes, (1..=30).step_by(4), true);
}

#[test]
fn retries_survive_every_step() {
    for step in 1..=16 {
        let die = format!("step {step}");
        let what = format!("dies at {die}");
        let scene = Scene::new();
        let died = !Other::start(&scene, Order { die: &die, ..Order::run(Work::Flaky) }).end().success();
        match settle(&scene, &what).as_slice() {
            [] => assert!(died && scene.starts() == 0, "{what}"),
            [(run, lines)] => {
                assert_eq!(
                    (run.state(), scene.starts()),
                    (RunState::Completed, 3),
                    "{what}: {:?}",
                    run.status
                );
                assert_eq!(run.status.attempts.len(), 3, "{what}");
                let tries = |line: &LogLine| line.text().starts_with("try");
                let tries: Vec<_> = lines.iter().filter(|line| tries(line)).map(LogLine::text).collect();
                assert_eq!(tries, ["try 1", "try 2", "try 3"], "{what}");
            }
            more => panic!("{what}: {} runs", more.len()),
        }
        scene.is_clean(&what);
        if !died {
            assert!(step > 8, "{what}: there were only {step} steps");
            break;
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    for round in 0..12 {
        let delay = std::time::Duration::from_micros((seed * 7919 + round * 104_729) % 600_000);
        let what = format!("round {round}: {delay:?}");
        let scene = Scene::new();
        let mut other = Other::start(&scene, Order::run(Work::Sweep));
        assert!(other.until("@begin"));
        // The moment is drawn: there is nothing to wait for.
        std::thread::sleep(delay);
        other.kill();
        let ended = settle(&scene, &what);
        if !ended.is_empty() {
            ended_well(&scene, &what, &ended);
        }
        scene.is_clean(&what);
    }
}
