//! What a run with hyper-parameters does where nothing goes wrong, and where iterations do.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use runtimes::{
    ErrorKind, Function, Orchestrator, Request, RunState, Update,
    core::{
        logs::LogLine,
        run::{Reason, RunKey, hyper::Strategy},
        serde_json::{Value, json},
        store::RunFilter,
    },
};

use crate::{chaos::Scene, within};

const CODE: &str = r#"
def work(context, a: int, b: str = "x"):
    print("given", a, b)
    if b == "bad":
        raise ValueError("not this one")
    context.log_result("score", a * 10 + len(b))
    context.log_artifact("note", body=str(a))
"#;

fn request(scene: &Scene, kind: &str, hyperparams: Value) -> Request {
    let mut request = Request::new(Function::new(kind, "work").with_code(CODE).with_handler("work"));
    request.base_dir = scene.path().to_owned();
    request.spec.hyperparams = runtimes::core::serde_json::from_value(hyperparams).unwrap();
    request.spec.hyper_param_options.selector = Some("max.score".to_owned());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iterations_are_runs_and_their_run_has_the_best() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    for (kind, parallel) in [("handler", None), ("local", Some(3))] {
        let mut request = request(&scene, kind, json!({"a": [1, 3, 2], "b": ["x", "yy"]}));
        request.spec.hyper_param_options.parallel_runs = parallel;
        let run = within(orchestrator.run(request)).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
        assert_eq!(Value::Object(run.status.results.clone()), json!({"best_iteration": 5, "score": 32}));
        let table = &run.status.iterations;
        assert_eq!(
            Value::from(table[0].clone()),
            json!(["state", "iter", "param.a", "param.b", "output.score"])
        );
        assert_eq!(Value::from(table[5].clone()), json!(["completed", 5, 3, "yy", 32]));
        assert_eq!(table.len(), 7);

        let children = orchestrator.iterations(&run.metadata.uid).await.unwrap();
        assert_eq!(children.len(), 6);
        let fifth = orchestrator.find(&format!("{}-5", &run.metadata.uid[..12])).await.unwrap().run;
        assert_eq!(fifth, children[4].run);
        assert_eq!(Value::Object(fifth.spec.parameters.clone()), json!({"a": 3, "b": "yy"}));
        let lines = orchestrator.logs(&fifth.key(), false).await.unwrap();
        let lines: Vec<LogLine> = lines.try_collect().await.unwrap();
        assert_eq!(lines.iter().map(LogLine::text).collect::<Vec<_>>(), ["given 3 yy"]);

        // The best one's artifacts, the table and the picture.
        let files: BTreeMap<&str, &str> = run
            .status
            .artifacts
            .iter()
            .map(|artifact| (artifact.metadata.key.as_str(), artifact.target_path()))
            .collect();
        assert_eq!(std::fs::read_to_string(files["note"]).unwrap(), "3");
        let csv = std::fs::read_to_string(files["iteration_results"]).unwrap();
        assert!(csv.lines().any(|line| line == "completed,5,3,yy,32"), "{csv}");
        assert!(std::fs::read_to_string(files["parallel_coordinates"]).unwrap().contains("\"best\":5"));

        // Lists have the run alone, unless they are asked for all.
        let filter = RunFilter { iteration: Some(0), ..RunFilter::default() };
        assert!(orchestrator.list(&filter).await.unwrap().iter().all(|record| record.run.spec.is_hyper()));
        orchestrator.delete(&run.key(), true).await.unwrap();
        assert!(orchestrator.list(&RunFilter::default()).await.unwrap().is_empty());
        assert!(!std::path::Path::new(files["note"]).exists());
    }
    orchestrator.close().await.unwrap();
    scene.is_clean("iterations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_iteration_writes_below_the_given_folder() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut request = request(&scene, "handler", json!({"a": [1, 2]}));
    request.spec.output_path = scene.path().join("out/{{run.uid}}").display().to_string();
    let run = within(orchestrator.run(request)).await.unwrap();
    let out = scene.path().join("out").join(&run.metadata.uid);
    let note = |n: &str| std::fs::read_to_string(out.join(n).join("note")).unwrap();
    assert_eq!((note("1").as_str(), note("2").as_str()), ("1", "2"));
    assert!(out.join("iteration_results.csv").is_file() && out.join("parallel_coordinates.html").is_file());
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_conditions_end_it_early() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let bad = json!({"b": ["bad", "x", "bad", "y"], "a": [1]});

    let run = within(orchestrator.run(request(&scene, "handler", bad.clone()))).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
    assert!(
        run.status.notes.contains(&"2 of 4 iterations failed: 1, 3".to_owned()),
        "{:?}",
        run.status.notes
    );

    let mut strict = request(&scene, "handler", bad);
    strict.spec.hyper_param_options.max_errors = Some(0);
    let run = within(orchestrator.run(strict)).await.unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::IterationsFailed));
    assert!(cause.message.contains("ValueError: not this one"), "{}", cause.message);
    assert_eq!(orchestrator.iterations(&run.metadata.uid).await.unwrap().len(), 1);

    let mut stopping = request(&scene, "handler", json!({"a": [1, 2, 3, 4, 5]}));
    stopping.spec.hyper_param_options.stop_condition = Some("score > 20 and not score > 30".to_owned());
    let run = within(orchestrator.run(stopping)).await.unwrap();
    assert_eq!(run.status.results["best_iteration"], 2);
    assert_eq!(orchestrator.iterations(&run.metadata.uid).await.unwrap().len(), 2);
    assert!(
        run.status.notes.iter().any(|note| note.starts_with("stopped after 2 of 5")),
        "{:?}",
        run.status.notes
    );

    let mut lost = request(&scene, "handler", json!({"a": [1]}));
    lost.spec.hyper_param_options.selector = Some("max.scroe".to_owned());
    let run = within(orchestrator.run(lost)).await.unwrap();
    assert!(
        run.status.notes.iter().any(|note| note.contains("did you mean `score`?")),
        "{:?}",
        run.status.notes
    );
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_draw_can_be_had_again() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let values: Vec<u32> = (0..100).collect();
    let mut first = request(&scene, "handler", json!({"a": values}));
    first.spec.hyper_param_options.strategy = Some(Strategy::Random);
    first.spec.hyper_param_options.max_iterations = Some(4);
    let mut again = first.clone();
    let run = within(orchestrator.run(first)).await.unwrap();
    // What was drawn follows from a seed, which is on the run where none was given.
    again.spec.hyper_param_options.seed = run.spec.hyper_param_options.seed;
    assert!(again.spec.hyper_param_options.seed.is_some());
    let same = within(orchestrator.run(again)).await.unwrap();
    assert_eq!(run.status.iterations, same.status.iterations);
    assert_eq!(run.status.iterations.len(), 5);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_before_anything_is_started() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    std::fs::write(scene.path().join("p.csv"), "a\n1\ntwo\n").unwrap();
    let with = |change: fn(&mut Request)| {
        let mut request = request(&scene, "handler", json!({"a": [1, 2]}));
        change(&mut request);
        request
    };
    for (request, part) in [
        (
            with(|request| request.spec.hyperparams = [("b".to_owned(), json!(["x"]))].into_iter().collect()),
            "iteration: 1 (b=",
        ),
        (
            with(|request| drop(request.spec.hyperparams.insert("a".into(), json!([1, "two"])))),
            "iteration: 2 (a=",
        ),
        (with(|request| drop(request.spec.hyperparams.insert("a".into(), json!([])))), "hyperparams.a"),
        (with(|request| request.spec.hyper_param_options.stop_condition = Some("a >".into())), "column 4"),
        (
            with(|request| {
                request.spec.hyperparams.clear();
                request.spec.hyper_param_options.param_file = Some("q.csv".into());
            }),
            "q.csv",
        ),
        (
            with(|request| drop(request.spec.state_thresholds.insert("exeuting".into(), "1h".into()))),
            "did you mean `executing`?",
        ),
    ] {
        let error = orchestrator.submit(request).await.err();
        let error = error.unwrap_or_else(|| panic!("nothing was said of {part}"));
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{error}");
        assert!(error.to_string().contains(part), "{part:?} in {error}");
    }
    assert!(orchestrator.list(&RunFilter::default()).await.unwrap().is_empty());
    orchestrator.close().await.unwrap();
}

const SLOW: &str = r#"
import time
def work(a):
    print("begun", a, flush=True)
    time.sleep(600)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_ends_all_of_it() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut request = request(&scene, "handler", json!({"a": [1, 2, 3, 4]}));
    request.function = Function::new("handler", "slow").with_code(SLOW).with_handler("work");
    request.spec.hyper_param_options.parallel_runs = Some(2);
    let handle = orchestrator.submit(request).await.unwrap();
    let key = handle.key();
    for iteration in [1, 2] {
        let child = RunKey { uid: key.uid.clone(), iteration };
        loop {
            // It is recorded a moment after its run.
            match orchestrator.watch(&child).await {
                Err(_) => tokio::task::yield_now().await,
                Ok(mut handle) => {
                    while !matches!(within(handle.next()).await, Some(Update::Log(_))) {}
                    break;
                }
            }
        }
    }
    // One iteration alone is stopped, and another takes its place. It stays as long as its run goes on, which would
    // start it again.
    let second = within(orchestrator.abort(&RunKey { uid: key.uid.clone(), iteration: 2 })).await.unwrap();
    assert_eq!(second.state(), RunState::Aborted);
    assert_eq!(orchestrator.delete(&second.key(), false).await.unwrap_err().kind(), ErrorKind::Conflict);
    let run = within(orchestrator.abort(&key)).await.unwrap();
    assert_eq!(run.state(), RunState::Aborted, "{:?}", run.status);
    let children = orchestrator.iterations(&key.uid).await.unwrap();
    assert!((2..=3).contains(&children.len()), "{}", children.len());
    assert!(children.iter().all(|child| child.run.state() == RunState::Aborted));
    assert_eq!(run.status.iterations.len(), children.len() + 1);
    assert_eq!(within(handle.wait()).await.unwrap(), run);
    orchestrator.close().await.unwrap();
    scene.is_clean("aborted");
}
