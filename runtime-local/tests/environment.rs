//! Environments are built once, whole or not at all, whoever asks and whatever happens on the way.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path, time::Duration};

use runtime_core::{ErrorKind, plan::PythonEnvironment};
use runtime_local::host::environment::{Environments, Freed, Interpreter};
use support::{Builder, Index, steps, wheel};

fn wanted(requirements: &[&str]) -> PythonEnvironment {
    let requirements = requirements.iter().map(|line| (*line).to_owned()).collect();
    PythonEnvironment { requirements, ..PythonEnvironment::default() }
}

/// How many things lie in the folder of environments.
fn left(home: &Path) -> usize {
    fs::read_dir(home.join("envs")).unwrap().count()
}

/// Builds in a process of its own when asked to by another test; does nothing by itself.
#[test]
fn builder() {
    support::build_if_asked();
}

#[tokio::test]
async fn no_requirements_are_the_interpreter_itself() {
    let home = tempfile::tempdir().unwrap();
    let environments = Environments::new(home.path());
    let environment = environments.get(&wanted(&["# nothing", ""])).unwrap();
    let interpreter = Interpreter::find(home.path(), None).unwrap();
    assert_eq!((environment.python.clone(), environment.dir.clone()), (interpreter.path, interpreter.prefix));
    assert!(environments.hold(&environment).unwrap().is_some());
    assert_eq!(environments.build(&wanted(&[]), |_| ()).await.unwrap(), environment);
    assert!(environments.list().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_one_builds() {
    let home = tempfile::tempdir().unwrap();
    let wheel = wheel(home.path(), "thing", "1.0", "value = 41 + 1");
    let line = format!("thing @ file://{}", wheel.display());
    let environments = Environments::new(home.path());
    let asked = wanted(&[&line]);
    assert_eq!(environments.get(&asked), None);

    let others = [Builder::start(home.path(), &[&line], &[]), Builder::start(home.path(), &[&line], &[])];
    let (told, seen) = steps();
    let (first, second) = tokio::join!(environments.build(&asked, &told), environments.build(&asked, &told));
    let environment = first.unwrap();
    assert_eq!(environment, second.unwrap());
    let mut creations = seen().iter().filter(|step| step.starts_with("creating")).count();
    for other in others {
        let output = other.finish();
        assert!(output.contains(&format!("ready: {}", environment.python.display())), "{output}");
        creations += output.lines().filter(|line| line.starts_with("step: creating")).count();
    }
    assert_eq!(creations, 1);
    assert_eq!(support::python(&environment.python, "import thing; print(thing.value)"), "42");
    assert!(!environment.dir.join("requirements.txt").exists());

    assert_eq!(environments.get(&asked).as_ref(), Some(&environment));
    let list = environments.list().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].requirements, [line]);
    assert!(list[0].size > 10_000 && list[0].last_used >= list[0].created, "{:?}", list[0]);

    let hold = environments.hold(&environment).unwrap();
    assert!(hold.is_some());
    assert_eq!(environments.prune(None).unwrap(), Freed::default());
    drop(hold);
    assert_eq!(environments.prune(Some(Duration::from_secs(3600))).unwrap(), Freed::default());
    let freed = environments.prune(None).unwrap();
    assert_eq!(freed.environments, 1);
    assert!(freed.bytes > 10_000);
    assert_eq!(environments.get(&asked), None);
    assert!(environments.hold(&environment).unwrap().is_none());
    assert_eq!(left(home.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requirement_that_does_not_exist() {
    let home = tempfile::tempdir().unwrap();
    let environments = Environments::new(home.path());
    let asked = wanted(&["--no-index", "nosuchpkg==1"]);
    let (told, seen) = steps();
    let (first, second) = tokio::join!(environments.build(&asked, &told), environments.build(&asked, &told));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Environment);
        let text = error.to_string();
        assert!(text.contains("No matching distribution found for nosuchpkg==1"), "{text}");
        assert!(text.contains("requirement: nosuchpkg==1"), "{text}");
        assert!(text.contains("help: check how the package is spelt"), "{text}");
    }
    // The one that waited took the answer of the other.
    assert_eq!(seen().iter().filter(|step| step.starts_with("creating")).count(), 1, "{:?}", seen());
    assert!(environments.list().unwrap().is_empty());
    assert_eq!(left(home.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_dropped_ends_with_all_that_it_started() {
    let home = tempfile::tempdir().unwrap();
    let mut index = Index::start();
    let environments = Environments::new(home.path());
    let asked = wanted(&[&index.option(), "thing==1.0"]);
    {
        let build = environments.build(&asked, |_| ());
        tokio::select! {
            result = build => panic!("{result:?}"),
            () = index.asked() => {}
        }
    }
    index.asker_ended().await;
    assert_eq!(environments.get(&asked), None);
    assert!(environments.list().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_build_leaves_nothing_half_made() {
    let home = tempfile::tempdir().unwrap();
    let wheel = wheel(home.path(), "thing", "1.0", "value = 7");
    let mut index = Index::start();
    let lines = [index.option(), "thing==1.0".to_owned()];
    let lines = lines.each_ref().map(String::as_str);
    let environments = Environments::new(home.path());
    let asked = wanted(&lines);

    let builder = Builder::start(home.path(), &lines, &[]);
    index.asked().await;
    builder.kill();
    // The installer goes on without us, and has the lock: nobody may begin anew beside it.
    assert_eq!(environments.get(&asked), None);
    assert_eq!(environments.prune(None).unwrap(), Freed::default());
    assert!(environments.list().unwrap().is_empty());
    assert_eq!(left(home.path()), 2);

    index.serve(&wheel);
    let output = Builder::start(home.path(), &lines, &[]).finish();
    assert!(output.contains("ready: "), "{output}");
    let environment = environments.get(&asked).unwrap();
    assert_eq!(support::python(&environment.python, "import thing; print(thing.value)"), "7");
}

#[test]
fn uv_is_used_where_it_is_and_knows_the_index_of_pip() {
    let home = tempfile::tempdir().unwrap();
    let bin = home.path().join("bin");
    support::script(
        &bin.join("uv"),
        "if [ \"$1\" = venv ]; then for dir; do :; done; mkdir -p \"$dir/bin\"; exit 0; fi\n\
         echo \"index $UV_DEFAULT_INDEX target ${PIP_TARGET-none}\"; echo \"$@\"",
    );
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let variables = [
        ("PATH", path.as_str()),
        ("PIP_INDEX_URL", "https://me:secret@mirror/simple"),
        ("PIP_TARGET", "/elsewhere"),
    ];
    let output = Builder::start(home.path(), &["thing"], &variables).finish();
    assert!(output.contains("line: index https://***@mirror/simple target none"), "{output}");
    assert!(output.contains("line: pip install --python"), "{output}");
    assert!(!output.contains("secret"), "{output}");
    assert_eq!(Environments::new(home.path()).list().unwrap()[0].tool, "uv");
}

#[test]
fn a_python_without_venv_is_named() {
    let home = tempfile::tempdir().unwrap();
    let python = home.path().join("bin/python3");
    support::script(
        &python,
        &format!(
            "if [ \"$1\" = -m ]; then echo 'Error: ensurepip is not available.' >&2; exit 1; fi\n\
             printf '\\nruntimes-interpreter:{}\\0003.11.2\\000/usr\\n'",
            python.display()
        ),
    );
    let variables = [("RUNTIMES_PYTHON", python.to_str().unwrap()), ("PATH", "/usr/bin:/bin")];
    let output = Builder::start(home.path(), &["thing"], &variables).finish();
    assert!(output.contains("error: the virtual environment could not be created"), "{output}");
    assert!(output.contains("apt install python3-venv"), "{output}");
    assert!(Environments::new(home.path()).list().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_are_had_exactly_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let wheels = tempfile::tempdir().unwrap();
    wheel(wheels.path(), "thing", "1.0", "value = 1");
    let environments = Environments::new(home.path());
    let links = format!("--find-links {}", wheels.path().display());
    let asked = wanted(&["--no-index", &links, "thing"]);
    let first = environments.build(&asked, |_| ()).await.unwrap();
    let packages = environments.packages(&asked, &first).unwrap();
    assert_eq!(packages.installed, ["thing==1.0"]);
    let (major, minor, patch) = Interpreter::find(home.path(), None).unwrap().version;
    assert_eq!(packages.python, format!("{major}.{minor}.{patch}"));

    // As long as the environment is as it was, it is that one.
    let again = PythonEnvironment { exactly: Some(packages.clone()), ..asked.clone() };
    assert_eq!(environments.exactly(&again).unwrap(), asked);
    // Where there is a newer version by now, it is the old one all the same.
    wheel(wheels.path(), "thing", "2.0", "value = 2");
    environments.prune(None).unwrap();
    let newer = environments.build(&asked, |_| ()).await.unwrap();
    assert_eq!(support::python(&newer.python, "import thing; print(thing.value)"), "2");
    let exactly = environments.exactly(&again).unwrap();
    assert_eq!(exactly.requirements, ["--no-index", &links, "thing==1.0"]);
    let older = environments.build(&exactly, |_| ()).await.unwrap();
    assert_eq!(support::python(&older.python, "import thing; print(thing.value)"), "1");
    assert_eq!(environments.packages(&exactly, &older).unwrap(), packages);
}
