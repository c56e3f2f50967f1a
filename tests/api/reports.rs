//! How a report reaches its run.

use std::{path::Path, sync::Arc};

use runtimes::{
    Orchestrator, RunState,
    api::{Limits, Tokens},
    core::{
        Store,
        run::{Backoff, Reason, Retry},
        serde_json::json,
        store::MemoryStore,
        target::{Exit, Phase},
    },
    data::ArtifactFilter,
};

use crate::scene::{Elsewhere, Scene, ask, request, serve, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_reports_is_on_it_while_it_goes_on_and_at_its_end() {
    let scene = Scene::new().await;
    let mut handle = scene.run(request()).await;
    let key = handle.key();
    scene.update(&key, r#"{"status.results": {"loss": 0.5}, "metadata.labels": {"team": "a"}}"#).await.ok();
    let run = until(&mut handle, |run| run.status.results.contains_key("loss")).await;
    assert_eq!((run.state(), run.metadata.labels["team"].as_str()), (RunState::Running, "a"));

    let body =
        r#"{"kind": "model", "metadata": {"key": "net"}, "spec": {"target_path": "s3://b/net", "size": 7}}"#;
    let stored = format!("PUT /api/v2/projects/default/artifacts/far_net?tree={}&tag=v1", key.uid);
    assert_eq!(scene.ask(&key, &stored, body).await.ok()["spec"]["db_key"], "far_net");
    // The last word comes the moment before the end is seen.
    scene.update(&key, r#"{"status.results": {"loss": 0.1}, "status.state": "completed"}"#).await.ok();
    let run = scene.end(handle, 0).await;
    assert_eq!((run.state(), &run.status.results["loss"]), (RunState::Completed, &json!(0.1)));
    assert_eq!(run.status.artifacts[0].target_path(), "s3://b/net");

    let known = scene.orchestrator.artifacts(&ArtifactFilter::default()).await.unwrap();
    assert_eq!((known.len(), known[0].key(), known[0].tag()), (1, "net", Some("v1")));
    assert_eq!(scene.kept().await, 0, "what is on the run is not kept beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_the_targets_to_say() {
    let scene = Scene::new().await;
    let handle = scene.run(request()).await;
    scene.update(&handle.key(), r#"{"status.state": "completed", "status.results": {"a": 1}}"#).await.ok();
    let run = scene.end(handle, 3).await;
    assert_eq!(
        (run.state(), run.status.exit_code, &run.status.results["a"]),
        (RunState::Error, Some(3), &json!(1))
    );

    let handle = scene.run(request()).await;
    scene.update(&handle.key(), r#"{"status.state": "error", "status.error": "no data"}"#).await.ok();
    let run = scene.end(handle, 1).await;
    let cause = run.status.cause.unwrap();
    assert_eq!((cause.reason, cause.message.as_str()), (Reason::Exception, "no data"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_it_just_as_well() {
    let scene = Scene::new().await;
    let mut handle = scene.run(request()).await;
    let key = handle.key();
    let other = Orchestrator::builder(scene.folder.path()).recover(false).open().await.unwrap();
    let (tokens, address, _end, _) = serve(&other, Limits::default()).await;
    let token = tokens.token(&key, 0);
    assert_eq!(token, scene.tokens.token(&key, 0), "those of one home know each other's tokens");
    let path = format!("PATCH /api/v1/projects/default/runs/{}", key.uid);
    ask(address, token.expose(), &path, r#"{"status.results": {"far": 1}}"#).await.ok();
    until(&mut handle, |run| run.status.results.contains_key("far")).await;
    ask(address, token.expose(), &path, r#"{"status.results": {"far": 2}}"#).await.ok();
    let run = scene.end(handle, 0).await;
    assert_eq!(run.status.results["far"], json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_over_says_nothing_more() {
    let scene = Scene::new().await;
    let mut request = request();
    let backoff = Backoff { base_delay: Some("0s".to_owned()), ..Backoff::default() };
    request.spec.retry = Some(Retry { count: 1, backoff: Some(backoff), ..Retry::default() });
    let mut handle = scene.run(request).await;
    let key = handle.key();
    scene.update(&key, r#"{"status.results": {"first": 1}}"#).await.ok();
    until(&mut handle, |run| run.status.results.contains_key("first")).await;
    scene.target.see(&key, 0, Phase::Ended(Exit::Code(1))).await;
    scene.target.see(&key, 1, Phase::Running).await;
    until(&mut handle, |run| run.state() == RunState::Running && run.status.attempts.len() == 1).await;

    scene
        .update(&key, r#"{"status.results": {"late": 1}}"#)
        .await
        .refused(409, "this report is of attempt 1");
    let (token, path) = (scene.token(&key, 1), format!("PATCH /api/v1/projects/default/runs/{}", key.uid));
    ask(scene.address, &token, &path, r#"{"status.results": {"second": 2}}"#).await.ok();
    scene.target.see(&key, 1, Phase::Ended(Exit::Code(0))).await;
    let run = within(handle.wait()).await.unwrap();
    assert_eq!(json!(run.status.results), json!({"second": 2}));
    let late = ask(scene.address, &token, &path, r#"{"status.results": {"late": 1}}"#).await;
    late.refused(409, "has ended (completed)");
    assert_eq!(scene.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_come_at_the_same_time_are_all_kept() {
    let scene = Scene::new().await;
    let handle = scene.run(request()).await;
    let key = handle.key();
    let all = (0..20).map(|n| {
        let path = format!("PUT /api/v2/projects/default/artifacts/far_a{n}?tree={}", key.uid);
        let body = format!(r#"{{"metadata": {{"key": "a{n}"}}, "spec": {{"target_path": "s3://b/{n}"}}}}"#);
        let (address, token) = (scene.address, scene.token(&key, 0));
        tokio::spawn(async move { ask(address, &token, &path, &body).await })
    });
    for answer in all.collect::<Vec<_>>() {
        answer.await.unwrap().ok();
    }
    let run = scene.end(handle, 0).await;
    assert_eq!(run.status.artifacts.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_run_up_finds_what_it_reported_meanwhile() {
    let scene = Scene::new().await;
    let handle = scene.run(request()).await;
    let key = handle.key();
    // It dies without a word.
    let Scene { folder, orchestrator, target, end, ended, .. } = scene;
    drop((handle, orchestrator, end));
    within(ended).await.unwrap();
    let other = Orchestrator::builder(folder.path()).recover(false).open().await.unwrap();
    let (tokens, address, _end, _) = serve(&other, Limits::default()).await;
    let path = format!("PATCH /api/v1/projects/default/runs/{}", key.uid);
    ask(address, tokens.token(&key, 0).expose(), &path, r#"{"status.results": {"alone": 1}}"#).await.ok();

    let again =
        Orchestrator::builder(folder.path()).target(target.clone()).recover(false).open().await.unwrap();
    let (taken, ()) = tokio::join!(again.recover(), target.see(&key, 0, Phase::Running));
    assert_eq!(taken.unwrap().as_slice(), std::slice::from_ref(&key));
    let mut handle = again.watch(&key).await.unwrap();
    until(&mut handle, |run| run.status.results.contains_key("alone")).await;
    target.see(&key, 0, Phase::Ended(Exit::Code(0))).await;
    assert_eq!(within(handle.wait()).await.unwrap().state(), RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_that_share_a_store_share_tokens_and_reports() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let target = Arc::new(Elsewhere::default());
    let open = |home: &Path| Orchestrator::builder(home).store(Arc::clone(&store));
    let follows = open(one.path()).target(target.clone()).open().await.unwrap();
    let serves = open(two.path()).recover(false).open().await.unwrap();
    let (_, address, _end, _) = serve(&serves, Limits::default()).await;
    serves.set_endpoint(&format!("http://{address}/")).await.unwrap();
    assert_eq!(follows.endpoint().await.unwrap(), Some(format!("http://{address}")));

    let mut handle = follows.submit(request()).await.unwrap();
    let key = handle.key();
    target.see(&key, 0, Phase::Running).await;
    let token = Tokens::open(&follows).await.unwrap().token(&key, 0);
    let path = format!("PATCH /api/v1/projects/default/runs/{}", key.uid);
    ask(address, token.expose(), &path, r#"{"status.results": {"far": 1}}"#).await.ok();
    until(&mut handle, |run| run.status.results.contains_key("far")).await;
    target.see(&key, 0, Phase::Ended(Exit::Code(0))).await;
    assert_eq!(within(handle.wait()).await.unwrap().state(), RunState::Completed);
    assert!(!one.path().join("token-key").exists() && !two.path().join("token-key").exists());
}
