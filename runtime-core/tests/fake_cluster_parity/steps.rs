//! The requests.

use serde_json::{Value, json};

/// A request, and what of its answer is compared.
pub(super) struct Step {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) accept: &'static str,
    pub(super) body: Value,
}

pub(super) fn step(method: &'static str, path: &str, body: Value) -> Step {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    Step { method, path: path.to_owned(), kind, accept: "application/json", body }
}

fn get(path: &str) -> Step {
    step("GET", path, Value::Null)
}

fn patch(kind: &'static str, path: &str, body: Value) -> Step {
    Step { kind, ..step("PATCH", path, body) }
}

fn seen_as(accept: &'static str, path: &str) -> Step {
    Step { accept, ..get(path) }
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn pod(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    // It goes nowhere: only the server is compared, not the nodes.
    spec["nodeSelector"] = json!({"nowhere": "at-all"});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

pub(super) fn maps(place: &str) -> Vec<Step> {
    const APPLY: &str = "application/apply-patch+yaml";
    const JSON: &str = "application/json-patch+json";
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let all = format!("{place}/configmaps");
    let at = |name: &str| format!("{all}/{name}");
    // Controllers put a map of their own into each namespace.
    let own = "fieldSelector=metadata.name!%3Dkube-root-ca.crt";
    let mut labelled = config_map("b", json!({"x": "1"}));
    labelled["metadata"]["labels"] = json!({"app": "b"});
    vec![
        step("POST", &all, config_map("a", json!({"x": "1"}))),
        step("POST", &all, config_map("a", json!({"x": "1"}))),
        step("POST", &all, config_map("Not_A_Name", json!({}))),
        step("POST", &all, config_map("key", json!({"not a key": "1"}))),
        step("POST", &all, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})),
        step("POST", &all, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})),
        step(
            "POST",
            &all,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "else"}}),
        ),
        step(
            "POST",
            &all,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": 1}}),
        ),
        step("POST", &all, config_map("big", json!({"x": "y".repeat(1_048_577)}))),
        step("POST", &format!("{all}?dryRun=All"), config_map("tried", json!({}))),
        get(&at("tried")),
        step("POST", &all, labelled),
        get(&at("a")),
        seen_as(METADATA, &at("a")),
        seen_as(METADATA_LIST, &format!("{all}?{own}")),
        get(&format!("{all}?labelSelector=app%3Db")),
        get(&format!("{all}?labelSelector=app!%3Db,app")),
        get(&format!("{all}?labelSelector=app%20in%20(b,c)")),
        get(&format!("{all}?labelSelector=a%3D%3Db,,")),
        get(&format!("{all}?fieldSelector=metadata.name%3Da")),
        get(&format!("{all}?fieldSelector=data.x%3D1")),
        get(&format!("{all}?limit=1&{own}")),
        get(&format!("{all}?limit=9&{own}&continue=$TOKEN")),
        get(&format!("{all}?limit=1&continue=nonsense")),
        get(&at("a")),
        step("PUT", &at("a"), config_map("a", json!({"x": "2"}))),
        step("PUT", &at("a"), config_map("b", json!({"x": "2"}))),
        step("PUT", &at("a"), {
            let mut old = config_map("a", json!({"x": "3"}));
            old["metadata"]["resourceVersion"] = "1".into();
            old
        }),
        step("PUT", &at("absent"), config_map("absent", json!({}))),
        step("PATCH", &at("a"), json!({"data": {"y": "4", "x": null}})),
        step("PATCH", &at("a"), json!({"metadata": {"resourceVersion": "1"}, "data": {"y": "5"}})),
        step("PATCH", &at("absent"), json!({"data": {"y": "5"}})),
        patch(STRATEGIC, &at("a"), json!({"data": {"z": "1"}, "metadata": {"labels": {"l": "v"}}})),
        patch(JSON, &at("a"), json!([{"op": "replace", "path": "/data/z", "value": "2"}])),
        patch(JSON, &at("a"), json!([{"op": "test", "path": "/data/z", "value": "3"}])),
        patch("application/nonsense", &at("a"), json!({})),
        patch(APPLY, &format!("{}?fieldManager=one", at("s")), config_map("s", json!({"a": "1", "b": "2"}))),
        patch(APPLY, &format!("{}?fieldManager=two", at("s")), config_map("s", json!({"a": "3", "b": "4"}))),
        patch(APPLY, &format!("{}?fieldManager=two&force=true", at("s")), config_map("s", json!({"a": "3"}))),
        patch(APPLY, &format!("{}?fieldManager=one", at("s")), config_map("s", json!({"c": "1"}))),
        patch(APPLY, &at("s"), config_map("s", json!({"c": "1"}))),
        patch(APPLY, &format!("{}?fieldManager=one", at("s")), json!({"data": {"c": "1"}})),
        get(&at("a")),
        get(&format!("{all}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da")),
        get(&format!(
            "{all}?watch=1&timeoutSeconds=1&resourceVersion=$VERSION&fieldSelector=metadata.name%3Da"
        )),
        step("DELETE", &at("a"), json!({"preconditions": {"uid": "other"}})),
        step("DELETE", &at("a"), json!({"preconditions": {"resourceVersion": "1"}})),
        step("DELETE", &at("a"), json!({"propagationPolicy": "Nonsense"})),
        step("DELETE", &at("a"), Value::Null),
        step("DELETE", &at("a"), Value::Null),
        step("PATCH", &at("b"), json!({"metadata": {"finalizers": ["example.com/keep"]}})),
        step("DELETE", &at("b"), Value::Null),
        get(&at("b")),
        step(
            "PATCH",
            &at("b"),
            json!({"metadata": {"finalizers": ["example.com/keep", "example.com/more"]}}),
        ),
        step("PATCH", &at("b"), json!({"metadata": {"finalizers": null}})),
        get(&at("b")),
        step("DELETE", &format!("{all}?{own}"), Value::Null),
        step("POST", &at("a"), config_map("a", json!({}))),
        step("PUT", &all, config_map("a", json!({}))),
    ]
}

pub(super) fn pods_and_jobs(place: &str) -> Vec<Step> {
    let pods = format!("{place}/pods");
    let jobs = place.replace("/api/v1", "/apis/batch/v1") + "/jobs";
    let leases = place.replace("/api/v1", "/apis/coordination.k8s.io/v1") + "/leases";
    let main = json!([{"name": "main", "image": "x"}]);
    let limits = json!([{"name": "main", "image": "x", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]);
    let mounts = json!([{"name": "main", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]);
    let job = |name: &str, policy: &str| {
        let template = json!({"spec": {"restartPolicy": policy, "containers": main, "nodeSelector": {"nowhere": "at-all"}}});
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}})
    };
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}});
    vec![
        step("POST", &pods, pod("p", json!({"containers": main, "restartPolicy": "Never"}))),
        step("POST", &pods, pod("q", json!({"containers": []}))),
        step("POST", &pods, pod("q", json!({"containers": "nonsense"}))),
        step("POST", &pods, pod("q", json!({"containers": [{"name": "A B", "image": "x"}]}))),
        step("POST", &pods, pod("q", json!({"containers": [{"name": "a"}]}))),
        step("POST", &pods, pod("q", json!({"containers": main, "restartPolicy": "Perhaps"}))),
        step("POST", &pods, pod("q", json!({"containers": limits}))),
        step("POST", &pods, pod("q", json!({"containers": mounts}))),
        step("PATCH", &format!("{pods}/p"), json!({"spec": {"restartPolicy": "Always"}})),
        step("PATCH", &format!("{pods}/p"), json!({"metadata": {"labels": {"a": "b"}}})),
        get(&format!("{pods}?fieldSelector=status.phase%3DPending")),
        get(&format!("{pods}?fieldSelector=spec.nodeName%3Dnode-9")),
        get(&format!("{pods}?fieldSelector=spec.image%3Dx")),
        get(&format!("{pods}/p/log")),
        get(&format!("{pods}/p/log?container=other")),
        get(&format!("{pods}/absent/log")),
        get(&format!("{pods}/p/nonsense")),
        step("DELETE", &format!("{pods}/p"), Value::Null),
        get(&format!("{pods}/p")),
        step("POST", &jobs, job("j", "Never")),
        step("POST", &jobs, job("k", "Always")),
        step(
            "PATCH",
            &format!("{jobs}/j"),
            json!({"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}),
        ),
        step("PATCH", &format!("{jobs}/j"), json!({"spec": {"backoffLimit": -1}})),
        step("PATCH", &format!("{jobs}/j"), json!({"spec": {"backoffLimit": 1}})),
        step("POST", &leases, lease.clone()),
        step("PUT", &format!("{leases}/l"), lease.clone()),
        step("PUT", &format!("{leases}/new"), {
            let mut new = lease.clone();
            new["metadata"]["name"] = "new".into();
            new
        }),
    ]
}

pub(super) fn elsewhere() -> Vec<Step> {
    vec![
        get("/api"),
        get("/apis/coordination.k8s.io/v1"),
        get("/api/v1/nonsense"),
        get("/apis/batch/v1/namespaces/default/nonsense"),
        get("/apis/batch/v1/namespaces/default/jobs/x/nonsense"),
        get("/api/v1/namespaces/absent-namespace"),
        step("POST", "/api/v1/namespaces/absent-namespace/configmaps", config_map("a", json!({}))),
        get("/healthz"),
    ]
}
