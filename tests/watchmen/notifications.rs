//! Who is told of a run, by a real web server: also one that refuses, is slow, or fails at first, and also where the
//! orchestrator is killed in between.

use runtimes::{
    Orchestrator, Request, Run, RunState,
    core::{
        jiff::{SignedDuration, Timestamp},
        run::{Notification, NotificationKind, NotificationStatus},
        secret::{Secret, project_secret},
        serde_json::{Value, json},
        store::RunFilter,
    },
};

use crate::{
    chaos::{Order, Other, Scene, Work},
    holding, open,
    receiver::{Answer, Receiver},
    refusal, shell, within,
};

fn notification(kind: NotificationKind, params: Value) -> Notification {
    Notification { params: params.as_object().cloned(), ..Notification::new(kind) }
}

fn webhook(url: &str) -> Notification {
    notification(NotificationKind::Webhook, json!({"url": url}))
}

/// Runs it, and waits for its end, and for nothing else.
async fn run(orchestrator: &Orchestrator, request: Request) -> Run {
    within(orchestrator.submit(request).await.unwrap().wait()).await.unwrap()
}

/// What became of the one notification of a run.
async fn status_of(orchestrator: &Orchestrator, run: &Run) -> NotificationStatus {
    let found = orchestrator.find(&run.metadata.uid).await.unwrap().run.status.notifications.clone();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_values().next().unwrap()
}

/// Waits until nothing is on its way.
async fn flushed(orchestrator: &Orchestrator) {
    within(orchestrator.flush(std::time::Duration::from_secs(30))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut receiver = Receiver::start(&[Answer::Status(200)]);
    let url = format!("{}/hook", receiver.url);
    let failed = Notification { name: "failed".into(), when: vec!["error".into()], ..webhook(&url) };
    let request = shell(folder.path(), "exit 0").notify(webhook(&url)).notify(failed.clone());
    let ended = run(&orchestrator, request).await;
    let received = receiver.next().await;
    assert_eq!((&*received.method, &*received.path), ("POST", "/hook"));
    assert_eq!(received.body["severity"], "info");
    assert_eq!(received.body["state"], "completed");
    assert_eq!(received.body["runs"][0]["metadata"]["uid"], ended.metadata.uid.as_str());
    assert!(received.body["message"].as_str().unwrap().contains("completed"), "{}", received.body);
    flushed(&orchestrator).await;
    let status = status_of(&orchestrator, &ended).await;
    assert_eq!((&*status.status, status.attempts), ("sent", 1));
    assert!(status.sent_time >= ended.status.end_time, "{status:?}");

    // The other one tells of failures alone.
    let ended = run(&orchestrator, shell(folder.path(), "exit 3").notify(webhook(&url)).notify(failed)).await;
    let received = receiver.next().await;
    assert_eq!((&received.body["name"], &received.body["state"]), (&json!("failed"), &json!("error")));
    assert_eq!(received.body["runs"][0]["metadata"]["uid"], ended.metadata.uid.as_str());
    assert!(receiver.others().is_empty());
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_where_the_condition_holds() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut receiver = Receiver::start(&[Answer::Status(204)]);
    std::fs::write(folder.path().join("f.py"), "def f(context):\n    context.log_result('accuracy', 0.8)\n")
        .unwrap();
    let mut request = Request::from_file(folder.path().join("f.py")).unwrap().handler("f");
    for (name, condition) in [("low", "accuracy < 0.9"), ("high", "accuracy > 0.9"), ("other", "loss < 1")] {
        let one = webhook(&receiver.url);
        request = request.notify(Notification { name: name.into(), condition: condition.into(), ..one });
    }
    let begun = Notification { name: "begun".into(), when: vec!["running".into()], ..webhook(&receiver.url) };
    let ended = run(&orchestrator, request.notify(begun)).await;
    assert_eq!(ended.state(), RunState::Completed, "{ended:?}");
    flushed(&orchestrator).await;
    let mut names: Vec<_> =
        receiver.others().iter().map(|received| received.body["name"].to_string()).collect();
    names.sort();
    assert_eq!(names, ["\"begun\"", "\"low\""]);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut receiver = Receiver::start(&[Answer::Status(503), Answer::Close, Answer::Status(200)]);
    let ended = run(&orchestrator, shell(folder.path(), "true").notify(webhook(&receiver.url))).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(receiver.next().await.header("idempotency-key").to_owned());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    flushed(&orchestrator).await;
    let status = status_of(&orchestrator, &ended).await;
    assert_eq!((&*status.status, status.attempts, status.reason), ("sent", 3, None));
    assert!(receiver.others().is_empty());
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut receiver = Receiver::start(&[Answer::Status(404)]);
    let ended = run(&orchestrator, shell(folder.path(), "true").notify(webhook(&receiver.url))).await;
    receiver.next().await;
    flushed(&orchestrator).await;
    let status = status_of(&orchestrator, &ended).await;
    assert_eq!((&*status.status, status.attempts), ("error", 1));
    let reason = status.reason.unwrap();
    assert!(reason.contains("answered 404") && !reason.contains("s3cret"), "{reason}");
    assert_eq!(orchestrator.next_delivery().await.unwrap(), None);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let url = format!("{}/s3cret", Receiver::nobody());
    let ended = run(&orchestrator, shell(folder.path(), "true").notify(webhook(&url))).await;
    assert_eq!(ended.state(), RunState::Completed);
    let now = Timestamp::now();
    within(async {
        while status_of(&orchestrator, &ended).await.reason.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let status = status_of(&orchestrator, &ended).await;
    assert_eq!(status.status, "pending");
    let reason = status.reason.unwrap();
    assert!(reason.contains("cannot be reached") && !reason.contains("s3cret"), "{reason}");
    // It is tried as long as it may help; then it is said that it did not.
    for hours in [1, 12, 25] {
        orchestrator.deliver_due(now + SignedDuration::from_hours(hours)).await.unwrap();
    }
    let status = status_of(&orchestrator, &ended).await;
    assert_eq!(status.status, "error", "{status:?}");
    assert_eq!(orchestrator.next_delivery().await.unwrap(), None);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut slow = Receiver::start(&[Answer::Silence]);
    let mut quick = Receiver::start(&[Answer::Status(200)]);
    let first = run(&orchestrator, shell(folder.path(), "true").notify(webhook(&slow.url))).await;
    slow.next().await;
    let second = run(&orchestrator, shell(folder.path(), "true").notify(webhook(&quick.url))).await;
    assert_eq!(quick.next().await.body["runs"][0]["metadata"]["uid"], second.metadata.uid.as_str());
    let status = status_of(&orchestrator, &first).await;
    assert_eq!((&*status.status, status.attempts), ("pending", 1));
    // As a program that ends without closing it.
    drop(orchestrator);
}

#[test]
fn whoever_comes_after_a_killed_one_sends_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // It dies between the end of the run and the first request: what is to be sent was written with the end.
    let scene = Scene::new();
    let mut receiver = Receiver::start(&[Answer::Status(200)]);
    let order = Order { die: "after end", notify: &receiver.url, ..Order::run(Work::Shell) };
    assert!(!Other::start(&scene, order).end().success());
    runtime.block_on(async {
        let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
        assert_eq!(receiver.next().await.body["state"], "error");
        flushed(&orchestrator).await;
        let run = &orchestrator.list(&RunFilter::default()).await.unwrap()[0].run;
        let status = status_of(&orchestrator, run).await;
        assert_eq!((&*status.status, status.attempts), ("sent", 1));
        orchestrator.close().await.unwrap();
    });
    assert!(receiver.others().is_empty());
}

#[test]
fn what_was_on_its_way_when_it_was_killed_is_sent_again() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scene = Scene::new();
    let mut receiver = Receiver::start(&[Answer::Silence, Answer::Status(200)]);
    let order = Order { notify: &receiver.url, ..Order::run(Work::Shell) };
    let other = Other::start(&scene, order);
    let first = receiver.wait();
    other.kill();
    runtime.block_on(async {
        let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
        // It was claimed: for so long nobody else sends it.
        assert_eq!(orchestrator.deliver_due(Timestamp::now()).await.unwrap(), 0);
        let later = Timestamp::now() + SignedDuration::from_secs(61);
        assert_eq!(orchestrator.deliver_due(later).await.unwrap(), 1);
        let second = receiver.next().await;
        assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
        assert_eq!(orchestrator.deliver_due(later).await.unwrap(), 0);
        let run = &orchestrator.list(&RunFilter::default()).await.unwrap()[0].run;
        let status = status_of(&orchestrator, run).await;
        assert_eq!((&*status.status, status.attempts), ("sent", 2));
        orchestrator.close().await.unwrap();
    });
    assert!(receiver.others().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_parameters_are_kept_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut receiver = Receiver::start(&[Answer::Status(500), Answer::Status(200)]);
    let url = format!("{}/hook?sig=s3cret-in-url", receiver.url);
    let params = json!({"url": url, "headers": {"x-auth": "s3cret-header"}});
    let ended = run(
        &orchestrator,
        shell(folder.path(), "true").notify(notification(NotificationKind::Webhook, params)),
    )
    .await;
    receiver.next().await;
    let received = receiver.next().await;
    assert_eq!(received.path, "/hook?sig=s3cret-in-url");
    assert_eq!(received.header("x-auth"), "s3cret-header");
    // Not even whoever is told gets them.
    assert!(!received.body.to_string().contains("s3cret"), "{}", received.body);
    flushed(&orchestrator).await;
    let kept = &orchestrator.find(&ended.metadata.uid).await.unwrap().run;
    assert!(!json!(kept).to_string().contains("s3cret"));
    // Asked for again, the same values are not kept twice.
    let source = orchestrator.secrets().unwrap();
    let keys = source.keys(&project_secret("default")).unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    run(&orchestrator, shell(folder.path(), "true").notify(kept.spec.notifications[0].clone())).await;
    receiver.next().await;
    assert_eq!(source.keys(&project_secret("default")).unwrap(), keys);
    orchestrator.close().await.unwrap();
    assert_eq!(holding(folder.path(), "s3cret"), [""; 0].map(std::path::PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_and_comments() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut receiver = Receiver::start(&[Answer::Status(200)]);
    let source = orchestrator.secrets().unwrap();
    for (key, value) in
        [("SLACK", format!("{}/services/T/B", receiver.url)), ("GIT_TOKEN", "s3cret".to_owned())]
    {
        source.put(&project_secret("default"), key, &Secret::new(value)).unwrap();
    }
    let secret = |kind, params: Value, secret: Value| Notification {
        secret_params: secret.as_object().cloned(),
        when: vec!["error".into()],
        severity: "warning".into(),
        ..notification(kind, params)
    };
    let slack = secret(NotificationKind::Slack, json!({}), json!({"webhook": "SLACK"}));
    let token = json!({"token": "GIT_TOKEN"});
    let here = &receiver.url;
    let github = json!({"repo": "a/b", "issue": 12, "server": here});
    let gitlab = json!({"repo": "a/b", "merge_request": 7, "server": here, "gitlab": true});
    for (one, path) in [
        (slack, "/services/T/B"),
        (secret(NotificationKind::Git, github, token.clone()), "/repos/a/b/issues/12/comments"),
        (secret(NotificationKind::Git, gitlab, token), "/api/v4/projects/a%2Fb/merge_requests/7/notes"),
    ] {
        let kind = one.kind;
        run(&orchestrator, shell(folder.path(), "echo '<oops>' >&2; exit 3").notify(one)).await;
        let received = receiver.next().await;
        assert_eq!(received.path, path);
        let text =
            received.body[if kind == NotificationKind::Git { "body" } else { "text" }].as_str().unwrap();
        assert!(text.contains("failed"), "{text}");
        match path {
            "/services/T/B" => assert!(received.body["blocks"].to_string().contains("[warning]")),
            path if path.starts_with("/repos") => {
                assert_eq!(received.header("authorization"), "token s3cret")
            }
            _ => assert_eq!(received.header("private-token"), "s3cret"),
        }
    }
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let wrong = |change: fn(&mut Notification)| {
        let mut one = webhook("http://localhost/");
        change(&mut one);
        one
    };
    for (one, place) in [
        (wrong(|one| one.condition = "accuracy >".into()), "condition"),
        (wrong(|one| one.when = vec!["finished".into()]), "when"),
        (wrong(|one| one.severity = "loud".into()), "severity"),
        (wrong(|one| one.params = None), "params.url"),
        (wrong(|one| one.secret_params = json!({"url": "NONE"}).as_object().cloned()), "secret_params.url"),
    ] {
        let request = shell(folder.path(), "touch started").notify(one);
        let error = refusal(orchestrator.submit(request).await);
        assert_eq!(error.location(), Some(format!("spec.notifications[0].{place}").as_str()), "{error}");
        assert!(error.help_text().is_some(), "{error}");
    }
    assert!(orchestrator.list(&RunFilter::default()).await.unwrap().is_empty());
    assert!(!folder.path().join("started").exists());
    orchestrator.close().await.unwrap();
}
