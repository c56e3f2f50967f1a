//! Functions built by methods, and functions of code files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by them")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use runtime_core::{
    Function,
    k8s_openapi::api::core::v1 as core,
    pod::SecurityContext,
    serde_json::{Map, Value, json},
};

fn job() -> Function {
    Function::new("job", "f")
}

#[test]
fn a_built_function_is_written_short() {
    let function = job()
        .with_project("p")
        .with_image("python:3.12")
        .with_command("train.py")
        .with_args(["--depth", "{depth}"])
        .with_handler("fit")
        .with_workdir("/w")
        .with_source("git://x/y.git#main")
        .with_label("a", "1")
        .with_labels([("b", "2")])
        .with_annotations([("c", "3")])
        .with_replicas(2)
        .with_priority_class("high")
        .with_preemption_mode("prevent")
        .and_then(|function| function.with_state_thresholds([("executing", "2h")]))
        .unwrap();
    assert_eq!(
        function.to_value(),
        json!({
            "kind": "job",
            "metadata": {"name": "f", "project": "p", "labels": {"a": "1", "b": "2"}, "annotations": {"c": "3"}},
            "spec": {
                "command": "train.py", "args": ["--depth", "{depth}"], "image": "python:3.12", "default_handler": "fit",
                "workdir": "/w", "build": {"source": "git://x/y.git#main", "load_source_on_run": true}, "replicas": 2,
                "priority_class_name": "high", "preemption_mode": "prevent", "state_thresholds": {"executing": "2h"},
            },
        })
    );
    assert_eq!(function.uri(), format!("p/f@{}", function.hash()));
    function.validate().unwrap();
    let tagged = Function {
        metadata: runtime_core::function::Metadata { tag: "v1".into(), ..function.metadata.clone() },
        ..function.clone()
    };
    assert_eq!(tagged.hash(), function.hash());
    assert_ne!(function.clone().with_image("other").hash(), function.hash());
}

#[test]
fn environment() {
    let function = job()
        .set_env("A", "1")
        .set_env("B", "2")
        .set_env("A", "3")
        .set_env_from_secret("B", "login", "password");
    let env = serde_env(&function);
    let secret = json!({"name": "B", "valueFrom": {"secretKeyRef": {"key": "password", "name": "login"}}});
    assert_eq!(env, json!([{"name": "A", "value": "3"}, secret]));

    // Two of one name, as a file may have them: one is left.
    let text = "kind: job\nspec: {env: [{name: A, value: x}, {name: B, value: y}, {name: A, value: z}]}\n";
    let function = Function::from_yaml(text, "f").unwrap().set_env("A", "1");
    assert_eq!(serde_env(&function), json!([{"name": "A", "value": "1"}, {"name": "B", "value": "y"}]));

    let path = std::env::temp_dir().join(format!("runtime-core-{}.env", std::process::id()));
    std::fs::write(&path, "export A='x y'\nC=1\n").unwrap();
    let function = function.set_envs_file(&path).unwrap().set_envs(BTreeMap::from([("C", "2")]));
    std::fs::write(&path, "A").unwrap();
    let error = job().set_envs_file(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(error.location(), Some(format!("{}:1", path.display()).as_str()));
    let names: Vec<_> =
        function.spec.pod.env.iter().map(|var| (var.name.as_str(), var.value.as_deref().unwrap())).collect();
    assert_eq!(names, [("A", "x y"), ("B", "y"), ("C", "2")]);
}

fn serde_env(function: &Function) -> Value {
    function.to_value()["spec"]["env"].clone()
}

#[test]
fn resources() {
    let function = job()
        .with_limits(Some("2Gi"), Some("1500m"), Some(2), None)
        .and_then(|function| function.with_requests(Some("1Gi"), None))
        .unwrap()
        .gpus(1, Some("amd.com/gpu"));
    assert_eq!(
        function.to_value()["spec"]["resources"],
        json!({
            "limits": {"memory": "2Gi", "cpu": "1500m", "nvidia.com/gpu": "2", "amd.com/gpu": "1"},
            "requests": {"memory": "1Gi"},
        })
    );
    let error = job().with_limits(Some("1 GB"), None, None, None).unwrap_err();
    assert_eq!(error.location(), Some("spec.resources.limits.memory"));
    assert_eq!(error.help_text(), Some("write 1Gi or 1G"));
    // A limit of one method can be below the request of another: validation sees both.
    let function =
        job().with_requests(Some("2Gi"), None).unwrap().with_limits(Some("1Gi"), None, None, None).unwrap();
    assert!(function.validate().unwrap_err().message().contains("above the limit 1Gi"));
    assert!(job().with_preemption_mode("never").is_err());
    assert!(job().with_state_thresholds([("executing", "soon")]).is_err());

    let text = "kind: job\nspec: {resources: {limits: {cpu: 2, memory: 1e9, nvidia.com/gpu: null}}}\n";
    let function = Function::from_yaml(text, "f").unwrap().with_project("p");
    let limits = function.spec.pod.resources.limits.as_ref().unwrap();
    assert_eq!(limits["memory"].0.parse::<runtime_core::pod::Quantity>().unwrap().units(), 1_000_000_000);
    assert_eq!(
        function.to_value()["spec"]["resources"],
        json!({"limits": {"cpu": 2, "memory": 1e9, "nvidia.com/gpu": null}})
    );
}

#[test]
fn volumes_and_nodes() {
    let toleration =
        core::Toleration { key: Some("gpu".into()), operator: Some("Exists".into()), ..Default::default() };
    let context = SecurityContext {
        fs_group: Some(7),
        ..core::SecurityContext { run_as_user: Some(5), ..Default::default() }.into()
    };
    let function = job()
        .mount_pvc("data.v1", "/data")
        .mount_secret("login", "/secret")
        .mount_configmap("settings", "/etc/settings")
        .mount_hostpath("scratch", "/mnt/fast", "/scratch")
        .mount_pvc("other", "/data")
        .with_node_selection(
            Some("n1"),
            Some(BTreeMap::from([("disk".into(), "ssd".into())])),
            None,
            Some(vec![toleration]),
        )
        .with_security_context(context);
    function.validate().unwrap();
    let mounts: Vec<_> = function
        .spec
        .pod
        .volume_mounts
        .iter()
        .map(|mount| (mount.name.as_str(), mount.mount_path.as_str()))
        .collect();
    assert_eq!(
        mounts,
        [("other", "/data"), ("login", "/secret"), ("settings", "/etc/settings"), ("scratch", "/scratch")]
    );
    let spec = function.to_value()["spec"].clone();
    assert_eq!(
        spec["volumes"][0],
        json!({"name": "data-v1", "persistentVolumeClaim": {"claimName": "data.v1"}})
    );
    assert_eq!(spec["security_context"], json!({"runAsUser": 5, "fsGroup": 7}));
    assert_eq!(function.spec.pod.security_context.as_ref().unwrap().to_pod().fs_group, Some(7));
    assert_eq!(Function::from_value(function.to_value()).unwrap(), function);
}

#[test]
fn code_files() {
    let folder = std::env::temp_dir().join(format!("runtime-core-code-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let function = Function::from_code(file("My_Train.py", "é = 1\n".as_bytes()), None).unwrap();
    assert_eq!((function.kind.as_str(), function.metadata.name.as_str()), ("local", "my-train"));
    let code = function.code().unwrap().unwrap();
    assert_eq!((code.name.as_str(), code.text.as_str()), ("My_Train.py", "é = 1\n"));
    assert_eq!(Function::from_code(file("a.py", b""), Some("handler")).unwrap().kind, "handler");
    assert_eq!(Function::from_code(file("b.sh", b"true"), None).unwrap().kind, "local");
    for (name, text) in [("x.txt", &b"a"[..]), ("___.py", b"a"), ("n.py", b"\0"), ("u.py", b"\xff")] {
        assert!(Function::from_code(file(name, text), None).is_err(), "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Any JSON, with the values that are easily lost.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |float| float.is_finite()).prop_map(Value::from),
        "\\PC{0,20}|[ -~\\n\\t:#'\"-]{0,30}|yes|no|null|~|1e3|0x1|010|\\.nan|2024-01-01|<<|="
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z]{1,6}|yes|\\PC{1,5}|1|null", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A function's document: typed fields with real values, nulls or empty ones, and unknown fields everywhere.
fn document() -> impl Strategy<Value = Value> {
    let map = |known: Vec<(&'static str, Vec<Value>)>| {
        let known: Vec<_> = known
            .into_iter()
            .map(|(key, mut values)| {
                values.push(Value::Null);
                proptest::option::of(proptest::sample::select(values))
                    .prop_map(move |value| (key.to_owned(), value))
            })
            .collect();
        (known, proptest::collection::hash_map("x_[a-z]{1,4}", json_value(), 0..3)).prop_map(
            |(known, unknown)| {
                let known = known.into_iter().filter_map(|(key, value)| Some((key, value?)));
                known.chain(unknown).collect::<Map<String, Value>>()
            },
        )
    };
    let metadata = map(vec![
        ("name", vec![json!("f")]),
        ("tag", vec![json!(""), json!("t")]),
        ("labels", vec![json!({}), json!({"a": "b", "n": 1, "z": null})]),
        ("categories", vec![json!([]), json!(["a"])]),
    ]);
    let spec = map(vec![
        ("command", vec![json!(""), json!("a.py")]),
        ("args", vec![json!([]), json!(["a", 1, 2.5])]),
        (
            "env",
            vec![
                json!([]),
                json!([{"name": "A", "value": "1", "odd": [null]}, {"name": "A", "value": null}, {"name": "B"}]),
            ],
        ),
        (
            "resources",
            vec![json!({}), json!({"limits": {"cpu": 2, "memory": null}, "requests": {}, "odd": {"a": ""}})],
        ),
        ("replicas", vec![json!(0), json!(3)]),
        (
            "volumes",
            vec![json!([{"name": "v", "flexVolume": {"driver": "d", "options": {"k": null}}, "odd": 1}])],
        ),
        ("affinity", vec![json!({}), json!({"nodeAffinity": {"odd": ""}})]),
        ("node_selector", vec![json!({}), json!({"a": "b", "c": null})]),
        ("security_context", vec![json!({}), json!({"runAsUser": 1, "fsGroup": 2, "odd": 3})]),
        (
            "build",
            vec![json!({}), json!({"requirements": [], "extra": "RUN x", "odd": null, "commands": ["a"]})],
        ),
        (
            "entry_points",
            vec![
                json!({}),
                json!({"f": {"doc": null, "parameters": [{"name": "p", "default": null, "odd": 1}]}}),
            ],
        ),
    ]);
    (
        metadata,
        spec,
        map(vec![("verbose", vec![json!(false), json!(true)]), ("status", vec![json!({}), json!({"a": 1})])]),
    )
        .prop_map(|(metadata, spec, mut top)| {
            top.insert("kind".to_owned(), json!("job"));
            top.insert("metadata".to_owned(), Value::Object(metadata));
            top.insert("spec".to_owned(), Value::Object(spec));
            Value::Object(top)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn floats_are_read_exactly(float in proptest::num::f64::NORMAL) {
        let json = Function::from_json(&format!("{{\"kind\": \"job\", \"spec\": {{\"v\": {float:?}}}}}"), "f.json").unwrap();
        prop_assert_eq!(json.spec.extra["v"].as_f64(), Some(float));
        let yaml = Function::from_yaml(&format!("kind: job\nspec:\n  v: {float:?}\n"), "f.yaml").unwrap();
        prop_assert_eq!(yaml.spec.extra["v"].as_f64(), Some(float));
    }

    #[test]
    fn content_survives(document in document()) {
        let function = Function::from_value(document.clone()).unwrap();
        prop_assert_eq!(function.to_value(), document.clone());
        let text = function.to_yaml().unwrap();
        let again = Function::from_yaml(&text, "f.yaml").map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(again.to_value(), document, "{}", text);
        prop_assert_eq!(again.hash(), function.hash());
    }

    #[test]
    fn a_change_changes_nothing_else(document in document()) {
        let function = Function::from_value(document.clone()).unwrap();
        let mut expected = document.clone();
        expected["spec"]["image"] = json!("changed");
        expected["metadata"]["labels"] = match expected["metadata"].get("labels") {
            Some(Value::Object(labels)) => {
                let mut labels = labels.clone();
                labels.insert("new".to_owned(), json!("1"));
                Value::Object(labels)
            }
            _ => json!({"new": "1"}),
        };
        let mut env = expected["spec"].get("env").and_then(Value::as_array).cloned().unwrap_or_default();
        env.push(json!({"name": "NEW", "value": "1"}));
        expected["spec"]["env"] = Value::from(env);
        let mut limits = expected["spec"].get("resources").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        if !limits.get("limits").is_some_and(Value::is_object) {
            limits["limits"] = json!({});
        }
        limits["limits"]["cpu"] = json!("3");
        expected["spec"]["resources"] = limits;
        let changed = function.with_image("changed").with_label("new", "1").set_env("NEW", "1");
        let changed = changed.with_limits(None, Some("3"), None, None).unwrap();
        prop_assert_eq!(changed.to_value(), expected);
    }
}
