//! The same requests to the API server in this process and to a real one: the same status codes, answers of the same
//! form. The real one is that of `KUBECONFIG`, through `kubectl proxy`.
#![cfg(feature = "testkit")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use http_body_util::BodyExt;
use kube::{Client, Config, client::Body};
use runtime_core::testkit::cluster::{FakeCluster, Life};
use serde_json::{Value, json};

/// The proxy ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real API server, where there is one.
fn real() -> Option<(Proxy, Client)> {
    if std::env::var_os("KUBECONFIG").is_none() {
        println!("skipped: KUBECONFIG names no cluster");
        return None;
    }
    let mut command = Command::new("kubectl");
    command.args(["proxy", "--port=0"]).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: there is no kubectl, through which the cluster is reached");
        return None;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let proxy = Proxy(child);
    let address = line.trim().rsplit(' ').next().unwrap();
    let config = Config::new(format!("http://{address}").parse().unwrap());
    Some((proxy, Client::try_from(config).unwrap()))
}

/// A request, and what of its answer is compared.
struct Step {
    method: &'static str,
    path: String,
    kind: &'static str,
    accept: &'static str,
    body: Value,
}

fn step(method: &'static str, path: &str, body: Value) -> Step {
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

/// One of the two servers, and what its last answer said.
struct Server {
    client: Client,
    version: String,
    uid: String,
    token: String,
}

impl Server {
    fn new(client: Client) -> Self {
        Self { client, version: String::new(), uid: String::new(), token: String::new() }
    }

    async fn ask(&mut self, step: &Step) -> (u16, Value) {
        let fill = |text: &str| {
            text.replace("$VERSION", &self.version).replace("$UID", &self.uid).replace("$TOKEN", &self.token)
        };
        let body = if step.body.is_null() { String::new() } else { fill(&step.body.to_string()) };
        let request = http::Request::builder().method(step.method).uri(fill(&step.path));
        let request = request.header("content-type", step.kind).header("accept", step.accept);
        let answer = self.client.send(request.body(Body::from(body.into_bytes())).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        // A watch is a list of lines.
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| {
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
        });
        let keep = |pointer: &str, kept: &mut String| {
            if let Some(text) = value.pointer(pointer).and_then(Value::as_str) {
                text.clone_into(kept);
            }
        };
        keep("/metadata/resourceVersion", &mut self.version);
        keep("/metadata/uid", &mut self.uid);
        keep("/metadata/continue", &mut self.token);
        (code, value)
    }
}

/// What differs between versions of Kubernetes, between clusters, or by chance.
const DIFFERS: &[&str] = &[
    "selfLink",
    "managedFields",
    "volumes",
    "volumeMounts",
    "status",
    "completionMode",
    "suspend",
    "manualSelector",
    "podReplacementPolicy",
    "storageVersionHash",
    "singularName",
    "shortNames",
    "categories",
    "remainingItemCount",
    "group",
    "version",
    "serviceAccount",
    "serviceAccountName",
    "labels",
    "matchLabels",
    "clusterIP",
    "clusterIPs",
    "generation",
];

/// All fields of a value, with their types.
fn shape(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in
                map.iter().filter(|(name, value)| !DIFFERS.contains(&name.as_str()) && !value.is_null())
            {
                shape(value, &format!("{path}.{name}"), all);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| shape(one, &format!("{path}[]"), all)),
        other => {
            let kind = match other {
                Value::String(_) => "text",
                Value::Number(_) => "number",
                Value::Bool(_) => "truth",
                _ => "nothing",
            };
            all.insert(format!("{path}: {kind}"));
        }
    }
}

/// What of an answer must be the same.
fn compared(value: &Value) -> Value {
    if value["kind"] == "Status" && value["status"] == "Failure" {
        let details = &value["details"];
        let causes = details["causes"].as_array().into_iter().flatten();
        // Some servers say the same twice.
        let causes: BTreeSet<_> =
            causes.map(|cause| format!("{} {}", cause["reason"], cause["field"])).collect();
        return json!({"reason": value["reason"], "kind": details["kind"], "name": details["name"], "causes": causes});
    }
    if let Some(lines) = value.as_array() {
        return lines.iter().map(|line| line["type"].clone()).collect();
    }
    let mut all = BTreeSet::new();
    shape(value, "", &mut all);
    let names = value["items"]
        .as_array()
        .map(|items| items.iter().map(|item| item["metadata"]["name"].clone()).collect::<Vec<_>>());
    let labels = value["metadata"]["labels"].as_object();
    let labels: BTreeSet<_> =
        labels.into_iter().flatten().map(|(name, _)| name).filter(|name| !name.contains('/')).collect();
    json!({"fields": all, "data": value["data"], "labels": labels, "items": names})
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

fn maps(place: &str) -> Vec<Step> {
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

fn pods_and_jobs(place: &str) -> Vec<Step> {
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

fn elsewhere() -> Vec<Step> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_a_real_server_does() {
    let Some((_proxy, client)) = real() else { return };
    let name = format!("parity-{}", std::process::id());
    let fake = FakeCluster::new();
    fake.on_pod(|_| Life::new().unschedulable("0/1 nodes are available."));
    let mut both = [Server::new(Client::new(fake, "default")), Server::new(client)];
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let place = format!("/api/v1/namespaces/{name}");
    let mut steps = vec![step("POST", "/api/v1/namespaces", namespace)];
    steps.extend(maps(&place));
    steps.extend(pods_and_jobs(&place));
    steps.extend(elsewhere());
    steps.push(step("DELETE", &place, Value::Null));
    let mut wrong = Vec::new();
    for step in &steps {
        let [ours, theirs] = &mut both;
        let (ours, theirs) = (ours.ask(step).await, theirs.ask(step).await);
        let (a, b) = (compared(&ours.1), compared(&theirs.1));
        if ours.0 != theirs.0 || a != b {
            let body: String = step.body.to_string().chars().take(200).collect();
            let (a, b) = differences(&a, &b);
            let said = |value: &Value| {
                value["message"].as_str().unwrap_or_default().chars().take(300).collect::<String>()
            };
            wrong.push(format!(
                "{} {} {body}\n  here  {} {a} {}\n  there {} {b} {}",
                step.method,
                step.path,
                ours.0,
                said(&ours.1),
                theirs.0,
                said(&theirs.1)
            ));
        }
    }
    println!("{} requests compared", steps.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), steps.len(), wrong.join("\n"));
}

/// Of two answers, what the other does not have.
fn differences(a: &Value, b: &Value) -> (Value, Value) {
    let (Some(left), Some(right)) = (a["fields"].as_array(), b["fields"].as_array()) else {
        return (a.clone(), b.clone());
    };
    let only = |these: &[Value], those: &[Value], whole: &Value| {
        let fields: Vec<_> = these.iter().filter(|one| !those.contains(one)).collect();
        json!({"fields": fields, "data": whole["data"], "labels": whole["labels"], "items": whole["items"]})
    };
    (only(left, right, a), only(right, left, b))
}
