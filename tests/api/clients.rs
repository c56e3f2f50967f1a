//! Real clients: our own agent, and MLRun as it is.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use runtimes::{
    RunState,
    core::{
        agent,
        cluster::{ENDPOINT_TOKEN, ENDPOINT_URL},
        run::{Reason, RunKey},
        serde_json::{Value, json},
    },
};

use crate::scene::{Scene, request, until, within, write};

/// Runs Python with the variables of a run.
async fn python(scene: &Scene, key: &RunKey, python: &Path, args: &[&str], env: &[(&str, String)]) -> Output {
    let mut command = tokio::process::Command::new(python);
    command
        .args(args)
        .current_dir(scene.folder.path())
        .env(ENDPOINT_URL, format!("http://{}", scene.address))
        .env(ENDPOINT_TOKEN, scene.token(key, 0))
        .env("PYTHONPATH", scene.folder.path().join("agent"))
        .envs(env.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    within(command.output()).await.unwrap()
}

#[track_caller]
fn ended_well(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn install_agent(scene: &Scene) {
    let folder = scene.folder.path().join("agent/runtimes");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in agent::FILES {
        write(&folder, name, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_agent_reports() {
    let scene = Scene::new().await;
    install_agent(&scene);
    let code = write(
        scene.folder.path(),
        "send.py",
        "import json, sys\n\
         from runtimes.endpoint import EndpointError, send_from_env\n\
         try:\n\
         \u{20}   assert send_from_env(json.loads(sys.argv[1]), {'metadata': {'uid': sys.argv[2]}})\n\
         except EndpointError as exc:\n\
         \u{20}   sys.exit(str(exc))\n",
    );
    let code = code.to_str().unwrap();
    let mut handle = scene.run(request()).await;
    let key = handle.key();
    let send = async |report: Value| {
        let report = report.to_string();
        python(&scene, &key, Path::new("python3"), &[code, &report, &key.uid], &[]).await
    };
    ended_well(&send(json!({"state": "running", "results": {"n": 1}})).await);
    until(&mut handle, |run| run.status.results.contains_key("n")).await;
    let error =
        json!({"type": "ValueError", "message": "no", "file": "/code/a.py", "line": 3, "traceback": "..."});
    let artifact = json!({"kind": "model", "metadata": {"key": "m"}, "spec": {"target_path": "s3://b/m"}});
    let last = json!({"state": "error", "results": {"n": 2}, "artifacts": [artifact], "error": error});
    ended_well(&send(last).await);
    // One that is late, as what is tried again may be.
    ended_well(&send(json!({"state": "running", "results": {"n": 0}})).await);
    let run = scene.end(handle, 1).await;
    assert_eq!((run.state(), &run.status.results["n"]), (RunState::Error, &json!(2)));
    let cause = run.status.cause.unwrap();
    assert_eq!((cause.reason, cause.message.as_str()), (Reason::Exception, "/code/a.py:3: ValueError: no"));
    assert_eq!(run.status.artifacts.len(), 1);
    let refused = send(json!({"state": "running"})).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("HTTP 409") && said.contains("has ended (error)"),
        "{said}"
    );
    assert!(!said.contains(&scene.token(&key, 0)));
}

const POD: &str = r#"
import time

def fit(context):
    context.log_result("begun", 1)
    time.sleep(1.5)
    context.log_result("step", 1)
    open("go").read()
    context.log_artifact("notes", body="kept", format="txt")
    context.log_artifact("large", body=b"0123456789" * 1_000_000, format="bin")
    context.log_result("done", 1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_ours_reports_as_it_goes_and_its_files_arrive() {
    let scene = Scene::new().await;
    install_agent(&scene);
    let mut handle = scene.run(request()).await;
    let key = handle.key();
    let code = write(scene.folder.path(), "fit.py", POD);
    // The code waits for a reader's end of this: for the test.
    let go = scene.folder.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let what = json!({"code": {"path": code}, "handler": "fit", "args": [], "pythonpath": []}).to_string();
    let config = json!({"metadata": {"name": "far", "uid": key.uid, "project": "default"}, "spec": {}});
    let config = [("MLRUN_EXEC_CONFIG", config.to_string())];
    let agent = scene.folder.path().join("agent");
    let args = ["-c", agent::BOOT, agent.to_str().unwrap(), "pod", &what];
    let run = async {
        until(&mut handle, |run| run.status.results.contains_key("step")).await;
        tokio::task::spawn_blocking(move || std::fs::write(go, "")).await.unwrap().unwrap();
    };
    let (output, ()) = tokio::join!(python(&scene, &key, Path::new("python3"), &args, &config), run);
    ended_well(&output);
    let run = scene.end(handle, 0).await;
    assert_eq!((run.state(), &run.status.results["done"]), (RunState::Completed, &json!(1)));
    for (artifact, size) in run.status.artifacts.iter().zip([4, 10_000_000]) {
        let path = Path::new(artifact.target_path());
        assert!(path.starts_with(scene.folder.path().join("artifacts/default").join(&key.uid)), "{path:?}");
        assert_eq!((std::fs::metadata(path).unwrap().len(), artifact.size()), (size, Some(size)));
        assert!(artifact.spec.contains_key("content_type"), "{artifact:?}");
    }
    assert_eq!(run.status.artifacts.len(), 2);
    assert!(run.status.notes.is_empty(), "{:?}", run.status.notes);
}

/// A Python with MLRun 1.8.0, as `.ci/run` makes one; `RUNTIMES_TEST_MLRUN` names another.
fn with_mlrun() -> Option<PathBuf> {
    let named = std::env::var_os("RUNTIMES_TEST_MLRUN").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let made = cache.map(|cache| cache.join("runtimes-ci/mlrun-1.8.0/bin/python"));
    let found = named.or(made).filter(|python| python.is_file());
    if found.is_none() {
        println!("skipped: there is no Python with MLRun; `.ci/run` makes one, or set RUNTIMES_TEST_MLRUN");
    }
    found
}

/// The run as a pod of MLRun gets it.
fn exec_config(scene: &Scene, key: &RunKey, handler: &str) -> (&'static str, String) {
    let run = json!({
        "metadata": {"name": "far", "uid": key.uid, "iteration": 0, "project": "default", "labels": {"kind": "job"}},
        "spec": {
            "function": "default/far", "parameters": {"p1": 3}, "handler": handler, "returns": ["five"],
            "output_path": scene.folder.path().join("out"),
        },
        "status": {"state": "created"},
    });
    ("MLRUN_EXEC_CONFIG", run.to_string())
}

const HANDLER: &str = r#"
import mlrun

def handler(context, p1: int = 1):
    context.log_result("accuracy", p1 * 2)
    context.log_result("loss", float("nan"))
    context.set_label("team", "a")
    context.log_artifact("notes", body=b"abc", format="txt")
    context.log_model("net", body=b"w", model_file="net.pkl", framework="x")
    assert sorted(a["metadata"]["key"] for a in context.artifacts) == ["net", "notes"]
    assert context.get_artifact("notes").target_path.endswith("notes.txt")
    assert context.get_project_param("x", 3) == 3
    db = mlrun.get_run_db()
    assert db.get_function("far", "default")["metadata"]["name"] == "far"
    assert db.read_run(context.uid, "default")["status"]["state"] == "running"
    assert db.list_project_secret_keys("default").secret_keys == []
    assert [a.key for a in db.list_artifacts(project="default").to_objects()] == ["net", "notes"]
    context.commit("on the way")
    for n in range(2):
        with context.get_child_context(n=n) as child:
            child.log_result("r", n)
            child.log_artifact("part", body=b"p%d" % n, format="txt")
            assert child.get_artifact("part").iter == n + 1
            if n:
                child.mark_as_best()
    return 5

def fails(context):
    context.log_result("before", 1)
    raise ValueError("no data")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn mlrun_as_it_is_reports() {
    let Some(mlrun) = with_mlrun() else { return };
    let scene = Scene::new().await;
    write(scene.folder.path(), "main.py", HANDLER);
    let args =
        |handler| ["-m", "mlrun", "run", "--name", "far", "--from-env", "--handler", handler, "main.py"];

    let handle = scene.run(request()).await;
    let key = handle.key();
    let output =
        python(&scene, &key, &mlrun, &args("handler"), &[exec_config(&scene, &key, "handler")]).await;
    ended_well(&output);
    let run = scene.end(handle, 0).await;
    assert_eq!(run.state(), RunState::Completed);
    let results = json!(run.status.results);
    assert_eq!(
        (&results["accuracy"], &results["five"], &results["loss"]),
        (&json!(6), &json!(5), &json!("NaN"))
    );
    assert_eq!((&results["best_iteration"], &results["r"]), (&json!(2), &json!(1)));
    assert_eq!((run.status.iterations.len(), run.metadata.labels["team"].as_str()), (3, "a"));
    assert_eq!(run.metadata.annotations["message"], "on the way");
    let children = scene.orchestrator.iterations(&key.uid).await.unwrap();
    let said = |n: usize| json!([children[n].run.spec.parameters["n"], children[n].run.status.results["r"]]);
    assert_eq!((children.len(), said(0), said(1)), (2, json!([0, 0]), json!([1, 1])));
    assert!(children.iter().all(|child| child.run.state() == RunState::Completed));
    let parts = run.status.artifacts.iter().filter(|artifact| artifact.metadata.key == "part");
    assert!(parts.count() >= 2, "{:?}", run.status.artifacts);
    let net = run.status.artifacts.iter().find(|artifact| artifact.metadata.key == "net").unwrap();
    assert_eq!((net.kind.as_str(), &net.spec["framework"]), ("model", &json!("x")));

    let handle = scene.run(request()).await;
    let key = handle.key();
    let output = python(&scene, &key, &mlrun, &args("fails"), &[exec_config(&scene, &key, "fails")]).await;
    assert!(!output.status.success());
    let run = scene.end(handle, 1).await;
    let cause = run.status.cause.unwrap();
    assert!(cause.reason == Reason::Exception && cause.message.contains("no data"), "{cause:?}");
    assert_eq!(run.status.results["before"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_asks_mlrun_for_its_context_reports() {
    let Some(mlrun) = with_mlrun() else { return };
    let scene = Scene::new().await;
    let code = "import mlrun, sys\n\
                context = mlrun.get_or_create_ctx('x')\n\
                context.log_result('on the way', context.get_param('p1'), commit=True)\n\
                sys.stdin.read()\n\
                context.log_result('end', 2)\n\
                context.commit(completed=True)\n";
    let code = write(scene.folder.path(), "main.py", code);
    let mut handle = scene.run(request()).await;
    let key = handle.key();
    let (name, value) = exec_config(&scene, &key, "");
    let mut child = tokio::process::Command::new(mlrun)
        .arg(code)
        .current_dir(scene.folder.path())
        .env(ENDPOINT_URL, format!("http://{}", scene.address))
        .env(ENDPOINT_TOKEN, scene.token(&key, 0))
        .env(name, value)
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let run = until(&mut handle, |run| run.status.results.contains_key("on the way")).await;
    assert_eq!(run.status.results["on the way"], json!(3));
    drop(child.stdin.take());
    assert!(within(child.wait()).await.unwrap().success());
    let run = scene.end(handle, 0).await;
    assert_eq!((run.state(), &run.status.results["end"]), (RunState::Completed, &json!(2)));
}
