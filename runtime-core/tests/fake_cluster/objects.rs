//! Objects are kept, applied, listed and served.

use super::*;

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
