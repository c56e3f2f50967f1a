//! Deployments, and what becomes of their pods.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::*;

fn deployment(name: &str, replicas: u32, image: &str) -> Deployment {
    let labels = json!({"app": name});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}});
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels}, "template": template});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

async fn live(cluster: &FakeCluster) -> Vec<Pod> {
    let mut pods = pods_of(cluster).list(&ListParams::default()).await.unwrap().items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() && phase(pod) == "Running");
    pods
}

#[tokio::test]
async fn a_deployment_has_as_many_pods_as_it_should_and_they_go_with_it() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().wait("never said"));
    let deployments: Api<Deployment> = api(&cluster);
    let scale = async |replicas: u32| {
        let change = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments.patch("web", &PatchParams::default(), &change).await.unwrap();
    };
    deployments.create(&PostParams::default(), &deployment("web", 2, "python:3")).await.unwrap();
    let first = live(&cluster).await;
    assert_eq!(first.len(), 2);
    assert!(first[0].name_any().starts_with("web-"), "{}", first[0].name_any());
    assert_eq!(
        (first[0].labels()["app"].as_str(), first[0].owner_references()[0].kind.as_str()),
        ("web", "ReplicaSet")
    );
    let status = deployments.get("web").await.unwrap().status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(2)));

    // Whoever goes is replaced, whether it was deleted or failed.
    pods_of(&cluster).delete(&first[0].name_any(), &DeleteParams::default()).await.unwrap();
    cluster.then("default", &first[1].name_any(), Life::new().evicted("low on memory"));
    let second = live(&cluster).await;
    assert_eq!(second.len(), 2);
    assert!(second.iter().all(|pod| pod.name_any() != first[0].name_any()));

    scale(3).await;
    assert_eq!(live(&cluster).await.len(), 3);
    scale(1).await;
    assert_eq!(live(&cluster).await.len(), 1);

    // Another template: other pods.
    let change = Patch::Strategic(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "python:4"}]}}}}),
    );
    deployments.patch("web", &PatchParams::default(), &change).await.unwrap();
    let pods = live(&cluster).await;
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0].spec.as_ref().unwrap().containers[0].image.as_deref(), Some("python:4"));

    deployments.delete("web", &DeleteParams::default()).await.unwrap();
    let sets: Api<ReplicaSet> = api(&cluster);
    assert!(sets.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(live(&cluster).await.is_empty());
}

#[tokio::test]
async fn pods_that_always_fail_are_not_made_for_ever() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().evicted("low on memory"));
    let deployments: Api<Deployment> = api(&cluster);
    deployments.create(&PostParams::default(), &deployment("web", 1, "python:3")).await.unwrap();
    let made = pods_of(&cluster).list(&ListParams::default()).await.unwrap().items.len();
    assert!((2..100).contains(&made), "{made} pods");
}

#[tokio::test]
async fn a_container_of_a_deployment_that_ends_stays_with_its_pod() {
    let cluster = FakeCluster::new();
    cluster.on_pod(|_| Life::started().exits(1));
    let deployments: Api<Deployment> = api(&cluster);
    deployments.create(&PostParams::default(), &deployment("web", 1, "python:3")).await.unwrap();
    assert_eq!(pods_of(&cluster).list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_eq!(deployments.get("web").await.unwrap().status.unwrap().ready_replicas, Some(0));
}

#[tokio::test]
async fn a_deployment_that_does_not_find_its_pods_is_refused() {
    let cluster = FakeCluster::new();
    let deployments: Api<Deployment> = api(&cluster);
    let mut odd = deployment("web", 1, "python:3");
    odd.spec.as_mut().unwrap().selector.match_labels = Some([("app".into(), "other".into())].into());
    let refused = deployments.create(&PostParams::default(), &odd).await.unwrap_err();
    assert_eq!(code(&refused), 422);
    assert!(refused.to_string().contains("`selector` does not match template `labels`"), "{refused}");
}
