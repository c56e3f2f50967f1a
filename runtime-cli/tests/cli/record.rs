//! What is remembered: `get`, `runs`, `logs`, `delete`, `kinds`, `env`, `completions`.

use runtimes::core::serde_json::json;

use crate::fixture::{Folder, exists};

/// Two runs: one that completed, one that failed.
fn two() -> Folder {
    let folder = Folder::with("good.sh", "echo one; echo two >&2; echo three\n");
    folder.write("bad.sh", "exit 9\n");
    folder.run("run good.sh --label team=a -o json").ok();
    folder.run("run bad.sh --project other").code(9);
    folder
}

#[test]
fn runs_are_found_by_what_is_known_of_them() {
    let folder = two();
    for (args, names) in [
        ("runs -o json", vec!["bad", "good"]),
        ("runs --state error -o json", vec!["bad"]),
        ("runs --state error --state completed --limit 1 -o json", vec!["bad"]),
        ("runs --project other -o json", vec!["bad"]),
        ("runs --label team=a -o json", vec!["good"]),
        ("runs --label team=b -o json", vec![]),
        ("runs --function good -o json", vec!["good"]),
        ("runs --name bad --since 1h -o json", vec!["bad"]),
    ] {
        let list = folder.run(args).ok().json();
        let found: Vec<_> =
            list.as_array().unwrap().iter().map(|run| run["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{args}");
    }
    let table = folder.run("runs --limit 1");
    assert!(table.ok().stdout.starts_with("UID        NAME"), "{table:#?}");
    assert_eq!(table.stdout.lines().count(), 2);
    assert_eq!(table.stderr, "1 run more: --limit N or --all shows them\n");
}

#[test]
fn one_run_by_name_and_by_the_beginning_of_its_uid() {
    let folder = two();
    let run = folder.run("get good -o json").ok().json();
    let uid = run["metadata"]["uid"].as_str().unwrap();
    assert_eq!(uid.len(), 32);
    let same = folder.run(&format!("get {} -o json", &uid[..8]));
    assert_eq!(same.ok().json(), run);
    let shown = folder.run(&format!("get {uid}"));
    for part in [uid, "completed (exit code 0)", "team=a"] {
        assert!(shown.ok().stdout.contains(part), "no {part}: {shown:#?}");
    }
    folder.run("get ffffffffffff").code(2).says(&["error: ", "ffffffffffff"]);
}

#[test]
fn logs_by_stream_and_from_the_end() {
    let folder = two();
    assert_eq!(folder.run("logs good --stream stdout").ok().stdout, "one\nthree\n");
    assert_eq!(folder.run("logs good --stream stderr").ok().stdout, "two\n");
    assert_eq!(folder.run("logs good --stream stdout --tail 1").ok().stdout, "three\n");
    assert_eq!(folder.run("logs -f good --stream stdout --tail 1").ok().stdout, "three\n");
    let timed = folder.run("logs good --stream stdout --timestamps").ok().stdout.clone();
    let (time, text) = timed.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!(text, "one");
    assert!(time.parse::<runtimes::core::jiff::Timestamp>().is_ok(), "{time}");
    folder.run("logs good --stream stdin").code(2).says(&["stdin", "stdout, stderr, system"]);
}

#[test]
fn deleted_runs_are_gone() {
    let folder = two();
    folder.run("delete good nonsense").code(2).says(&["nonsense"]);
    assert_eq!(folder.runs().len(), 2, "nothing is deleted where one is unknown");
    assert_eq!(folder.run("delete good").ok().stdout, "deleted 1 run\n");
    folder.run("logs good").code(2);
    assert_eq!(folder.run("delete --older-than 1h").ok().stdout, "deleted 0 runs\n");
    assert_eq!(folder.run("delete --older-than 0s --state completed").ok().stdout, "deleted 0 runs\n");
    assert_eq!(folder.run("delete --older-than 0s --state error").ok().stdout, "deleted 1 run\n");
    assert!(folder.runs().is_empty());
    folder.run("delete").code(2).says(&["UID|NAME"]);
}

#[test]
fn looking_makes_nothing() {
    let folder = Folder::new();
    assert_eq!(folder.run("runs").ok().stderr, "no runs\n");
    assert_eq!(folder.run("runs -o json").ok().json(), json!([]));
    assert_eq!(folder.run("functions").ok().stderr, "no functions\n");
    folder.run("env list").ok();
    folder.run("get x").code(2).says(&["error: there is nothing yet in ", "runtimes run FILE"]);
    folder.run("run train").code(2).says(&["error: there is no file `train`", "function.yaml"]);
    assert!(!exists(&folder, ".runtimes"));
}

#[test]
fn the_home_is_where_it_is_said_to_be() {
    let folder = Folder::with("a.sh", "true\n");
    folder.run("--home here run a.sh").ok();
    folder.run("run a.sh --home there").ok();
    let done = folder.command(["run", "a.sh"]).env("RUNTIMES_HOME", folder.path("env")).output().unwrap();
    assert!(done.status.success());
    for home in ["here", "there", "env"] {
        let list = folder.run(&format!("runs --home {home} -o json")).ok().json();
        assert_eq!(list.as_array().unwrap().len(), 1, "{home}");
    }
    assert!(!exists(&folder, ".runtimes"));
}

#[test]
fn kinds_say_what_they_can() {
    let kinds = Folder::new().run("kinds -o json").ok().json();
    let names: Vec<_> = kinds.as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["dask", "handler", "job", "local", "mpijob", "spark"]);
    let of = |index: usize, name: &str| kinds[index]["capability"][name].as_bool().unwrap();
    assert!((0..5).all(|kind| of(kind, "host")), "{kinds}");
    assert_eq!([0, 1, 2, 3, 4].map(|kind| of(kind, "cluster")), [true, false, true, false, true]);
    assert_eq!([0, 1, 2, 3, 4].map(|kind| of(kind, "renders")), [true, false, true, false, true]);
    let table = Folder::new().run("kinds").ok().stdout.clone();
    assert!(table.starts_with("KIND") && table.contains("this machine"), "{table}");
    assert!(table.contains("this machine, cluster"), "{table}");
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let done = Folder::new().run(&format!("completions {shell}"));
        assert!(done.ok().stdout.contains("runtimes"), "{shell}");
    }
    Folder::new().run("completions tcsh").code(2);
}

#[test]
fn errors_for_programs_are_json() {
    let folder = two();
    let done = folder.run("get nonsense -o json");
    let error: runtimes::core::serde_json::Value =
        runtimes::core::serde_json::from_str(&done.code(2).stderr).unwrap();
    assert_eq!(error["error"]["kind"], "NotFound");
    assert!(error["error"]["message"].as_str().unwrap().contains("nonsense"), "{error}");
    assert_eq!(done.stdout, "");
}
