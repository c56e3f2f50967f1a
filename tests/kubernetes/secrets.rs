//! What a run's pods get of secrets: one Secret of the attempt, mounted; and where the values are not.

use std::{collections::BTreeMap, fs, path::Path};

use futures_util::TryStreamExt;
use runtimes::{
    ErrorKind, Orchestrator, Request, RunState,
    core::{
        run::SecretSources,
        secret::{Secret, project_secret},
        serde_json::{Value, json, to_string},
        testkit::cluster::{Fault, Life},
    },
};

use crate::{Scene, bare, fit, open, within};

const VALUE: &str = "s3cret-value-1f0a";
/// The same as a Secret has it.
const ENCODED: &str = "czNjcmV0LXZhbHVlLTFmMGE=";

fn put(orchestrator: &Orchestrator, key: &str, value: &str) {
    orchestrator.secrets().unwrap().put(&project_secret("default"), key, &Secret::new(value)).unwrap();
}

fn inline(key: &str, value: &str) -> SecretSources {
    SecretSources::Inline(BTreeMap::from([(key.to_owned(), Some(Secret::new(value)))]))
}

/// The files below a folder that hold the value, but for those where the secrets of projects are kept.
fn holding(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("secrets") {
            found.extend(holding(&path));
        } else if path.is_file() {
            let content = fs::read(&path).unwrap();
            let holds = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
            if holds(VALUE) || holds(ENCODED) {
                found.push(path);
            }
        }
    }
    found
}

fn shows(value: &Value) -> bool {
    let text = to_string(value).unwrap();
    text.contains(VALUE) || text.contains(ENCODED)
}

/// Starts it, and waits until it runs and its objects belong to each other.
async fn begun(scene: &Scene, request: Request) -> runtimes::Handle {
    let handle = scene.orchestrator.submit(request).await.unwrap();
    let mut lines = scene.orchestrator.logs(&handle.key(), true).await.unwrap();
    while within(lines.try_next()).await.unwrap().unwrap().text() != "begun" {}
    let owned = |secret: &Value| secret["metadata"]["ownerReferences"].is_array();
    within(scene.cluster.until(|cluster| cluster.objects("secrets").iter().all(owned))).await;
    handle
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_is_in_the_secret_of_the_attempt_and_nowhere_else() {
    for request in [fit(), bare()] {
        let scene = Scene::living(Life::started().prints("begun").wait("go").exits(0)).await;
        put(&scene.orchestrator, "TOKEN", VALUE);
        put(&scene.orchestrator, "mlrun.notifications.1", VALUE);
        put(&scene.orchestrator, "own", "the project's");
        let handle = begun(&scene, request.secrets(inline("own", VALUE))).await;
        let secrets = scene.cluster.objects("secrets");
        let [secret] = secrets.as_slice() else { panic!("{secrets:?}") };
        assert_eq!(secret["data"], json!({"TOKEN": ENCODED, "own": ENCODED}));
        let owner = &secret["metadata"]["ownerReferences"][0];
        assert!(["Job", "Pod"].iter().any(|kind| owner["kind"] == *kind), "{owner}");
        assert_eq!(secret["metadata"]["labels"]["runtimes/run"], handle.key().to_string());
        assert_eq!(secret["metadata"]["labels"]["runtimes/attempt"], "0");

        let pod = &scene.cluster.objects("pods")[0]["spec"];
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == "runtimes-secrets").unwrap();
        assert_eq!(volume["secret"]["secretName"], secret["metadata"]["name"]);
        let container = &pod["containers"][0];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["name"] == "runtimes-secrets").unwrap();
        assert_eq!(mount["readOnly"], true);
        let env = container["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "RUNTIMES_SECRETS_DIR", "value": mount["mountPath"]})));
        assert!(!to_string(env).unwrap().contains("secretKeyRef"), "values are no variables: {env:?}");
        assert!(!to_string(env).unwrap().contains("secret_sources\\\":[{"), "nothing to look for in the pod");

        for plural in ["pods", "jobs", "configmaps", "events", "services"] {
            assert!(!scene.cluster.objects(plural).iter().any(shows), "{plural}");
        }
        assert_eq!(holding(scene.home.path()), [""; 0].map(std::path::PathBuf::from));
        scene.cluster.go("go");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        assert!(!shows(&json!(run)) && !format!("{run:?}").contains(VALUE));
        assert_eq!(run.status.notes, [""; 0], "there is nothing to be said of it");
        scene.is_clean().await;
        assert_eq!(holding(scene.home.path()), [""; 0].map(std::path::PathBuf::from));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_is_read_here_and_mlruns_context_finds_it_by_its_name() {
    let scene = Scene::living(Life::started().prints("begun").wait("go").exits(0)).await;
    for key in ["a", "b"] {
        put(&scene.orchestrator, key, VALUE);
    }
    let file = scene.home.path().join("own.env");
    fs::write(&file, "FILE=f\n").unwrap();
    let mut request = fit()
        .secrets(SecretSources::Kubernetes(vec!["a".into()]))
        .secrets(SecretSources::File(file.display().to_string()))
        .secrets(SecretSources::Env(vec!["PATH".into()]));
    request.function.spec.extra.insert("agent".to_owned(), "mlrun".into());
    let handle = begun(&scene, request).await;
    let secret = &scene.cluster.objects("secrets")[0];
    let keys: Vec<_> = secret["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["FILE", "PATH", "a"]);
    let pod = &scene.cluster.objects("pods")[0];
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    for (name, key) in [("MLRUN_K8S_SECRET__A", "a"), ("MLRUN_K8S_SECRET__FILE", "FILE")] {
        let reference = json!({"name": secret["metadata"]["name"], "key": key});
        assert!(env.contains(&json!({"name": name, "valueFrom": {"secretKeyRef": reference}})), "{env:?}");
    }
    // What was read here is not looked for there; the project's keys are, by their names.
    let config = env.iter().find(|variable| variable["name"] == "MLRUN_EXEC_CONFIG").unwrap();
    let config: Value = runtimes::core::serde_json::from_str(config["value"].as_str().unwrap()).unwrap();
    assert_eq!(config["spec"]["secret_sources"], json!([{"kind": "kubernetes", "source": ["a"]}]));
    scene.cluster.go("go");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(run.spec.secret_sources.len(), 3, "the record says where they come from");
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_anything_is_recorded_or_made() {
    let scene = Scene::living(Life::completes()).await;
    let vault = |kind: &str| SecretSources::Vault { kind: kind.into(), source: json!({"name": "v"}) };
    for (source, kind, words) in [
        (SecretSources::Kubernetes(vec!["B".into()]), ErrorKind::NotFound, "runtimes secret set B"),
        (SecretSources::Kubernetes(vec!["mlrun.x".into()]), ErrorKind::Invalid, "not for code"),
        (SecretSources::Env(vec!["NO_SUCH_VARIABLE".into()]), ErrorKind::NotFound, "export NO_SUCH"),
        (SecretSources::File("none.env".into()), ErrorKind::NotFound, "none.env"),
        (vault("vault"), ErrorKind::Unsupported, "secret set"),
        (vault("azure_vault"), ErrorKind::Unsupported, "agent: mlrun"),
        (inline("BIG", &VALUE.repeat(70_000)), ErrorKind::Invalid, "BIG (1190000 bytes)"),
    ] {
        let error = scene.orchestrator.submit(fit().secrets(source)).await.err().unwrap();
        let text = format!("{error}\n{}", error.help_text().unwrap_or_default());
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains("spec.secret_sources") && text.contains(words), "{text}");
        assert!(!format!("{error:?}{text}").contains(VALUE), "{words}");
    }
    assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
    for plural in ["secrets", "jobs", "pods"] {
        assert!(scene.cluster.objects(plural).is_empty(), "{plural}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_has_the_values_of_its_time() {
    let scene = Scene::living(Life::started().prints("begun").wait("go").exits(3)).await;
    put(&scene.orchestrator, "TOKEN", "old");
    let mut request = fit();
    let retry = json!({"count": 1, "backoff": {"base_delay": "0s"}});
    request.spec.retry = Some(runtimes::core::serde_json::from_value(retry).unwrap());
    let handle = begun(&scene, request).await;
    put(&scene.orchestrator, "TOKEN", VALUE);
    scene.cluster.go("go");
    let of_second = |secret: &Value| secret["metadata"]["labels"]["runtimes/attempt"] == "1" && shows(secret);
    within(scene.cluster.until(|cluster| cluster.objects("secrets").iter().any(of_second))).await;
    let running = |pod: &Value| pod["metadata"]["labels"]["runtimes/attempt"] == "1";
    within(scene.cluster.until(|cluster| cluster.objects("pods").iter().any(running))).await;
    scene.cluster.go("go");
    let run = within(handle.wait()).await.unwrap();
    assert_eq!((run.state(), run.status.attempts.len()), (RunState::Error, 2));
    scene.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_goes_on_without_its_source_and_what_does_not_is_not_started() {
    for begun_before in [true, false] {
        let scene = Scene::living(Life::started().prints("begun").wait("go").exits(0)).await;
        let file = scene.home.path().join("own.env");
        fs::write(&file, format!("OWN={VALUE}\n")).unwrap();
        let source = SecretSources::File(file.display().to_string());
        let request = Request { detached: true, ..fit().secrets(source) };
        let key = match begun_before {
            true => begun(&scene, request).await.key(),
            false => {
                scene.cluster.fault(Fault::hold("never").on("create", "secrets"));
                let key = scene.orchestrator.submit(request).await.unwrap().key();
                within(scene.cluster.until(|cluster| cluster.count("create", "secrets") == 1)).await;
                key
            }
        };
        let Scene { cluster, orchestrator, home } = scene;
        drop(orchestrator);
        fs::remove_file(&file).unwrap();
        let orchestrator = open(&cluster, &home).await;
        let scene = Scene { cluster, orchestrator, home };
        scene.cluster.go("go");
        let run = within(scene.orchestrator.watch(&key).await.unwrap().wait()).await.unwrap();
        if begun_before {
            assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
        } else {
            let cause = run.status.cause.unwrap();
            assert_eq!(run.status.state, RunState::Error);
            assert!(cause.message.contains("gone with the program"), "{}", cause.message);
            assert!(cause.message.contains("own.env"), "{}", cause.message);
        }
        scene.is_clean().await;
    }
}
