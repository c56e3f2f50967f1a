//! What is rendered, before a real API server: it takes all of it, and knows each field.

use std::collections::BTreeSet;

use hyper::Request;
use runtimes::{
    Function, Result, Run,
    cluster::kube::{
        Api, Client,
        api::{DeleteParams, PostParams},
    },
    core::{
        Registry,
        cluster::{Cluster, Style},
        k8s_openapi::api::{core::v1::ServiceAccount, scheduling::v1::PriorityClass},
        serde_json::{self, Map, Value, from_value, json},
    },
};

use super::crds;

/// Fields that servers have since this minor version of 1: older ones leave them out.
const SINCE: [(&str, u32); 4] = [
    ("spec.suspend", 21),
    ("spec.ttlSecondsAfterFinished", 21),
    ("spec.podFailurePolicy", 25),
    ("spec.backoffLimitPerIndex", 28),
];

/// A field of the function that decides what objects there are, and its value.
type Choice = (&'static str, &'static str);

/// A kind of which there are cases, the definitions of what its operator acts on, and what may be chosen.
type Row = (&'static str, &'static [&'static str], &'static [Choice]);

/// The kinds that become objects of a cluster.
const KINDS: &[Row] = &[
    ("job", &[], &[("", "")]),
    ("dask", &crds::DASK, &[("engine", "operator"), ("engine", "plain")]),
    ("mpijob", &crds::MPI, &[("api_version", "v2beta1"), ("api_version", "v1")]),
    ("spark", &crds::SPARK, &[("", "")]),
];

fn cases(kind: &str) -> Option<String> {
    std::fs::read_to_string(crds::shared().join(format!("mlrun/cases/{kind}.jsonl"))).ok()
}

/// The objects of a case, for this namespace.
fn rendered(case: &Value, (style, (field, value)): (Style, Choice), namespace: &str) -> Result<Vec<Value>> {
    let mut document = case["function"].clone();
    if !field.is_empty() {
        document["spec"][field] = value.into();
    }
    if let Some(metadata) = document["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    let (mut run, mut context) = (case["run"].clone(), case["context"].clone());
    if style == Style::Native {
        make_runnable(&mut document, &mut run, &mut context);
    }
    let function = Function::from_value(document)?;
    function.validate()?;
    let registry = Registry::linked()?;
    let kind = registry.get(&function.kind)?;
    let mut cluster = Cluster::read(&context, style)?;
    cluster.namespace = namespace.to_owned();
    let plan = match &run {
        Value::Null => kind.deploy(&function, &cluster)?,
        run => {
            let run = runtimes::core::yaml::from_value::<Run>(run, "run")?;
            kind.render(&function, &run, &cluster)?
        }
    };
    Ok(plan.objects.iter().map(|object| serde_json::to_value(object).unwrap()).collect())
}

/// Our own agent needs what the image of MLRun is taken to hold: code, and a registry for images that name none.
fn make_runnable(function: &mut Value, run: &mut Value, context: &mut Value) {
    context["config"]["httpdb.builder.docker_registry"] = "registry.example".into();
    // Without a run, a Dask cluster is rendered as its runs would have it.
    let runs = !run.is_null() || function["kind"] == "dask";
    let spec = &mut function["spec"];
    let nothing = spec["command"].as_str().is_none_or(str::is_empty)
        && spec["build"]["functionSourceCode"].as_str().is_none_or(str::is_empty);
    if nothing && runs {
        // def func(context): pass
        spec["build"]["functionSourceCode"] = "ZGVmIGZ1bmMoY29udGV4dCk6IHBhc3MK".into();
        spec["default_handler"] = "func".into();
        if let Some(spec) = run.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("handler".to_owned(), "func".into());
        }
    }
    if let Some(build) = spec["build"].as_object_mut().filter(|_| runs) {
        build.remove("source");
        build.remove("load_source_on_run");
    }
}

/// A real API server, and a namespace of its own there.
pub(crate) struct Judge {
    client: Client,
    namespace: String,
    minor: u32,
    made: BTreeSet<String>,
    classes: Vec<String>,
}

/// How long what was made may be unknown to those that ask for it.
const NEWS: std::time::Duration = std::time::Duration::from_secs(30);

impl Judge {
    pub(crate) async fn new(client: Client, namespace: &str) -> Self {
        let version = client.apiserver_version().await.unwrap();
        let minor = version.minor.trim_end_matches('+').parse().unwrap();
        Self { client, namespace: namespace.to_owned(), minor, made: BTreeSet::new(), classes: Vec::new() }
    }

    /// What a case's objects refer to, and the server wants to be there.
    async fn make_ready(&mut self, object: &Value) {
        let pod = if object["kind"] == "Job" { &object["spec"]["template"]["spec"] } else { &object["spec"] };
        // The second is the name that it had before.
        let account = pod["serviceAccountName"].as_str().or(pod["serviceAccount"].as_str());
        if let Some(account) = account
            && self.made.insert(format!("account {account}"))
        {
            let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
            let object = from_value(json!({"metadata": {"name": account}})).unwrap();
            let _ = accounts.create(&PostParams::default(), &object).await;
        }
        if let Some(class) = pod["priorityClassName"].as_str()
            && self.made.insert(format!("class {class}"))
        {
            let classes: Api<PriorityClass> = Api::all(self.client.clone());
            let object = from_value(json!({"metadata": {"name": class}, "value": 10})).unwrap();
            if classes.create(&PostParams::default(), &object).await.is_ok() {
                self.classes.push(class.to_owned());
            }
        }
    }

    /// Removes what is not the namespace's.
    async fn clear(&mut self) {
        let classes: Api<PriorityClass> = Api::all(self.client.clone());
        for class in self.classes.drain(..) {
            classes.delete(&class, &DeleteParams::default()).await.unwrap();
        }
    }

    /// What the server would make of it, or what it says against it.
    async fn ask(&self, object: &Value) -> Result<Value, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = format!("{}s", kind.to_ascii_lowercase());
        let uri = format!(
            "/{root}/{version}/namespaces/{}/{plural}?dryRun=All&fieldValidation=Strict&fieldManager=test",
            self.namespace
        );
        let mut sent = object.clone();
        sent["metadata"]["namespace"] = self.namespace.clone().into();
        let started = std::time::Instant::now();
        loop {
            let request = Request::post(&uri).header("content-type", "application/json");
            let request = request.body(sent.to_string().into_bytes()).unwrap();
            match self.client.request::<Value>(request).await {
                // A service account, or a priority class, that was made just now: who admits pods hears of it a moment later.
                Err(error) if is_news(&error.to_string()) && started.elapsed() < NEWS => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                answer => return answer.map_err(|error| error.to_string()),
            }
        }
    }

    /// Sends all that is rendered of a case, and notes what is wrong with it. How many objects there were.
    async fn case(&mut self, case: &Value, how: (Style, Choice), wrong: &mut Vec<String>) -> usize {
        let what = format!("{} ({:?} {})", case["name"].as_str().unwrap(), how.0, how.1.1);
        let rendered = match rendered(case, how, &self.namespace) {
            Ok(rendered) => rendered,
            // What MLRun refuses, and what is not rendered in our own style, says so.
            Err(_) if case["refused"].is_string() || case["refused"].is_object() => return 0,
            Err(error) => {
                assert!(error.help_text().is_some() || error.location().is_some(), "{what}: {error}");
                println!("{what} is refused: {error}");
                return 0;
            }
        };
        for object in &rendered {
            self.make_ready(object).await;
            match self.ask(object).await {
                Ok(kept) => {
                    let dropped = self.dropped(object, &kept);
                    wrong.extend(dropped.into_iter().map(|place| format!("{what}: {place}")));
                }
                Err(error) => wrong.push(format!("{what}: {} refused: {error}", object["kind"])),
            }
        }
        rendered.len()
    }

    /// Everything that was sent and that the server did not keep.
    fn dropped(&self, sent: &Value, kept: &Value) -> Vec<String> {
        let mut found = Vec::new();
        compare("", sent, kept, &mut found);
        found.retain(|place| {
            let newer = |(path, minor): &(&str, u32)| place.starts_with(path) && self.minor < *minor;
            !SINCE.iter().any(newer)
        });
        found
    }
}

/// Whether something was refused for want of what was made for it.
fn is_news(refusal: &str) -> bool {
    ["retry after the token", "no PriorityClass with name"].iter().any(|text| refusal.contains(text))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Number(_) => false,
    }
}

/// Compares field by field: what is sent must be there. Defaults may be added.
fn compare(place: &str, sent: &Value, kept: &Value, found: &mut Vec<String>) {
    match (sent, kept) {
        _ if is_empty(sent) || sent == kept => {}
        (Value::Object(sent), Value::Object(kept)) => compare_fields(place, sent, kept, found),
        (Value::Array(sent), Value::Array(kept)) if sent.len() <= kept.len() => {
            for (index, (sent, kept)) in sent.iter().zip(kept).enumerate() {
                compare(&format!("{place}[{index}]"), sent, kept, found);
            }
        }
        // Amounts are written in the server's way.
        (Value::String(sent), Value::String(kept))
            if amount(sent) == amount(kept) && amount(sent).is_some() => {}
        (Value::Number(sent), Value::String(kept)) if sent.to_string() == *kept => {}
        _ => found.push(format!("{place}: sent {sent}, kept {kept}")),
    }
}

fn compare_fields(
    place: &str,
    sent: &Map<String, Value>,
    kept: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    for (name, value) in sent {
        let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match name.as_str() {
            // It is given back as `data`.
            "stringData" => {
                let text = |value: &Value| value.as_str().unwrap_or_default().len().div_ceil(3) * 4;
                for (key, value) in value.as_object().into_iter().flatten() {
                    let length = kept["data"][key].as_str().map(str::len);
                    if length != Some(text(value)) {
                        found.push(format!("{inner}.{key}: kept {length:?} characters"));
                    }
                }
            }
            _ => compare(&inner, value, kept.get(name).unwrap_or(&Value::Null), found),
        }
    }
}

fn amount(text: &str) -> Option<u64> {
    text.parse::<runtimes::core::pod::Quantity>().ok().map(|quantity| quantity.millis())
}

/// All captured cases of all kinds, in both styles, are taken, and nothing of them is dropped.
pub(crate) async fn all_are_taken(client: Client, namespace: &str) {
    let mut judge = Judge::new(client.clone(), namespace).await;
    let mut wrong = Vec::new();
    for (kind, definitions, choices) in KINDS {
        let Some(cases) = cases(kind) else {
            println!("skipped: there are no cases at ../shared or RUNTIMES_SHARED");
            break;
        };
        if !crds::install(&client, definitions).await {
            break;
        }
        let mut objects = 0;
        for line in cases.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            // MLRun has no choice.
            let native = choices.iter().map(|choice| (Style::Native, *choice));
            for how in std::iter::once((Style::Mlrun, ("", ""))).chain(native) {
                objects += judge.case(&case, how, &mut wrong).await;
            }
        }
        let minor = judge.minor;
        println!(
            "{kind}: {objects} objects of {} cases were sent to a server of 1.{minor}",
            cases.lines().count()
        );
        assert!(objects > 200, "{objects} objects");
    }
    judge.clear().await;
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

/// That a field is dropped is found, also by servers that do not say so.
pub(crate) async fn a_dropped_field_is_found(client: Client, namespace: &str) {
    let judge = Judge::new(client, namespace).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "typo"},
        "spec": {"restartPolici": "Never", "containers": [{"name": "base", "image": "x", "commandd": ["a"]}]},
    });
    match judge.ask(&pod).await {
        Ok(kept) => {
            let found = judge.dropped(&pod, &kept);
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(
                found[0].contains("restartPolici") && found[1].contains("containers[0].commandd"),
                "{found:?}"
            );
        }
        Err(error) => assert!(error.contains("restartPolici"), "{error}"),
    }
}
