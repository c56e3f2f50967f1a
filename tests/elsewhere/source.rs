//! `build.source`: where the code of a run comes from.

use std::{fs, net::TcpListener, path::Path, process::Command, sync::atomic::Ordering, time::Duration};

use runtimes::{Function, Orchestrator, Request, Run, RunState, core::labels, source::Sources};

use crate::scene::{Scene, Server, git, quiet};

/// Code in two folders, one of which imports from the other.
fn code(scene: &Scene, folder: &str, n: u32) {
    scene.write(&format!("{folder}/lib/helper.py"), &format!("N = {n}\n"));
    scene.write(&format!("{folder}/data/x.txt"), "hello");
    let main = "import os, helper\n\ndef fit(context):\n    open('out.txt', 'w').write('x')\n    \
                context.log_result('n', helper.N)\n    context.log_result('x', open('../data/x.txt').read())\n    \
                context.log_result('cwd', os.getcwd())\n";
    scene.write(&format!("{folder}/src/train.py"), main);
}

fn function(source: &str) -> Function {
    let mut function = Function::new("local", "train").with_command("train.py").with_handler("fit");
    function.spec.workdir = "src".to_owned();
    function.spec.pythonpath = "../lib".to_owned();
    function.with_source(source)
}

async fn run(scene: &Scene, orchestrator: &Orchestrator, function: Function) -> Run {
    let mut request = Request::new(function);
    request.base_dir = scene.path(".");
    orchestrator.run(request).await.unwrap()
}

#[track_caller]
fn completed(run: &Run, n: u32) {
    assert_eq!(run.state(), RunState::Completed, "{run:#?}");
    assert_eq!((&run.status.results["n"], &run.status.results["x"]), (&n.into(), &"hello".into()));
}

/// Nothing is left in the home of what runs worked in, and nothing that was not finished.
fn is_clean(scene: &Scene) {
    let work = fs::read_dir(scene.path("home/work")).into_iter().flatten().count();
    assert_eq!(work, 0);
    for entry in fs::read_dir(scene.path("home/sources")).into_iter().flatten().flatten() {
        assert!(!entry.file_name().to_string_lossy().contains("partial"), "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_at_a_branch_a_tag_and_a_commit() {
    let scene = Scene::new();
    code(&scene, "repo", 1);
    let first = scene.commit("repo");
    git(&scene.path("repo"), &["tag", "-a", "v1", "-m", "one"]);
    code(&scene, "repo", 2);
    let second = scene.commit("repo");
    let orchestrator = scene.open().await;
    let url = format!("git+file://{}", scene.path("repo").display());
    for (reference, n, commit) in [
        ("", 2, &second),
        ("#main", 2, &second),
        ("#refs/heads/main", 2, &second),
        ("#v1", 1, &first),
        (&format!("#{first}"), 1, &first),
    ] {
        let run = run(&scene, &orchestrator, function(&format!("{url}{reference}"))).await;
        completed(&run, n);
        let annotations = &run.metadata.annotations;
        assert_eq!(&annotations[labels::SOURCE_COMMIT], commit);
        assert!(annotations[labels::SOURCE].ends_with(&format!("#{commit}")), "{annotations:?}");
        // It worked in a copy: the next run does not find what this one wrote.
        assert!(
            run.status.results["cwd"]
                .as_str()
                .unwrap()
                .starts_with(scene.path("home/work").to_str().unwrap())
        );
    }
    assert!(!scene.path("repo/src/out.txt").exists());
    let gone = run(&scene, &orchestrator, function(&format!("{url}#nowhere"))).await;
    assert_eq!(gone.state(), RunState::Error);
    let cause = gone.status.cause.unwrap();
    assert!(cause.message.contains("no branch or tag \"nowhere\""), "{}", cause.message);
    orchestrator.close().await.unwrap();
    is_clean(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_and_folders() {
    let scene = Scene::new();
    code(&scene, "code", 3);
    let packed = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).current_dir(scene.path("code")).status().unwrap();
        assert!(status.success());
    };
    packed("tar", &["czf", "../code.tgz", "."]);
    packed("python3", &["-m", "zipfile", "-c", "../code.zip", "src", "lib", "data"]);
    let orchestrator = scene.open().await;
    for source in ["code.tgz", "code.zip", "code"] {
        let run = run(&scene, &orchestrator, function(source)).await;
        completed(&run, 3);
    }
    // Paths of a cluster, below the folder into which the source goes there, mean the source.
    let mut there = function("code.tgz");
    there.spec.clone_target_dir = "/home/mlrun_code".to_owned();
    there.spec.workdir = "/home/mlrun_code/src".to_owned();
    there.spec.pythonpath = "/home/mlrun_code/lib".to_owned();
    completed(&run(&scene, &orchestrator, there).await, 3);
    let mut missing = function("code.tgz");
    missing.spec.command = "tarin.py".to_owned();
    let missing = run(&scene, &orchestrator, missing).await.status.cause.unwrap();
    assert_eq!(missing.message, "spec.command: there is no file src/tarin.py in the source", "{missing:?}");
    assert!(missing.help.as_ref().unwrap().contains("train.py"), "{missing:?}");
    // A warm handler shares its code with others, and so its process.
    let warm = Function::new("handler", "warm").with_handler("train:fit").with_source("code.zip");
    let warm = Function {
        spec: runtimes::core::function::Spec {
            workdir: "src".into(),
            pythonpath: "../lib".into(),
            ..warm.spec
        },
        ..warm
    };
    completed(&run(&scene, &orchestrator, warm).await, 3);
    orchestrator.close().await.unwrap();
    is_clean(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_anything_starts() {
    let scene = Scene::new();
    let orchestrator = scene.open().await;
    for (source, part) in [
        ("gone.tgz", "there is no"),
        ("s4://bucket/x.tgz", "not known here"),
        ("https://host/page.html", "neither an archive nor a repository"),
        ("git://host/x.git#a b", "no branch"),
        ("git+https://TOKEN@host/x.git#a:../b", "leaves the repository"),
    ] {
        let mut request = Request::new(function(source));
        request.base_dir = scene.path(".");
        let error = orchestrator.submit(request).await.err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("TOKEN"), "{source}: {error}");
    }
    scene.write("page.tgz", "<html>");
    let run = run(&scene, &orchestrator, function("page.tgz")).await;
    assert!(run.status.error.unwrap().contains("page.tgz is refused"));
    orchestrator.close().await.unwrap();
    is_clean(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_by_http_is_fetched_once_and_used_without_the_server() {
    let scene = Scene::new();
    code(&scene, "code", 4);
    let packed =
        Command::new("tar").args(["czf", "../code.tgz", "."]).current_dir(scene.path("code")).status();
    assert!(packed.unwrap().success());
    let server = Server::start(scene.path("."));
    let orchestrator = scene.open().await;
    let function = function(&format!("{}/code.tgz", server.url));
    for _ in 0..2 {
        completed(&run(&scene, &orchestrator, function.clone()).await, 4);
    }
    assert_eq!(server.sent.load(Ordering::SeqCst), 1);
    server.leave();
    let offline = run(&scene, &orchestrator, function).await;
    completed(&offline, 4);
    assert!(
        offline.status.notes.iter().any(|note| note.contains("cannot be reached")),
        "{:?}",
        offline.status.notes
    );
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_stopped_while_its_source_is_fetched() {
    let scene = Scene::new();
    // Somebody who takes calls and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let orchestrator = scene.open().await;
    let address = format!("http://{}/code.tgz", silent.local_addr().unwrap());
    let handle = orchestrator.submit(Request::new(function(&address))).await.unwrap();
    let key = handle.key();
    tokio::task::spawn_blocking(move || silent.accept().map(drop)).await.unwrap().unwrap();
    let aborted =
        tokio::time::timeout(Duration::from_secs(60), orchestrator.abort(&key)).await.unwrap().unwrap();
    assert_eq!(aborted.state(), RunState::Aborted);
    orchestrator.close().await.unwrap();
    is_clean(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_it_once_and_what_nobody_uses_is_pruned() {
    let scene = Scene::new();
    code(&scene, "repo", 5);
    scene.commit("repo");
    let url = format!("git+file://{}", scene.path("repo").display());
    let sources = Sources::new(scene.path("home"));
    let base = scene.path(".");
    let one = || async { sources.prepare(&url, &base, &quiet).await.unwrap() };
    let all = futures_util::future::join_all((0..16).map(|_| one())).await;
    assert!(all.iter().all(|prepared| prepared.path == all[0].path && is_whole(&prepared.path)));
    assert_eq!(sources.prune(Duration::ZERO).unwrap().0, 0, "it is in use");
    drop(all);
    assert_eq!(sources.prune(Duration::from_secs(3600)).unwrap().0, 0, "it was used just now");
    assert_eq!(sources.prune(Duration::ZERO).unwrap().0, 1);
    assert!(is_whole(&one().await.path));
}

fn is_whole(folder: &Path) -> bool {
    folder.join("src/train.py").is_file() && folder.join("lib/helper.py").is_file()
}

#[tokio::test(flavor = "multi_thread")]
async fn iterations_and_repetitions_have_the_same_commit() {
    let scene = Scene::new();
    code(&scene, "repo", 6);
    let first = scene.commit("repo");
    let url = format!("git+file://{}", scene.path("repo").display());
    let orchestrator = scene.open().await;
    let mut request = Request::new(function(&url));
    request.base_dir = scene.path(".");
    request.function.spec.command = "main.py".to_owned();
    scene.write("repo/src/main.py", "import os, helper\n\ndef fit(context, a: int = 0):\n    context.log_result('n', helper.N + a)\n    context.log_result('cwd', os.getcwd())\n");
    let second = scene.commit("repo");
    assert_ne!(first, second);
    request.spec.hyperparams = runtimes::core::serde_json::from_str(r#"{"a": [1, 2, 3]}"#).unwrap();
    let swept = orchestrator.run(request).await.unwrap();
    assert_eq!(swept.state(), RunState::Completed, "{swept:#?}");
    let iterations = orchestrator.iterations(&swept.metadata.uid).await.unwrap();
    let folders: std::collections::BTreeSet<_> =
        iterations.iter().map(|iteration| iteration.run.status.results["cwd"].to_string()).collect();
    assert_eq!(folders.len(), 3, "each has a folder of its own");
    assert!(iterations.iter().all(|one| one.run.metadata.annotations[labels::SOURCE_COMMIT] == second));

    // The branch goes on; what is run again does not.
    let key = iterations[0].run.key();
    code(&scene, "repo", 7);
    scene.commit("repo");
    let again = orchestrator.rerun(&key).await.unwrap().wait().await.unwrap();
    assert_eq!(again.status.results.get("n"), Some(&7.into()), "{again:#?}");
    assert_eq!(again.metadata.annotations[labels::SOURCE_COMMIT], second);
    orchestrator.close().await.unwrap();
    is_clean(&scene);
}
