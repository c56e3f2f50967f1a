//! What is recorded of a run, and what is not.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use runtimes::{
    ErrorKind, Function, Orchestrator, Request, RunState, Update,
    core::{run::RunKey, store::RunFilter},
};

use crate::{chaos::Scene, shell, until_line, within};

const CODE: &str = r#"
def work(context, n: int):
    context.log_result("square", n * n)
    context.log_artifact("note", body=b"hello", local_path="note.txt")
    context.set_label("colour", "red")
    context.logger.info("working")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_artifacts_and_labels_are_recorded() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    for kind in ["local", "handler"] {
        let function = Function::new(kind, "work").with_code(CODE).with_handler("work");
        let mut request = Request::new(function).parameter("n", 7).label("size", "small").project("demo");
        request.base_dir = scene.path().to_owned();
        let run = within(orchestrator.run(request)).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
        assert_eq!((run.metadata.name.as_str(), run.metadata.project.as_str()), ("work-work", "demo"));
        assert_eq!(run.status.results["square"], 49);
        let labels = &run.metadata.labels;
        assert_eq!(
            (labels["colour"].as_str(), labels["size"].as_str(), labels["kind"].as_str()),
            ("red", "small", kind)
        );
        let [artifact] = run.status.artifacts.as_slice() else { panic!("{:?}", run.status.artifacts) };
        assert_eq!(artifact.metadata.key, "note");
        assert_eq!(std::fs::read(artifact.target_path()).unwrap(), b"hello");
        assert!(artifact.target_path().starts_with(scene.home().join("artifacts/demo").to_str().unwrap()));
        assert!(run.status.start_time <= run.status.end_time && run.status.end_time.is_some());
        // What is said is what is stored.
        assert_eq!(*orchestrator.find(&run.metadata.uid).await.unwrap().run, run);
        let filter = RunFilter {
            labels: BTreeMap::from([("colour".into(), "red".into()), ("kind".into(), kind.into())]),
            ..RunFilter::default()
        };
        assert_eq!(orchestrator.list(&filter).await.unwrap().len(), 1);
    }
    orchestrator.close().await.unwrap();
    scene.is_clean("recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_record_and_start_nothing() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let good = || shell(scene.path(), "echo $$ >>pids");
    let with = |change: fn(&mut Request)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let wrong = [
        (with(|request| request.function.kind = "locl".into()), ErrorKind::Unsupported, "local"),
        (
            with(|request| request.function.spec.command = "no-such-program".into()),
            ErrorKind::NotFound,
            "no-such-program",
        ),
        (with(|request| request.function.spec.command = "none.py".into()), ErrorKind::NotFound, "none.py"),
        (with(|request| request.function.spec.workdir = "nowhere".into()), ErrorKind::NotFound, "nowhere"),
        (with(|request| request.function.spec.command = String::new()), ErrorKind::Invalid, "spec.command"),
        (with(|request| request.name = "no spaces!".into()), ErrorKind::Invalid, "no spaces!"),
        (
            with(|request| drop(request.spec.inputs.insert("data".into(), "none.csv".into()))),
            ErrorKind::NotFound,
            "none.csv",
        ),
        (with(|request| request.function.spec.args = vec!["{none}".into()]), ErrorKind::Invalid, "none"),
        (
            with(|request| request.function.spec.build.function_source_code = "%%%".into()),
            ErrorKind::Invalid,
            "functionSourceCode",
        ),
        (
            with(|request| {
                request.function = request.function.clone().set_env_from_secret("A", "none", "key")
            }),
            ErrorKind::NotFound,
            "none",
        ),
        (Request::new(Function::new("handler", "h").with_handler("nothing")), ErrorKind::NotFound, "nothing"),
        (Request::new(Function::new("handler", "h").with_handler("rust_work")), ErrorKind::Invalid, "path"),
        (Request::new(Function::new("local", "h").with_code("def f(:\n")), ErrorKind::Invalid, "h.py"),
        (
            Request::new(Function::new("local", "h").with_code("def f(x): pass").with_handler("g")),
            ErrorKind::NotFound,
            "f",
        ),
    ];
    for (request, kind, says) in wrong {
        let error = orchestrator.run(request).await.map(|run| run.status).unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(error.kind() == kind, "{kind:?}: {error:?}");
    }
    let mut detached =
        Request::new(Function::new("handler", "h").with_handler("rust_work")).parameter("path", "pids");
    detached.detached = true;
    assert_eq!(orchestrator.run(detached).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(orchestrator.list(&RunFilter::default()).await.unwrap().is_empty());
    assert!(orchestrator.functions(None, true).await.unwrap().is_empty());
    assert!(!scene.home().join("runs").exists() && scene.starts() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let runs: Vec<_> = (0..200)
        .map(|i| {
            let orchestrator = orchestrator.clone();
            let request = shell(scene.path(), "echo line {i}; exit $(({i} % 3))").parameter("i", i);
            tokio::spawn(async move { orchestrator.run(request).await.unwrap() })
        })
        .collect();
    for (i, run) in runs.into_iter().enumerate() {
        let run = within(run).await.unwrap();
        let code = i32::try_from(i % 3).unwrap();
        assert_eq!(run.status.exit_code, Some(code));
        let lines: Vec<_> = orchestrator.logs(&run.key(), false).await.unwrap().try_collect().await.unwrap();
        assert_eq!(lines.iter().map(|line| line.text()).collect::<Vec<_>>(), [format!("line {i}")]);
    }
    let stored = orchestrator.list(&RunFilter::default()).await.unwrap();
    assert_eq!(stored.len(), 200);
    assert!(stored.iter().all(|record| record.run.state().is_terminal() && record.owner.is_empty()));
    within(orchestrator.idle()).await;
    orchestrator.close().await.unwrap();
    scene.is_clean("200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_and_functions_are_found_and_deleted() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let first = orchestrator.run(shell(scene.path(), "echo one").name("mine")).await.unwrap();
    let mut tagged = shell(scene.path(), "echo two").name("mine");
    tagged.tag = "prod".into();
    let second = orchestrator.run(tagged).await.unwrap();
    assert_eq!(*orchestrator.find("mine").await.unwrap().run, second, "the newest of a name");
    assert_eq!(*orchestrator.find(&first.metadata.uid[..10]).await.unwrap().run, first);
    assert_eq!(orchestrator.find("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);

    assert_eq!(orchestrator.functions(None, true).await.unwrap().len(), 2);
    let prod = orchestrator.function("shell:prod").await.unwrap();
    assert_eq!(
        orchestrator.function("default/shell").await.unwrap().function.metadata.hash,
        prod.function.metadata.hash
    );
    let hash = first.spec.function.rsplit_once('@').unwrap().1;
    let old = orchestrator.function(&format!("shell@{hash}")).await.unwrap();
    assert_eq!(old.function.spec.args[1], "echo one");

    let log = scene.home().join("runs").join(first.key().to_string());
    assert!(log.exists());
    orchestrator.delete(&first.key(), true).await.unwrap();
    assert!(!log.exists());
    assert_eq!(orchestrator.delete(&first.key(), true).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(orchestrator.watch(&first.key()).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(orchestrator.abort(&RunKey::new("0")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(orchestrator.abort(&second.key()).await.unwrap_err().kind(), ErrorKind::Conflict);

    let mut running = orchestrator.submit(shell(scene.path(), "echo ready; sleep 1000")).await.unwrap();
    until_line(&mut running, "ready").await;
    assert_eq!(orchestrator.delete(&running.key(), true).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(
        orchestrator.delete_function("default", "shell").await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(within(orchestrator.abort(&running.key())).await.unwrap().state(), RunState::Aborted);
    assert_eq!(orchestrator.delete_function("default", "shell").await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_watched_to_its_end() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut handle =
        orchestrator.submit(shell(scene.path(), "for i in 1 2 3; do echo $i; done; exit 4")).await.unwrap();
    let (mut states, mut lines) = (Vec::new(), Vec::new());
    while let Some(update) = within(handle.next()).await {
        match update {
            Update::Run(run) => states.push(run.state()),
            Update::Log(line) => {
                assert!(!states.contains(&RunState::Error), "a line after the end");
                lines.push(line.text().into_owned());
            }
            Update::Progress(_) => {}
        }
    }
    assert_eq!(lines, ["1", "2", "3"]);
    assert_eq!(states.last(), Some(&RunState::Error));
    assert!(states.windows(2).all(|pair| pair[0].may_become(pair[1])), "{states:?}");
    assert!(handle.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_go_where_they_are_asked_to() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let code = "def work(context):\n    context.log_artifact('a', body='x', local_path='a.txt')\n";
    let mut request = Request::new(Function::new("local", "w").with_code(code).with_handler("work"));
    request.base_dir = scene.path().to_owned();
    request.spec.output_path = "out/{{run.uid}}/{{project}}".into();
    let run = within(orchestrator.run(request)).await.unwrap();
    let folder = scene.path().join("out").join(&run.metadata.uid).join("default");
    let artifact = run.status.artifacts.first().unwrap_or_else(|| panic!("{:?}", run.status));
    assert!(artifact.target_path().starts_with(folder.to_str().unwrap()), "{}", artifact.target_path());
    assert!(std::path::Path::new(artifact.target_path()).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_user_should_know_is_noted_once() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut request = shell(scene.path(), "true");
    request.function.spec.extra.insert("replcas_of_mine".into(), 1.into());
    match orchestrator.run(request).await {
        // Either it is refused, or the run says that it has no effect.
        Ok(run) => {
            assert_eq!(run.status.notes.iter().filter(|note| note.contains("replcas_of_mine")).count(), 1)
        }
        Err(error) => assert!(error.to_string().contains("replcas_of_mine"), "{error}"),
    }
}
