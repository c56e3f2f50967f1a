//! The API server in this process, as kube's client sees it.
#![cfg(feature = "testkit")]

use std::time::Duration;

use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::{
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch,
        PatchParams, PostParams,
    },
    runtime::{WatchStreamExt, watcher},
};
use runtime_core::testkit::cluster::{FakeCluster, Fault, Forbid, Life, Resource};
use serde_json::json;

fn client(cluster: &FakeCluster) -> Client {
    Client::new(cluster.clone(), "default")
}

fn pods(cluster: &FakeCluster) -> Api<Pod> {
    Api::default_namespaced(client(cluster))
}

fn pod(name: &str) -> Pod {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3"}]});
    let metadata = json!({"name": name, "labels": {"app": name}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

async fn create(pods: &Api<Pod>, name: &str) -> Pod {
    pods.create(&PostParams::default(), &pod(name)).await.unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not refused by the server: {other}"),
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_lives_its_script() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().prints("one").wait("go").prints("two").exits_saying(3, "no more"));
    let pods = pods(&cluster);
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
}

#[tokio::test]
async fn a_watcher_sees_each_state_and_survives_what_servers_do() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::new().scheduled().wait("run").running().wait("end").exits(0));
    let pods = pods(&cluster);
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
    let pods = pods(&cluster);
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
    let pods = pods(&cluster);
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
    let pods = pods(&cluster);
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

fn api<K>(cluster: &FakeCluster) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::default_namespaced(client(cluster))
}

fn apply<T: serde::Serialize>(value: T) -> Patch<T> {
    Patch::Apply(value)
}

#[tokio::test]
async fn an_applied_object_belongs_to_who_applied_it() {
    let cluster = FakeCluster::new();
    let maps: Api<ConfigMap> = api(&cluster);
    let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
    let map = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let first = maps.patch("m", &one, &apply(map(json!({"a": "1", "b": "2"})))).await.unwrap();
    let again = maps.patch("m", &one, &apply(map(json!({"a": "1", "b": "2"})))).await.unwrap();
    assert_eq!(again.resource_version(), first.resource_version());
    let refused = maps.patch("m", &two, &apply(map(json!({"a": "3"})))).await.unwrap_err();
    assert_eq!(code(&refused), 409);
    assert!(
        refused.to_string().contains(r#"Apply failed with 1 conflict: conflict with "one": .data.a"#),
        "{refused}"
    );
    let forced =
        maps.patch("m", &two.clone().force(), &apply(map(json!({"a": "3", "c": "4"})))).await.unwrap();
    assert_eq!(serde_json::to_value(&forced.data).unwrap(), json!({"a": "3", "b": "2", "c": "4"}));
    // What its manager does not apply any more goes; what others own stays.
    let less = maps.patch("m", &one, &apply(map(json!(null)))).await.unwrap();
    assert_eq!(serde_json::to_value(&less.data).unwrap(), json!({"a": "3", "c": "4"}));
    let managers: Vec<_> =
        less.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    assert_eq!(managers, ["two"]);
    // Who just writes a field owns it, too.
    let merge = Patch::Merge(json!({"data": {"a": "9"}}));
    maps.patch(
        "m",
        &PatchParams { field_manager: Some("three".to_owned()), ..PatchParams::default() },
        &merge,
    )
    .await
    .unwrap();
    let refused = maps.patch("m", &two, &apply(map(json!({"a": "3", "c": "4"})))).await.unwrap_err();
    assert!(refused.to_string().contains(r#"conflict with "three" using v1: .data.a"#), "{refused}");
}

#[tokio::test]
async fn items_of_lists_are_applied_by_their_keys() {
    let cluster = FakeCluster::new();
    let jobs: Api<Job> = api(&cluster);
    let job = |env: serde_json::Value| {
        let containers = json!([{"name": "main", "image": "python:3", "env": env}]);
        let template = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"suspend": true, "template": template}})
    };
    let one = PatchParams::apply("one");
    let a = json!({"name": "A", "value": "1"});
    let b = json!({"name": "B", "value": "2"});
    jobs.patch("j", &one, &apply(job(json!([a, b])))).await.unwrap();
    let less = jobs.patch("j", &one, &apply(job(json!([b])))).await.unwrap();
    let container = &less.spec.unwrap().template.spec.unwrap().containers[0];
    assert_eq!(serde_json::to_value(&container.env).unwrap(), json!([b]));
    let strategic = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [a]}]}}}});
    let more = jobs.patch("j", &PatchParams::default(), &Patch::Strategic(strategic)).await.unwrap();
    let container = &more.spec.unwrap().template.spec.unwrap().containers[0];
    assert_eq!(serde_json::to_value(&container.env).unwrap(), json!([b, a]));
    assert_eq!(container.image.as_deref(), Some("python:3"));
}

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
    let made = pods(&cluster).list(&ListParams::default().labels("job-name=again")).await.unwrap();
    assert_eq!(made.items.len(), 2);
    assert_eq!(made.items[0].owner_references()[0].kind, "Job");

    cluster.on_pod(|_| Life::started().exits(1));
    create("never", json!({"backoffLimit": 0, "ttlSecondsAfterFinished": 60})).await;
    let failed = jobs.get("never").await.unwrap();
    assert_eq!(ended(&failed), [("Failed".to_owned(), "BackoffLimitExceeded".to_owned())]);
    cluster.advance(Duration::from_secs(61));
    assert!(jobs.get_opt("never").await.unwrap().is_none());
    assert_eq!(
        pods(&cluster).list(&ListParams::default().labels("job-name=never")).await.unwrap().items.len(),
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
        pods(&cluster).list(&ListParams::default().labels("job-name=held")).await.unwrap().items.len(),
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
    let (jobs, pods): (Api<Job>, _) = (api(&cluster), pods(&cluster));
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
    let pods = pods(&cluster);
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

#[tokio::test]
async fn custom_resources_are_served_once_they_are_known() {
    let cluster = FakeCluster::new();
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kubeflow.org", "v2beta1", "MPIJob"),
        "mpijobs",
    );
    let jobs: Api<DynamicObject> = Api::default_namespaced_with(client(&cluster), &kind);
    assert_eq!(code(&jobs.list(&ListParams::default()).await.unwrap_err()), 404);
    cluster.register(Resource::new("kubeflow.org", "v2beta1", "MPIJob").also("v1"));
    let object =
        DynamicObject::new("m", &kind).data(json!({"spec": {"slots": 2}, "status": {"never": "written"}}));
    let made = jobs.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!((made.metadata.generation, made.data.get("status")), (Some(1), None));
    let status = Patch::Merge(
        json!({"status": {"conditions": [{"type": "Created", "status": "True"}]}, "spec": {"slots": 9}}),
    );
    let patched = jobs.patch_status("m", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(patched.data["status"]["conditions"][0]["type"], "Created");
    assert_eq!(patched.data["spec"]["slots"], 2);
    let group = kube::discovery::group(&client(&cluster), "kubeflow.org").await.unwrap();
    let found = group.recommended_kind("MPIJob").unwrap();
    assert_eq!((found.0.plural.as_str(), found.0.version.as_str()), ("mpijobs", "v2beta1"));
    let old =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kubeflow.org", "v1", "MPIJob"), "mpijobs");
    let old: Api<DynamicObject> = Api::default_namespaced_with(client(&cluster), &old);
    assert_eq!(old.get("m").await.unwrap().types.unwrap().api_version, "kubeflow.org/v1");
}

#[tokio::test]
async fn lists_come_in_pages_and_as_metadata() {
    let cluster = FakeCluster::new();
    let maps: Api<ConfigMap> = api(&cluster);
    for number in 0..5 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "1"}});
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (2, Some(3)));
    // What changes meanwhile is not seen in the pages of the same list.
    maps.delete("m4", &DeleteParams::default()).await.unwrap();
    let rest = maps.list(&ListParams::default().limit(9).continue_token(&token)).await.unwrap();
    let names: Vec<_> = rest.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["m2", "m3", "m4"]);
    cluster.compact();
    let old = maps.list(&ListParams::default().limit(9).continue_token(&token)).await.unwrap_err();
    assert_eq!(code(&old), 410);
    let metadata = maps.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!((metadata.items.len(), metadata.items[0].name_any().as_str()), (4, "m0"));
    let metadata = serde_json::to_value(maps.get_metadata("m0").await.unwrap()).unwrap();
    assert_eq!((&metadata["kind"], metadata.get("data")), (&json!("PartialObjectMetadata"), None));
}

#[tokio::test]
async fn a_lease_is_taken_by_one() {
    let cluster = FakeCluster::new();
    let leases: Api<Lease> = api(&cluster);
    let lease = |holder: &str, version: Option<String>| -> Lease {
        let metadata = json!({"name": "leader", "resourceVersion": version});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"holderIdentity": holder}})).unwrap()
    };
    let first = leases.create(&PostParams::default(), &lease("a", None)).await.unwrap();
    let version = first.resource_version();
    leases.replace("leader", &PostParams::default(), &lease("a", version.clone())).await.unwrap();
    leases.replace("leader", &PostParams::default(), &lease("b", version.clone())).await.unwrap();
    let late = leases.replace("leader", &PostParams::default(), &lease("c", version)).await.unwrap_err();
    assert_eq!((code(&late), late.to_string().contains("the object has been modified")), (409, true));
}

#[tokio::test]
async fn a_lost_node_keeps_its_pods() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::new().scheduled_on("far").running().ready().prints("line").wait("end").exits(0));
    let pods = pods(&cluster);
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
    let pods = pods(&cluster);
    let config = watcher::Config::default().page_size(500);
    let seen = tokio::spawn({
        let pods = pods.clone();
        async move {
            let mut ended = std::collections::HashSet::new();
            let mut events = Box::pin(watcher(pods, config).default_backoff().applied_objects());
            while ended.len() < 2000 {
                let pod = events.try_next().await.unwrap().unwrap();
                if phase(&pod) == "Succeeded" {
                    ended.insert(pod.name_any());
                }
            }
        }
    });
    let begin = std::time::Instant::now();
    let all = futures_util::stream::iter(0..2000).map(|number| {
        let pods = pods.clone();
        async move { pods.create(&PostParams::default(), &pod(&format!("p{number}"))).await.map(drop) }
    });
    all.buffer_unordered(32).try_collect::<()>().await.unwrap();
    println!("2,000 pods were created in {:?}", begin.elapsed());
    cluster.go("run");
    seen.await.unwrap();
    println!("and had ended after {:?}", begin.elapsed());
    assert_eq!((cluster.count("watch", "pods") > 0, cluster.watches("pods")), (true, 0));
}
