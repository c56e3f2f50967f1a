//! What servers do to their clients: watches of all kinds, restarts, namespaces that go, access that is asked about.

use k8s_openapi::{
    api::{
        authorization::v1::SelfSubjectAccessReview,
        core::v1::{Namespace, Node},
        policy::v1::PodDisruptionBudget,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::api::{EvictParams, WatchEvent, WatchParams};

use super::*;

fn name(event: &WatchEvent<ConfigMap>) -> (&'static str, String) {
    match event {
        WatchEvent::Added(map) => ("added", map.name_any()),
        WatchEvent::Modified(map) => ("modified", map.name_any()),
        WatchEvent::Deleted(map) => ("deleted", map.name_any()),
        WatchEvent::Bookmark(mark) => {
            let initial = mark.metadata.annotations.contains_key("k8s.io/initial-events-end");
            ("bookmark", if initial { "initial".to_owned() } else { String::new() })
        }
        WatchEvent::Error(status) => ("error", status.code.to_string()),
    }
}

fn map(name: &str, label: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"l": label}}})).unwrap()
}

#[tokio::test]
async fn a_watch_sees_what_its_selector_lets_through() {
    let cluster = FakeCluster::new();
    let maps: Api<ConfigMap> = api(&cluster);
    maps.create(&PostParams::default(), &map("a", "in")).await.unwrap();
    maps.create(&PostParams::default(), &map("b", "out")).await.unwrap();
    let wanted = WatchParams::default().labels("l=in").initial_events();
    let mut seen = Box::pin(maps.watch(&wanted, "").await.unwrap());
    let mut next = async || name(&seen.try_next().await.unwrap().unwrap());
    assert_eq!(next().await, ("added", "a".to_owned()));
    assert_eq!(next().await, ("bookmark", "initial".to_owned()));
    let label = |to: &str| Patch::Merge(json!({"metadata": {"labels": {"l": to}}}));
    maps.patch("b", &PatchParams::default(), &label("in")).await.unwrap();
    maps.patch("a", &PatchParams::default(), &label("out")).await.unwrap();
    // What changes nothing is no event.
    maps.patch("b", &PatchParams::default(), &label("in")).await.unwrap();
    maps.delete("b", &DeleteParams::default()).await.unwrap();
    assert_eq!(next().await, ("added", "b".to_owned()));
    assert_eq!(next().await, ("deleted", "a".to_owned()));
    assert_eq!(next().await, ("deleted", "b".to_owned()));
    cluster.bookmark();
    assert_eq!(next().await, ("bookmark", String::new()));
    // At the end of its time it is told how far it came.
    cluster.advance(Duration::from_secs(291));
    assert_eq!(next().await, ("bookmark", String::new()));
    assert!(seen.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_begins_where_it_wants_unless_that_is_forgotten() {
    let cluster = FakeCluster::new();
    let maps: Api<ConfigMap> = api(&cluster);
    let first =
        maps.create(&PostParams::default(), &map("a", "x")).await.unwrap().resource_version().unwrap();
    maps.create(&PostParams::default(), &map("b", "x")).await.unwrap();
    let mut seen = Box::pin(maps.watch(&WatchParams::default(), &first).await.unwrap());
    assert_eq!(name(&seen.try_next().await.unwrap().unwrap()), ("added", "b".to_owned()));
    cluster.restart();
    assert!(seen.next().await.is_none_or(|broken| broken.is_err()));
    let mut seen = Box::pin(maps.watch(&WatchParams::default(), &first).await.unwrap());
    assert_eq!(name(&seen.try_next().await.unwrap().unwrap()), ("error", "410".to_owned()));
}

#[tokio::test]
async fn a_watcher_that_streams_its_list_asks_once() {
    let cluster = FakeCluster::new();
    let maps: Api<ConfigMap> = api(&cluster);
    maps.create(&PostParams::default(), &map("a", "x")).await.unwrap();
    let config = watcher::Config::default().streaming_lists();
    let mut seen = Box::pin(watcher(maps.clone(), config).applied_objects());
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "a");
    maps.create(&PostParams::default(), &map("b", "x")).await.unwrap();
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "b");
    assert_eq!((cluster.count("list", "*"), cluster.count("watch", "configmaps")), (0, 1));
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let cluster = FakeCluster::new();
    let namespaces: Api<Namespace> = Api::all(client(&cluster));
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &team).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&cluster), "team");
    let mut kept = map("kept", "x");
    kept.metadata.finalizers = Some(vec!["example.com/keep".to_owned()]);
    maps.create(&PostParams::default(), &kept).await.unwrap();
    maps.create(&PostParams::default(), &map("other", "x")).await.unwrap();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let refused = maps.create(&PostParams::default(), &map("late", "x")).await.unwrap_err();
    assert_eq!((code(&refused), refused.to_string().contains("being terminated")), (403, true), "{refused}");
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("kept", &PatchParams::default(), &free).await.unwrap();
    assert!(namespaces.get_opt("team").await.unwrap().is_none());
}

#[tokio::test]
async fn who_asks_is_told_what_is_allowed() {
    let cluster = FakeCluster::new();
    cluster.forbid(Forbid::verb("get").on("pods/log").in_namespace("default"));
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client(&cluster));
    let ask = async |subresource: &str, namespace: &str| {
        let asked =
            json!({"verb": "get", "resource": "pods", "subresource": subresource, "namespace": namespace});
        let review =
            serde_json::from_value(json!({"metadata": {}, "spec": {"resourceAttributes": asked}})).unwrap();
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    };
    assert!(!ask("log", "default").await);
    assert!(ask("log", "other").await && ask("", "default").await);
    let pods = pods_of(&cluster);
    create(&pods, "a").await;
    let refused = pods.logs("a", &LogParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains(r#"cannot get resource "pods/log""#), "{refused}");
    cluster.heal();
    assert!(pods.logs("a", &LogParams::default()).await.is_ok());
}

#[tokio::test]
async fn an_eviction_minds_the_budget() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().wait("never said"));
    let pods = pods_of(&cluster);
    create(&pods, "a").await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    let budget: PodDisruptionBudget = serde_json::from_value(budget).unwrap();
    api::<PodDisruptionBudget>(&cluster).create(&PostParams::default(), &budget).await.unwrap();
    assert_eq!(code(&pods.evict("a", &EvictParams::default()).await.unwrap_err()), 429);
    assert!(cluster.remove("poddisruptionbudgets", "default", "b"));
    pods.evict("a", &EvictParams::default()).await.unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_definition_makes_a_resource() {
    let cluster = FakeCluster::new();
    let crds: Api<CustomResourceDefinition> = Api::all(client(&cluster));
    let version = json!({"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let names = json!({"kind": "DaskCluster", "plural": "daskclusters", "shortNames": ["daskc"]});
    let spec =
        json!({"group": "kubernetes.dask.org", "scope": "Namespaced", "names": names, "versions": [version]});
    let crd = json!({"metadata": {"name": "daskclusters.kubernetes.dask.org"}, "spec": spec});
    let made = crds.create(&PostParams::default(), &serde_json::from_value(crd).unwrap()).await.unwrap();
    let established = made.status.unwrap().conditions.unwrap();
    assert!(established.iter().any(|one| one.type_ == "Established" && one.status == "True"));
    let all = kube::Discovery::new(client(&cluster)).run_aggregated().await.unwrap();
    let found = all.get("kubernetes.dask.org").unwrap().recommended_kind("DaskCluster").unwrap().0;
    let dask: Api<DynamicObject> = Api::default_namespaced_with(client(&cluster), &found);
    dask.create(&PostParams::default(), &DynamicObject::new("d", &found).data(json!({"spec": {}})))
        .await
        .unwrap();
    crds.delete(&made.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
    assert_eq!(code(&dask.get("d").await.unwrap_err()), 404);
    assert!(cluster.objects("daskclusters").is_empty());
}

#[tokio::test]
async fn requests_wait_while_they_are_held() {
    let cluster = FakeCluster::new();
    cluster.fault(Fault::hold("now").on("list", "nodes"));
    let nodes: Api<Node> = Api::all(client(&cluster));
    let asked = tokio::spawn(async move { nodes.list(&ListParams::default()).await.unwrap().items.len() });
    cluster.until(|cluster| cluster.count("list", "nodes") == 1).await;
    assert_eq!(cluster.requests()[0].status, None);
    assert!(!asked.is_finished());
    cluster.go("now");
    assert_eq!(asked.await.unwrap(), 1);
    cluster.fault(Fault::too_many_requests(7).named("a"));
    let busy = pods_of(&cluster).get("a").await.unwrap_err();
    let kube::Error::Api(status) = &busy else { panic!("{busy}") };
    assert_eq!((status.code, status.details.as_ref().unwrap().retry_after_seconds), (429, 7));
}
