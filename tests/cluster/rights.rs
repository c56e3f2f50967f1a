//! `deploy/rbac.yaml`: with these rights alone runs go from beginning to end, and each that is missing is named.

use std::time::Duration;

use runtimes::{
    ErrorKind, Request, RunState, Update,
    cluster::{
        ClusterOptions,
        kube::{
            Api, Client, Config,
            api::{DynamicObject, Patch, PatchParams, PostParams},
            core::{ApiResource, GroupVersionKind},
        },
    },
    core::{
        k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount, rbac::v1::Role},
        run::Reason,
        serde_json::{Value, from_value, json},
        yaml,
    },
};

use super::{
    crds, dask,
    operator::{mpi, spark},
    scene::{self, PATIENCE, Scene, python},
    works::Work,
};

const MANIFEST: &str = include_str!("../../deploy/rbac.yaml");

/// Applies the manifest, with these rules changed, and gives a client that has its account's rights alone.
async fn account(namespace: &str, change: impl Fn(&mut Vec<Value>)) -> Client {
    let admin = scene::client().await;
    for document in MANIFEST.split("\n---\n") {
        let mut object = yaml::read(document, "deploy/rbac.yaml").unwrap();
        if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
            change(rules);
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), namespace, &resource);
        let params = PatchParams::apply("test").force();
        api.patch(&text(&object["metadata"]["name"]), &params, &Patch::Apply(&object)).await.unwrap();
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, namespace);
    let request: TokenRequest =
        from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}})).unwrap();
    let made = accounts.create_token_request("runtimes", &PostParams::default(), &request).await.unwrap();
    let mut config = Config::infer().await.unwrap();
    config.auth_info = from_value(json!({"token": made.status.unwrap().token})).unwrap();
    config.default_namespace = namespace.to_owned();
    Client::try_from(config).unwrap()
}

/// Runs end, are stopped, report with a token of their own, and leave nothing; nothing else may be done.
pub(crate) async fn are_enough(scene: Scene) {
    let client = account(&scene.namespace, |_| {}).await;
    let foreign: Api<Role> = Api::namespaced(client.clone(), &scene.namespace);
    assert!(foreign.get("runtimes").await.is_err(), "the account has no other rights");
    let scene = scene.through(client, ClusterOptions::default()).await;
    for work in [Work::Well, Work::Badly] {
        let run = scene.run(work.request()).await;
        work.ended_well("least rights", &scene, &run).await;
    }
    let handle = scene.orchestrator.submit(Work::Endless.request()).await.unwrap();
    scene.wait_for_line(&handle.key(), "line 2").await;
    let key = handle.key();
    let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_secs(1)));
    assert_eq!(abort.await.unwrap().state(), RunState::Aborted);
    // With an endpoint there is a secret for each run. Nobody answers there, which is no reason to fail.
    #[cfg(feature = "api")]
    {
        scene.orchestrator.set_endpoint("http://127.0.0.1:9").await.unwrap();
        let run = scene.run(Work::Well.request()).await;
        assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
    }
    scene.is_clean().await;
}

/// Those of the kind `dask`: on Deployments a run ends, and of what an operator is to act on nothing stays.
pub(crate) async fn are_enough_for_dask(scene: Scene) {
    let client = account(&scene.namespace, |_| {}).await;
    let scene = scene.through(client, ClusterOptions::default()).await;
    let environment = dask::environment().unwrap();
    let two = json!({"replicas": 2});
    let run = scene.run(dask::request(&environment, "plain", "total", two)).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    assert_eq!(run.status.results["total"], json!(285));
    scene.is_clean().await;

    if !crds::install(&scene::client().await, &crds::DASK).await {
        return;
    }
    let adaptive = json!({"min_replicas": 1, "max_replicas": 2});
    let request = dask::request(&environment, "operator", "wait", adaptive);
    let handle = scene.orchestrator.submit(request).await.unwrap();
    let key = handle.key();
    let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_secs(1)));
    assert_eq!(abort.await.unwrap().state(), RunState::Aborted);
    scene.is_clean().await;
}

/// Those of the kind `mpijob`.
pub(crate) async fn are_enough_for_mpi(scene: Scene) {
    if !crds::install(&scene::client().await, &crds::MPI).await {
        return;
    }
    let operator = mpi::operator(scene::client().await, &scene.namespace, "v2beta1");
    let client = account(&scene.namespace, |_| {}).await;
    let scene = scene.through(client, ClusterOptions::default()).await;
    let run = scene.run(super::mpi::request("total", "v2beta1")).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    scene.is_clean().await;
    drop(operator);
}

/// Those of the kind `spark`.
pub(crate) async fn are_enough_for_spark(scene: Scene) {
    if !crds::install(&scene::client().await, &crds::SPARK).await {
        return;
    }
    let operator = spark::operator(scene::client().await, &scene.namespace);
    let client = account(&scene.namespace, |_| {}).await;
    let scene = scene.through(client, ClusterOptions::default()).await;
    let run = scene.run(super::spark::request("count")).await;
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status.cause);
    scene.is_clean().await;
    drop(operator);
}

/// Takes a verb away from the rules of a resource.
fn without<'a>(verb: &'a str, resource: &'a str) -> impl Fn(&mut Vec<Value>) + 'a {
    move |rules| {
        let mut taken = false;
        let of = |rule: &Value| rule["resources"].as_array().unwrap().iter().any(|it| it == resource);
        for rule in rules.iter_mut().filter(|rule| of(rule)) {
            let verbs = rule["verbs"].as_array_mut().unwrap();
            let before = verbs.len();
            verbs.retain(|it| it != verb);
            taken |= verbs.len() < before;
        }
        rules.retain(|rule| rule["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty()));
        assert!(taken, "the manifest has {verb} on {resource}");
    }
}

pub(crate) async fn one_is_missing(mut scene: Scene) {
    // Said before anything is recorded.
    for (verb, resource) in
        [("patch", "jobs"), ("create", "jobs"), ("patch", "configmaps"), ("create", "configmaps")]
    {
        scene = missing(scene, verb, resource).await;
        let error = scene.orchestrator.submit(Work::Well.request()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let help = error.help_text().unwrap();
        assert!(help.contains(&format!("`{verb}` on `{resource}`")), "{error}: {help}");
        assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
    }
    // Said of a run that waits for it.
    for (verb, resource) in [("list", "pods"), ("watch", "pods"), ("delete", "jobs"), ("delete", "pods")] {
        scene = missing(scene, verb, resource).await;
        let request =
            python("import time\n\ndef fit():\n    print('begun')\n    time.sleep(600)\n").handler("fit");
        let mut handle = scene.orchestrator.submit(request.on("kubernetes")).await.unwrap();
        let key = handle.key();
        if verb == "delete" {
            scene.wait_for_line(&key, "begun").await;
            let (orchestrator, key) = (scene.orchestrator.clone(), key.clone());
            tokio::spawn(async move { orchestrator.abort_within(&key, Some(Duration::from_secs(1))).await });
        }
        let cause = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(Update::Run(run)) = handle.next().await
                    && let Some(cause) = run.status.cause
                    && cause.reason == Reason::Forbidden
                {
                    return cause;
                }
            }
        });
        let cause = cause.await.unwrap_or_else(|_| panic!("{verb} on {resource} is missed"));
        let said = format!("{} {}", cause.message, cause.help.unwrap());
        assert!(said.contains(verb) && said.contains(resource), "{said}");
        // With the right, it is stopped.
        account(&scene.namespace, |_| {}).await;
        let stopped = scene.orchestrator.abort_within(&key, Some(Duration::ZERO));
        match tokio::time::timeout(PATIENCE, stopped).await.expect("it is stopped") {
            Ok(run) => assert_eq!(run.state(), RunState::Aborted),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "it has ended: {error}"),
        }
        scene.orchestrator.idle().await;
        scene.orchestrator.delete(&key, true).await.unwrap();
    }
    // A log that may not be read is missed, and says so.
    scene = missing(scene, "get", "pods/log").await;
    let request = Request { detached: false, ..Work::Badly.request() };
    let run = scene.run(request).await;
    assert_eq!(run.status.exit_code, Some(3));
    let notes = run.status.notes.join("\n");
    assert!(notes.contains("cannot get resource \"pods/log\""), "{notes}");
    account(&scene.namespace, |_| {}).await;
    scene.is_clean().await;
}

async fn missing(scene: Scene, verb: &str, resource: &str) -> Scene {
    let client = account(&scene.namespace, without(verb, resource)).await;
    scene.through(client, ClusterOptions::default()).await
}
