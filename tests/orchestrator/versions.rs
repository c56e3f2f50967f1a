//! Functions by version, and runs that are run again.

use std::{fs, os::unix::fs::PermissionsExt};

use runtimes::{
    ErrorKind, Function, Orchestrator, Request, RunState,
    core::{labels, run::RunKey},
};

use crate::{chaos::Scene, within};

const CODE: &str = "\
import os
def work(data, n: int = 1):
    return n + int(open(str(data)).read()), os.environ['MODE']
";

fn function(code: &str) -> Function {
    Function::new("local", "work")
        .with_project("demo")
        .with_code(code)
        .with_handler("work")
        .set_env("MODE", "fast")
}

fn request(scene: &Scene, code: &str) -> Request {
    let request = Request::new(function(code))
        .parameter("n", 2)
        .input("data", "data.txt")
        .returns("sum")
        .returns("mode");
    Request { base_dir: scene.path().to_owned(), ..request.label("team", "a").name("first") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_found_by_tag_and_hash() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let one = orchestrator.save(function("a = 1\n")).await.unwrap();
    let same = orchestrator.save(function("a = 1\n")).await.unwrap();
    assert_eq!(
        (&same.function, same.created),
        (&one.function, one.created),
        "the same content is one version"
    );
    let two = orchestrator.save(Request { tag: "v2".into(), ..function("a = 2\n").into() }).await.unwrap();
    assert_eq!(two.tags, ["latest", "v2"]);
    assert_eq!(orchestrator.functions(Some("demo"), true).await.unwrap().len(), 2);

    let hash = one.function.metadata.hash.clone();
    assert_eq!(hash, one.function.hash());
    let tagged = orchestrator.tag(&format!("demo/work@{}", &hash[..7]), "prod").await.unwrap();
    assert_eq!(tagged.tags, ["prod"], "no other tag moves");
    let found = |uri: &'static str| {
        let orchestrator = orchestrator.clone();
        async move { orchestrator.function(uri).await.map(|record| record.function.metadata.hash) }
    };
    assert_eq!(found("db://demo/work:prod").await.unwrap(), hash);
    assert_eq!(found("demo/work").await.unwrap(), two.function.metadata.hash);
    let error = found("demo/work:none").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.help_text().unwrap().contains(&format!("@{} (prod)", &hash[..7])), "{error}");
    assert!(found("demo/wrok").await.unwrap_err().help_text().unwrap().contains("`work`"));
    for (uri, kind) in [("demo/work@xyz", ErrorKind::Invalid), ("a/b/c", ErrorKind::Invalid)] {
        assert_eq!(found(uri).await.unwrap_err().kind(), kind, "{uri}");
    }
    assert_eq!(orchestrator.tag("demo/work", "no spaces").await.unwrap_err().kind(), ErrorKind::Invalid);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_an_old_version_leaves_the_tags_where_they_are() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let old = orchestrator.save(function("def work(): return 1\n")).await.unwrap();
    let new = orchestrator.save(function("def work(): return 2\n")).await.unwrap();
    let hash = |record: &runtimes::core::store::FunctionRecord| record.function.metadata.hash.clone();
    let run = within(orchestrator.run(Request::stored(old.clone()))).await.unwrap();
    assert_eq!(run.spec.function, format!("demo/work@{}", hash(&old)), "it ran precisely that version");
    assert_eq!(run.status.results["return"], 1);
    assert_eq!(hash(&orchestrator.function("demo/work").await.unwrap()), hash(&new));
    let tagged = Request { tag: "prod".into(), ..Request::stored(old.clone()) };
    within(orchestrator.run(tagged)).await.unwrap();
    assert_eq!(hash(&orchestrator.function("demo/work:prod").await.unwrap()), hash(&old));
    assert_eq!(hash(&orchestrator.function("demo/work").await.unwrap()), hash(&new));
    // A function that is changed is another version, wherever it came from.
    let mut changed = Request::stored(old);
    changed.function.spec.description = "changed".to_owned();
    within(orchestrator.run(changed)).await.unwrap();
    assert_eq!(orchestrator.functions(Some("demo"), true).await.unwrap().len(), 3);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_run_again_as_it_was() {
    let scene = Scene::new();
    fs::write(scene.path().join("data.txt"), "40").unwrap();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let first = within(orchestrator.run(request(&scene, CODE))).await.unwrap();
    assert_eq!(
        (first.state(), &first.status.results["sum"]),
        (RunState::Completed, &42.into()),
        "{:?}",
        first.status
    );
    // Another version came in between: it is not what is run again.
    orchestrator.save(function("def work(): ...\n")).await.unwrap();

    let reproduction = orchestrator.reproduce(&first.key()).await.unwrap();
    assert_eq!(reproduction.differences, Vec::<String>::new());
    let again = within(orchestrator.rerun(&first.key()).await.unwrap().wait()).await.unwrap();
    assert_ne!(again.metadata.uid, first.metadata.uid);
    assert_eq!(again.spec, first.spec);
    assert_eq!(again.status.results, first.status.results);
    assert_eq!(again.metadata.labels, first.metadata.labels);
    assert_eq!((again.metadata.name.as_str(), again.metadata.project.as_str()), ("first", "demo"));
    assert_eq!(again.metadata.annotations[labels::RERUN_OF], first.metadata.uid);
    assert_eq!(again.status.notes, Vec::<String>::new());
    // And that one, too.
    let third = within(orchestrator.rerun(&again.key()).await.unwrap().wait()).await.unwrap();
    assert_eq!(third.spec, first.spec);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_as_it_was_is_said() {
    let scene = Scene::new();
    let git = scene.path().join(".git");
    fs::create_dir_all(&git).unwrap();
    fs::write(git.join("HEAD"), "1".repeat(40)).unwrap();
    fs::write(scene.path().join("data.txt"), "40").unwrap();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut asked = request(&scene, CODE);
    asked.function = asked.function.set_env_from_secret("TOKEN", "vault", "token");
    let secrets = scene.home().join("secrets/vault");
    fs::create_dir_all(&secrets).unwrap();
    fs::write(secrets.join("token"), "hush").unwrap();
    fs::set_permissions(secrets.join("token"), fs::Permissions::from_mode(0o600)).unwrap();
    asked.spec.output_path = scene.path().join("out").display().to_string();
    let first = within(orchestrator.run(asked)).await.unwrap();
    assert_eq!(first.state(), RunState::Completed, "{:?}", first.status);

    fs::write(scene.path().join("data.txt"), "41").unwrap();
    fs::write(git.join("HEAD"), "2".repeat(40)).unwrap();
    let said = orchestrator.reproduce(&first.key()).await.unwrap().differences;
    for (part, line) in [
        "commit 1111111111 and is at 2222222222",
        "were committed is not known",
        "data.txt has another content",
        "TOKEN",
        "written over",
    ]
    .iter()
    .zip(&said)
    {
        assert!(line.contains(part), "no {part:?} in its place: {said:#?}");
    }
    assert_eq!(said.len(), 5, "{said:#?}");
    let again = within(orchestrator.rerun(&first.key()).await.unwrap().wait()).await.unwrap();
    assert_eq!(again.status.notes, said, "the notes of the run say it");
    assert_eq!(again.status.results["sum"], 43);

    fs::remove_file(scene.path().join("data.txt")).unwrap();
    let said = orchestrator.reproduce(&first.key()).await.unwrap().differences;
    assert!(said.iter().any(|line| line.contains("data.txt is gone")), "{said:#?}");
    let error = orchestrator.rerun(&first.key()).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.location()), (ErrorKind::NotFound, Some("inputs.data")));

    orchestrator.delete_function("demo", "work").await.unwrap();
    let error = orchestrator.reproduce(&first.key()).await.unwrap_err();
    assert!(error.message().contains("not in the store any more"), "{error}");
    assert_eq!(orchestrator.reproduce(&RunKey::new("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_is_remembered() {
    let scene = Scene::new();
    let git = |args: &[&str]| {
        let args = [&["-c", "user.name=a", "-c", "user.email=a@b"][..], args].concat();
        let done = std::process::Command::new("git").current_dir(scene.path()).args(args).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let write = |name: &str, text: &str| fs::write(scene.path().join(name), text).unwrap();
    for (name, text) in [("helper.py", "N = 1\n"), ("gone.py", ""), ("same.py", ""), ("data.txt", "40")] {
        write(name, text);
    }
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    write("helper.py", "N = 2\n");
    write("new.py", "");
    write("data.txt", "41");
    fs::remove_file(scene.path().join("gone.py")).unwrap();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let first = within(orchestrator.run(request(&scene, CODE))).await.unwrap();
    let root = scene.path().display().to_string();
    let known = &first.status.provenance.uncommitted[&root];
    let names: Vec<&str> = known.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["data.txt", "gone.py", "helper.py", "new.py"], "the home is left out");
    let differences = async || orchestrator.reproduce(&first.key()).await.unwrap().differences;
    assert_eq!(differences().await, Vec::<String>::new(), "nothing has changed since");

    write("helper.py", "N = 3\n");
    fs::remove_file(scene.path().join("new.py")).unwrap();
    write("gone.py", "");
    write("same.py", "N = 4\n");
    let said = differences().await;
    let expected = [
        format!("{root}/gone.py was deleted, and is there"),
        format!("{root}/helper.py was not committed, and has another content"),
        format!("{root}/new.py was not committed, and is gone"),
        format!("{root}/same.py was changed since and is not committed"),
    ];
    assert_eq!(said, expected);
    orchestrator.close().await.unwrap();
}
