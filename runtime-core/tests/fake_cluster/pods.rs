//! Pods live, are watched, and end; what goes wrong does.

use super::*;

#[tokio::test]
async fn a_pod_lives_its_script() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().prints("one").wait("go").prints("two").exits_saying(3, "no more"));
    let pods = pods_of(&cluster);
    let created = create(&pods, "a").await;
    assert_eq!(phase(&created), "Pending");
    let running = pods.get("a").await.unwrap();
    assert_eq!(phase(&running), "Running");
    assert!(running.uid().is_some() && running.resource_version() != created.resource_version());
    assert_eq!(pods.logs("a", &LogParams::default()).await.unwrap(), "one\n");

    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut lines = pods.log_stream("a", &follow).await.unwrap().lines();
    assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("one"));
    cluster.go("go");
    assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("two"));
    assert_eq!(lines.try_next().await.unwrap(), None);

    let ended = pods.get("a").await.unwrap().status.unwrap();
    assert_eq!(ended.phase.as_deref(), Some("Failed"));
    let state = ended.container_statuses.unwrap().remove(0).state.unwrap().terminated.unwrap();
    assert_eq!((state.exit_code, state.message.as_deref()), (3, Some("no more")));
    let events: Api<Event> = Api::default_namespaced(client(&cluster));
    let about = ListParams::default().fields("involvedObject.name=a,reason=Scheduled");
    let found = events.list(&about).await.unwrap();
    assert_eq!(found.items[0].message.as_deref(), Some("Successfully assigned default/a to node-1"));
    // Schedulers speak the newer form of events, kubelets the older one.
    assert!(found.items[0].event_time.is_some() && found.items[0].last_timestamp.is_none());
    let about = ListParams::default().fields("involvedObject.name=a,reason=Started");
    let started = events.list(&about).await.unwrap().items.remove(0);
    assert!(started.event_time.is_none() && started.last_timestamp.is_some());
    assert_eq!(started.involved_object.field_path.as_deref(), Some("spec.containers{main}"));
}

#[tokio::test]
async fn a_watcher_sees_each_state_and_survives_what_servers_do() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::new().scheduled().wait("run").running().wait("end").exits(0));
    let pods = pods_of(&cluster);
    create(&pods, "early").await;
    let config = watcher::Config::default().labels("app in (early, late)").timeout(100);
    let mut seen = Box::pin(watcher(pods.clone(), config).default_backoff().applied_objects());
    let first = seen.try_next().await.unwrap().unwrap();
    assert_eq!((first.name_any().as_str(), phase(&first)), ("early", "Pending"));

    create(&pods, "late").await;
    create(&pods, "other").await;
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "late");
    cluster.go("run");
    while phase(&seen.try_next().await.unwrap().unwrap()) != "Running" {}
    // The watch is taken up where it was.
    cluster.drop_watches();
    cluster.go("end");
    while phase(&seen.try_next().await.unwrap().unwrap()) != "Succeeded" {}
    assert_eq!(cluster.count("list", "pods"), 1);
    // What is too old is listed anew.
    cluster.expire_watches();
    cluster.until(|cluster| cluster.watches("pods") == 0).await;
    loop {
        let pod = match seen.next().await.unwrap() {
            Ok(pod) => pod,
            Err(error) => {
                assert!(error.to_string().contains("too old"), "{error}");
                continue;
            }
        };
        if pod.name_any() == "late" && cluster.count("list", "pods") == 2 {
            break;
        }
    }
    // A watch is open again, the only one.
    tokio::select! {
        other = seen.next() => panic!("nothing had changed: {other:?}"),
        () = cluster.until(|cluster| cluster.watches("pods") == 1) => {}
    }
}

#[tokio::test]
async fn a_pod_is_deleted_with_grace() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().wait("never").ignores_term());
    let pods = pods_of(&cluster);
    create(&pods, "stubborn").await;
    let left = pods.delete("stubborn", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(left.metadata.deletion_grace_period_seconds, Some(30));
    assert!(pods.get("stubborn").await.unwrap().metadata.deletion_timestamp.is_some());
    cluster.advance(Duration::from_secs(31));
    assert_eq!(code(&pods.get("stubborn").await.unwrap_err()), 404);

    cluster.on_pod(|_| Life::started().wait("never"));
    create(&pods, "polite").await;
    pods.delete("polite", &DeleteParams::default()).await.unwrap();
    assert!(pods.get_opt("polite").await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_a_server_does() {
    let cluster = FakeCluster::new();
    let pods = pods_of(&cluster);
    create(&pods, "a").await;
    let again = pods.create(&PostParams::default(), &pod("a")).await.unwrap_err();
    assert_eq!(
        (code(&again), again.to_string().contains(r#"pods "a" already exists"#)),
        (409, true),
        "{again}"
    );
    let wrong = pods.create(&PostParams::default(), &pod("Wrong_Name")).await.unwrap_err();
    assert_eq!((code(&wrong), wrong.to_string().contains("RFC 1123 subdomain")), (422, true), "{wrong}");
    let nowhere: Api<Pod> = Api::namespaced(client(&cluster), "nowhere");
    let absent = nowhere.create(&PostParams::default(), &pod("a")).await.unwrap_err();
    assert_eq!(
        (code(&absent), absent.to_string().contains(r#"namespaces "nowhere" not found"#)),
        (404, true),
        "{absent}"
    );
    cluster.forbid(Forbid::verb("delete").on("pods"));
    let forbidden = pods.delete("a", &DeleteParams::default()).await.unwrap_err();
    assert_eq!(code(&forbidden), 403);
    assert!(
        forbidden.to_string().contains(r#"cannot delete resource "pods" in API group """#),
        "{forbidden}"
    );
}

#[tokio::test]
async fn faults_happen_as_often_as_they_should() {
    let cluster = FakeCluster::new();
    let pods = pods_of(&cluster);
    cluster.fault(Fault::internal().on("create", "pods").times(2));
    for _ in 0..2 {
        assert_eq!(code(&pods.create(&PostParams::default(), &pod("a")).await.unwrap_err()), 500);
    }
    create(&pods, "a").await;
    // The pod is there though nobody said so.
    cluster.fault(Fault::answer_lost().on("create", "pods"));
    let lost = pods.create(&PostParams::default(), &pod("b")).await.unwrap_err();
    assert!(matches!(lost, kube::Error::Service(_)), "{lost}");
    assert!(pods.get_opt("b").await.unwrap().is_some());
    cluster.stop();
    assert!(pods.get_opt("b").await.is_err());
    cluster.start();
    assert!(pods.get_opt("b").await.unwrap().is_some());
    let statuses: Vec<_> =
        cluster.requests().iter().filter(|seen| seen.verb == "create").map(|seen| seen.status).collect();
    assert_eq!(statuses, [Some(500), Some(500), Some(201), None]);
}

#[tokio::test]
async fn a_lost_node_keeps_its_pods() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::new().scheduled_on("far").running().ready().prints("line").wait("end").exits(0));
    let pods = pods_of(&cluster);
    create(&pods, "a").await;
    cluster.lose_node("far");
    let ready = |pod: &Pod| {
        let conditions = pod.status.clone().and_then(|status| status.conditions).unwrap_or_default();
        conditions.into_iter().find(|one| one.type_ == "Ready").map(|one| one.status)
    };
    assert_eq!(ready(&pods.get("a").await.unwrap()).as_deref(), Some("False"));
    assert_eq!(code(&pods.logs("a", &LogParams::default()).await.unwrap_err()), 500);
    cluster.go("end");
    cluster.advance(Duration::from_secs(301));
    cluster.advance(Duration::from_secs(60));
    let pod = pods.get("a").await.unwrap();
    assert_eq!((phase(&pod), pod.metadata.deletion_timestamp.is_some()), ("Running", true));
    cluster.find_node("far");
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

/// Not a measure, but what is too slow by orders is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pods_are_cheap() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::new().scheduled().wait("run").running().exits(0));
    let pods = pods_of(&cluster);
    let config = watcher::Config::default().page_size(500);
    let seen = tokio::spawn({
        let pods = pods.clone();
        async move {
            let mut ended = std::collections::HashSet::new();
            let mut events = Box::pin(watcher(pods, config).default_backoff().applied_objects());
            while ended.len() < 500 {
                let pod = events.try_next().await.unwrap().unwrap();
                if phase(&pod) == "Succeeded" {
                    ended.insert(pod.name_any());
                }
            }
        }
    });
    let begin = std::time::Instant::now();
    let all = futures_util::stream::iter(0..500).map(|number| {
        let pods = pods.clone();
        async move { pods.create(&PostParams::default(), &pod(&format!("p{number}"))).await.map(drop) }
    });
    all.buffer_unordered(32).try_collect::<()>().await.unwrap();
    println!("500 pods were created in {:?}", begin.elapsed());
    cluster.go("run");
    seen.await.unwrap();
    println!("and had ended after {:?}", begin.elapsed());
    assert_eq!((cluster.count("watch", "pods") > 0, cluster.watches("pods")), (true, 0));
}

/// A pod whose container is a process on this machine.
fn process(name: &str, container: serde_json::Value) -> Pod {
    let mut spec = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "sh"}]});
    for (field, value) in container.as_object().unwrap() {
        spec["containers"][0][field] = value.clone();
    }
    let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    serde_json::from_value(pod).unwrap()
}

async fn state_of(cluster: &FakeCluster, name: &str) -> ContainerState {
    let state = |cluster: &FakeCluster| {
        let pods = cluster.objects("pods");
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name).unwrap();
        serde_json::from_value::<ContainerState>(pod["status"]["containerStatuses"][0]["state"].clone())
            .unwrap()
    };
    cluster.until(|cluster| state(cluster).running.is_none()).await;
    state(cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_a_process() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::executes());
    let pods = pods_of(&cluster);
    let folder = std::env::temp_dir().canonicalize().unwrap();
    let script = r#"echo "$0 $GREETING $HOSTNAME"; pwd; printf end >&2; exit 3"#;
    let container = json!({
        "command": ["sh", "-c", script, "$(NAME)"],
        "env": [{"name": "NAME", "value": "world"}, {"name": "GREETING", "value": "hello $(NAME)"}],
        "workingDir": folder,
    });
    pods.create(&PostParams::default(), &process("works", container)).await.unwrap();
    let ended = state_of(&cluster, "works").await.terminated.unwrap();
    assert_eq!((ended.exit_code, ended.signal), (3, None));
    let log = pods.logs("works", &LogParams::default()).await.unwrap();
    assert_eq!(log, format!("world hello world works\n{}\nend", folder.display()));

    // It ends as a container does whose first process got a signal.
    let container = json!({"command": ["sh", "-c", "kill -9 $$$$"]});
    pods.create(&PostParams::default(), &process("killed", container)).await.unwrap();
    assert_eq!(state_of(&cluster, "killed").await.terminated.unwrap().exit_code, 137);

    let container = json!({"command": ["no-such-program"]});
    pods.create(&PostParams::default(), &process("absent", container)).await.unwrap();
    let ended = state_of(&cluster, "absent").await.terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (128, Some("StartError")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_does_not_have_is_said() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::executes());
    let pods = pods_of(&cluster);
    let from_elsewhere =
        json!([{"name": "TOKEN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    for (name, container, why) in [
        ("image", json!({}), "`command`"),
        ("variable", json!({"command": ["true"], "env": from_elsewhere}), "TOKEN"),
        ("variables", json!({"command": ["true"], "envFrom": [{"secretRef": {"name": "db"}}]}), "`envFrom`"),
    ] {
        pods.create(&PostParams::default(), &process(name, container)).await.unwrap();
        let waiting = state_of(&cluster, name).await.waiting.unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("CreateContainerConfigError"), "{name}");
        assert!(waiting.message.as_ref().unwrap().contains(why), "{name}: {waiting:?}");
    }
}
