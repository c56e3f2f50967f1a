//! The same requests to the API server in this process and to a real one: the same status codes, answers of the same
//! form. The real one is that of `KUBECONFIG`, through `kubectl proxy`.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod steps;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use http_body_util::BodyExt;
use kube::{Client, Config, client::Body};
use runtime_core::testkit::cluster::{FakeCluster, Life};
use serde_json::{Value, json};

use steps::{Step, elsewhere, maps, pods_and_jobs, step};

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
