//! Why a pod does not run, and how it ended, as its status and events say it.

use super::*;

async fn lived(cluster: &FakeCluster, name: &str, life: Life) -> Pod {
    cluster.on_pod(move |_| life.clone());
    let pods = pods_of(cluster);
    create(&pods, name).await;
    pods.get(name).await.unwrap()
}

fn waiting(pod: &Pod) -> (String, String) {
    let state =
        pod.status.clone().unwrap().container_statuses.unwrap().remove(0).state.unwrap().waiting.unwrap();
    (state.reason.unwrap(), state.message.unwrap_or_default())
}

fn condition(pod: &Pod, kind: &str) -> (String, String) {
    let conditions = pod.status.clone().unwrap().conditions.unwrap();
    let one = conditions.into_iter().find(|one| one.type_ == kind).unwrap();
    (one.status, one.reason.unwrap_or_default())
}

async fn events(cluster: &FakeCluster, about: &str, reason: &str) -> Vec<String> {
    let wanted = ListParams::default().fields(&format!("involvedObject.name={about},reason={reason}"));
    let found = api::<Event>(cluster).list(&wanted).await.unwrap();
    found.items.into_iter().filter_map(|event| event.message).collect()
}

#[tokio::test]
async fn what_keeps_a_pod_from_running() {
    let cluster = FakeCluster::new();
    let full = "0/1 nodes are available: 1 Insufficient cpu.";
    let pod = lived(&cluster, "full", Life::new().unschedulable(full)).await;
    assert_eq!(condition(&pod, "PodScheduled"), ("False".to_owned(), "Unschedulable".to_owned()));
    assert_eq!(events(&cluster, "full", "FailedScheduling").await, [full]);

    let pod = lived(&cluster, "image", Life::new().scheduled().pull_fails("not found")).await;
    assert_eq!(waiting(&pod), ("ErrImagePull".to_owned(), "not found".to_owned()));
    assert!(cluster.then("default", "image", Life::new().pull_backs_off()));
    let pod = pods_of(&cluster).get("image").await.unwrap();
    assert_eq!(waiting(&pod).0, "ImagePullBackOff");
    assert_eq!(events(&cluster, "image", "BackOff").await, [r#"Back-off pulling image "python:3""#]);
    let log = pods_of(&cluster).logs("image", &LogParams::default()).await.unwrap_err();
    assert!(log.to_string().contains("trying and failing to pull image"), "{log}");

    let missing = r#"secret "db" not found"#;
    let pod = lived(&cluster, "config", Life::new().scheduled().config_error(missing)).await;
    assert_eq!(waiting(&pod), ("CreateContainerConfigError".to_owned(), missing.to_owned()));
    assert_eq!(events(&cluster, "config", "Failed").await, [format!("Error: {missing}")]);
    assert_eq!(phase(&pod), "Pending");
}

#[tokio::test]
async fn how_a_pod_ended() {
    let cluster = FakeCluster::new();
    let ended = |pod: &Pod| {
        let state = pod
            .status
            .clone()
            .unwrap()
            .container_statuses
            .unwrap()
            .remove(0)
            .state
            .unwrap()
            .terminated
            .unwrap();
        (state.exit_code, state.reason.unwrap_or_default())
    };
    let pod = lived(&cluster, "hungry", Life::started().oom_killed()).await;
    assert_eq!((ended(&pod), phase(&pod)), ((137, "OOMKilled".to_owned()), "Failed"));
    let pod = lived(&cluster, "killed", Life::started().killed(11)).await;
    assert_eq!(ended(&pod), (139, "Error".to_owned()));

    let low = "The node was low on resource: memory.";
    let pod = lived(&cluster, "evicted", Life::started().evicted(low)).await;
    let status = pod.status.clone().unwrap();
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some(low)));
    assert_eq!(condition(&pod, "DisruptionTarget").1, "TerminationByKubelet");

    // It is on its way out as soon as it was preempted, and gone when it has ended.
    let life = Life::started().preempted("default/better").on_term(Life::new().wait("over").exits(143));
    let pod = lived(&cluster, "preempted", life).await;
    assert_eq!(condition(&pod, "DisruptionTarget").1, "PreemptionByScheduler");
    assert!(pod.metadata.deletion_timestamp.is_some());
    cluster.go("over");
    assert!(pods_of(&cluster).get_opt("preempted").await.unwrap().is_none());
}

#[tokio::test]
async fn a_container_is_started_again() {
    let cluster = FakeCluster::new();
    let life = Life::started().prints("first").exits(1).wait("again").running().ready().prints("second");
    cluster.on_pod(move |_| life.clone());
    let pods = pods_of(&cluster);
    let mut always = pod("loops");
    always.spec.as_mut().unwrap().restart_policy = Some("Always".to_owned());
    pods.create(&PostParams::default(), &always).await.unwrap();
    let pod = pods.get("loops").await.unwrap();
    assert_eq!((waiting(&pod).0.as_str(), phase(&pod)), ("CrashLoopBackOff", "Running"));
    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut first = pods.log_stream("loops", &follow).await.unwrap().lines();
    assert_eq!(first.try_next().await.unwrap().as_deref(), Some("first"));
    assert_eq!(first.try_next().await.unwrap(), None);
    cluster.go("again");
    let status = pods.get("loops").await.unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!((status.restart_count, status.ready), (1, true));
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 1);
    assert_eq!(pods.logs("loops", &LogParams::default()).await.unwrap(), "second\n");
    let previous = LogParams { previous: true, ..LogParams::default() };
    assert_eq!(pods.logs("loops", &previous).await.unwrap(), "first\n");
}

#[tokio::test]
async fn logs_are_cut_as_is_asked_for() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| {
        Life::started().prints("one").delay(Duration::from_secs(60)).prints("two").prints("three")
    });
    let pods = pods_of(&cluster);
    create(&pods, "a").await;
    cluster.advance(Duration::from_secs(60));
    let read = async |params: LogParams| pods.logs("a", &params).await.unwrap();
    assert_eq!(read(LogParams { tail_lines: Some(1), ..LogParams::default() }).await, "three\n");
    assert_eq!(read(LogParams { limit_bytes: Some(5), ..LogParams::default() }).await, "one\nt");
    assert_eq!(read(LogParams { since_seconds: Some(30), ..LogParams::default() }).await, "two\nthree\n");
    let stamped = read(LogParams { timestamps: true, tail_lines: Some(1), ..LogParams::default() }).await;
    let (time, line) = stamped.split_once(' ').unwrap();
    assert!(time.parse::<runtime_core::jiff::Timestamp>().is_ok() && time.len() == 30, "{stamped}");
    assert_eq!(line, "three\n");
    let other = LogParams { container: Some("other".to_owned()), ..LogParams::default() };
    let refused = pods.logs("a", &other).await.unwrap_err();
    assert!(refused.to_string().contains("container other is not valid for pod a"), "{refused}");
}
