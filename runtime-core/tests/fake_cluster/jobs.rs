//! Controllers: jobs, owners, quotas.

use super::*;

fn job(name: &str, spec: serde_json::Value) -> Job {
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3"}]}});
    let mut spec = spec;
    spec["template"] = template;
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn ended(job: &Job) -> Vec<(String, String)> {
    let conditions = job.status.clone().and_then(|status| status.conditions).unwrap_or_default();
    let ends = conditions.into_iter().filter(|one| one.type_ == "Complete" || one.type_ == "Failed");
    ends.map(|one| (one.type_, one.reason.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_job_tries_again_and_gives_up() {
    let cluster = FakeCluster::new();
    let jobs: Api<Job> = api(&cluster);
    let create =
        async |name: &str, spec| jobs.create(&PostParams::default(), &job(name, spec)).await.unwrap();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    cluster.on_pod(move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Life::started().exits(1),
        _ => Life::started().exits(0),
    });
    create("again", json!({"backoffLimit": 2})).await;
    let done = jobs.get("again").await.unwrap();
    assert_eq!(ended(&done), [("Complete".to_owned(), "CompletionsReached".to_owned())]);
    let status = done.status.unwrap();
    assert_eq!((status.succeeded, status.failed), (Some(1), Some(1)));
    let made = pods_of(&cluster).list(&ListParams::default().labels("job-name=again")).await.unwrap();
    assert_eq!(made.items.len(), 2);
    assert_eq!(made.items[0].owner_references()[0].kind, "Job");

    cluster.on_pod(|_| Life::started().exits(1));
    create("never", json!({"backoffLimit": 0, "ttlSecondsAfterFinished": 60})).await;
    let failed = jobs.get("never").await.unwrap();
    assert_eq!(ended(&failed), [("Failed".to_owned(), "BackoffLimitExceeded".to_owned())]);
    cluster.advance(Duration::from_secs(61));
    assert!(jobs.get_opt("never").await.unwrap().is_none());
    assert_eq!(
        pods_of(&cluster).list(&ListParams::default().labels("job-name=never")).await.unwrap().items.len(),
        0
    );

    cluster.on_pod(|_| Life::started().exits(42));
    let rule = json!({"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}});
    create("policy", json!({"backoffLimit": 6, "podFailurePolicy": {"rules": [rule]}})).await;
    let failed = jobs.get("policy").await.unwrap();
    assert_eq!(ended(&failed), [("Failed".to_owned(), "PodFailurePolicy".to_owned())]);

    cluster.on_pod(|_| Life::started().wait("never said"));
    create("slow", json!({"activeDeadlineSeconds": 5})).await;
    cluster.advance(Duration::from_secs(6));
    assert_eq!(
        ended(&jobs.get("slow").await.unwrap()),
        [("Failed".to_owned(), "DeadlineExceeded".to_owned())]
    );

    create("held", json!({"suspend": true})).await;
    assert_eq!(
        pods_of(&cluster).list(&ListParams::default().labels("job-name=held")).await.unwrap().items.len(),
        0
    );
    jobs.patch("held", &PatchParams::default(), &Patch::Merge(json!({"spec": {"suspend": false}})))
        .await
        .unwrap();
    assert_eq!(jobs.get("held").await.unwrap().status.unwrap().active, Some(1));
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner_or_stays() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().wait("never said"));
    let (jobs, pods): (Api<Job>, _) = (api(&cluster), pods_of(&cluster));
    let count = async || pods.list(&ListParams::default()).await.unwrap().items.len();
    for (how, left) in
        [(DeleteParams::background(), 0), (DeleteParams::foreground(), 0), (DeleteParams::orphan(), 1)]
    {
        jobs.create(&PostParams::default(), &job("j", json!({}))).await.unwrap();
        assert_eq!(count().await, 1);
        jobs.delete("j", &how).await.unwrap();
        assert!(jobs.get_opt("j").await.unwrap().is_none(), "{how:?}");
        assert_eq!(count().await, left, "{how:?}");
    }
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items[0].owner_references().len(), 0);
    // A finalizer keeps an object until it is taken away.
    let mut kept = pod("kept");
    kept.metadata.finalizers = Some(vec!["example.com/logs".to_owned()]);
    pods.create(&PostParams::default(), &kept).await.unwrap();
    pods.delete("kept", &DeleteParams::default()).await.unwrap();
    assert!(pods.get("kept").await.unwrap().metadata.deletion_timestamp.is_some());
    pods.patch("kept", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await
        .unwrap();
    assert!(pods.get_opt("kept").await.unwrap().is_none());
}

#[tokio::test]
async fn a_quota_is_a_limit() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().wait("end").exits(0));
    cluster.put(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"pods": "1"}}}));
    let pods = pods_of(&cluster);
    create(&pods, "a").await;
    let refused = pods.create(&PostParams::default(), &pod("b")).await.unwrap_err();
    assert_eq!(code(&refused), 403);
    let said =
        r#"pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#;
    assert!(refused.to_string().contains(said), "{refused}");
    // What has ended takes no room.
    cluster.go("end");
    create(&pods, "b").await;
}
