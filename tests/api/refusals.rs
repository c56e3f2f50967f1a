//! What a token does not allow, and what no request may be.

use runtimes::{
    api::Limits,
    core::{secret::Secret, serde_json::json},
};

use crate::scene::{Scene, ask, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_run_alone() {
    let scene = Scene::new().await;
    let (mine, other) = (scene.run(request()).await, scene.run(request()).await);
    let (key, theirs) = (mine.key(), other.key());
    let path = |method: &str, rest: &str| format!("{method} /api/v1/projects/{rest}");
    for (method, rest) in [
        ("PATCH", format!("default/runs/{}", theirs.uid)),
        ("POST", format!("default/runs/{}", theirs.uid)),
        ("GET", format!("default/runs/{}", theirs.uid)),
        ("PUT", format!("default/runs/{}/report", theirs.uid)),
        ("GET", format!("default/logs/{}", theirs.uid)),
        ("POST", format!("default/logs/{}", theirs.uid)),
    ] {
        scene.ask(&key, &path(method, &rest), "{}").await.refused(403, "for no other");
    }
    let elsewhere = ["other", "other/secret-keys", "other/artifacts", "other/runs"];
    for rest in elsewhere {
        scene.ask(&key, &path("GET", rest), "").await.refused(403, "is in the project \"default\"");
    }
    scene.ask(&key, &path("GET", "default/functions/another"), "").await.refused(403, "of its run alone");
    scene.ask(&key, &path("GET", "default/artifacts/unknown"), "").await.refused(404, "knows no artifact");

    // One of another key, a changed one, one of an iteration that reports for the whole, none at all.
    let changed = scene.token(&key, 0).replace(&key.uid, &theirs.uid);
    for token in [changed.as_str(), "x", "rt1.a.0.0.b"] {
        let answer =
            ask(scene.address, token, &path("GET", &format!("default/runs/{}", theirs.uid)), "").await;
        assert!(answer.head.contains("www-authenticate: bearer") && !answer.body.contains(token));
        answer.refused(401, "not known here");
    }
    let third = runtimes::core::run::RunKey { iteration: 3, ..key.clone() };
    let whole = path("PATCH", &format!("default/runs/{}?iter=0", key.uid));
    ask(scene.address, &scene.token(&third, 0), &whole, "{}").await.refused(404, "there is no run");
    ask(scene.address, "", &whole, "{}").await.refused(401, "no token");
    // What others may not touch was not touched.
    let run = scene.end(other, 0).await;
    assert!(run.status.results.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reads_what_is_its_own() {
    let scene = Scene::new().await;
    let secrets = scene.orchestrator.secrets().unwrap();
    for (name, key) in [("default", "API"), ("default", "mlrun.internal"), ("other", "THEIRS")] {
        secrets.put(&format!("mlrun-project-secrets-{name}"), key, &Secret::new("s3cret")).unwrap();
    }
    let mut request = request();
    request.spec.parameters.insert("p".to_owned(), json!(3));
    let handle = scene.run(request).await;
    let key = handle.key();
    let get = async |rest: &str| scene.ask(&key, &format!("GET /api/v1/{rest}"), "").await;

    let run = get(&format!("projects/default/runs/{}?iter=0&format=full", key.uid)).await.ok();
    assert_eq!(
        (&run["data"]["spec"]["parameters"]["p"], &run["data"]["status"]["state"]),
        (&json!(3), &json!("running"))
    );
    assert_eq!(get(&format!("run/default/{}", key.uid)).await.ok(), run, "as older clients ask");
    assert_eq!(get("projects/default/runs").await.ok()["runs"][0], run["data"]);
    let function = get("projects/default/functions/far?tag=&hash_key=").await.ok();
    assert_eq!(function["func"]["spec"]["command"], "sh");
    assert_eq!(get("func/default/far").await.ok(), function);
    let names = get("projects/default/secret-keys?provider=kubernetes").await.ok();
    assert_eq!(names["secret_keys"], json!(["API"]));
    get("projects/default/secrets?provider=kubernetes").await.refused(403, "context.get_secret");
    assert_eq!(get("projects/default").await.ok()["metadata"]["name"], "default");
    get(&format!("projects/default/runs/{}?iter=4", key.uid)).await.refused(404, "no iteration 4");

    let log = get(&format!("projects/default/logs/{}?offset=0&size=10", key.uid)).await;
    assert!(
        log.status == 200 && log.body.is_empty() && log.head.contains("x-mlrun-run-state: running"),
        "{log:?}"
    );
    let posted =
        scene.ask(&key, &format!("POST /api/v1/projects/default/logs/{}?append=yes", key.uid), "x\n").await;
    posted.ok();
    assert_eq!(get(&format!("projects/default/logs/{}/size", key.uid)).await.ok(), json!({"size": 0}));
    scene.end(handle, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_in_the_form_of_mlrun() {
    let scene = Scene::new().await;
    let handle = scene.run(request()).await;
    let key = handle.key();
    let run = format!("/api/v1/projects/default/runs/{}", key.uid);
    let cases = [
        (format!("PATCH {run}"), "{", 400, "the body is no JSON"),
        (format!("PATCH {run}"), "[]", 400, "changes are an object"),
        (format!("PATCH {run}"), r#"{"status.results": 3}"#, 400, "status.results: "),
        (format!("PATCH {run}?iter=x"), "{}", 400, "iter"),
        (format!("PUT {run}/report"), r#"{"state": "good"}"#, 400, "running, completed or error"),
        (format!("PUT {run}/report"), r#"{"results": 3}"#, 400, "this is no report"),
        (format!("DELETE {run}"), "", 405, "cannot be asked with DELETE"),
        ("GET /api/v1/pipelines".to_owned(), "", 404, "there is no GET /api/v1/pipelines here"),
        ("GET /".to_owned(), "", 404, "there is no GET / here"),
        ("PUT /api/v2/projects/default/artifacts/a".to_owned(), "3", 400, "this is no artifact"),
        ("POST /api/v1/projects/default/artifacts/a".to_owned(), "{}", 400, "is no path of an artifact"),
    ];
    for (what, body, status, says) in cases {
        scene.ask(&key, &what, body).await.refused(status, says);
    }
    assert_eq!(ask(scene.address, "", "GET /api/v1/healthz", "").await.ok()["status"], "ok");
    assert_eq!(ask(scene.address, "", "GET /api/v1/client-spec", "").await.ok()["version"], "1.8.0");
    assert_eq!(ask(scene.address, "", "GET /healthz", "").await.ok()["status"], "ok");
    scene.end(handle, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_in_the_folder_of_their_run() {
    let scene = Scene::with(Limits { file: 100, ..Limits::default() }).await;
    let (mine, other) = (scene.run(request()).await, scene.run(request()).await);
    let put = |uid: &str, rest: &str| format!("PUT /api/v1/projects/default/runs/{uid}/files/{rest}");
    let (key, uid) = (mine.key(), mine.key().uid);
    let kept = scene.ask(&key, &put(&uid, "deep/a.txt"), "abc").await.ok();
    let folder = scene.folder.path().join("artifacts/default").join(&uid);
    assert_eq!(kept["folder"], json!(folder));
    assert_eq!(std::fs::read_to_string(folder.join("deep/a.txt")).unwrap(), "abc");

    scene.ask(&key, &put(&other.key().uid, "a.txt"), "abc").await.refused(403, "for no other");
    for path in ["..%2F..%2Fx", "a/%2e%2e/%2e%2e/x", "%2Fetc%2Fpasswd", "a%00b"] {
        scene.ask(&key, &put(&uid, path), "abc").await.refused(400, "is no path of a file");
    }
    scene.ask(&key, &put(&uid, "a?size=101"), "abc").await.refused(400, "at most 100 are taken");
    scene.ask(&key, &put(&uid, "a?size=2"), "abc").await.refused(400, "the file has 2 bytes");
    scene.ask(&key, &put(&uid, "a?offset=5&size=8"), "abc").await.refused(409, "0 bytes are here");
    scene.end(mine, 0).await;
    scene.ask(&key, &put(&uid, "late.txt"), "abc").await.refused(409, "has ended");
    assert!(!folder.join("late.txt").exists());

    // A path of this machine that no file was sent to is none.
    let body = r#"{"metadata": {"key": "a"}, "spec": {"target_path": "/etc/passwd"}}"#;
    let key = other.key();
    scene.ask(&key, "PUT /api/v1/projects/default/artifacts/a", body).await.ok();
    let run = scene.end(other, 0).await;
    assert_eq!(run.status.artifacts[0].size(), None, "nobody looked at it");
}
