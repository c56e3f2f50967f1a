//! Functions that nobody wrote: what is read comes out again with the same content, as YAML and as JSON.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::{collection, prelude::*, sample};
use runtime_core::Function;
use serde_json::{Map, Number, Value, json};

/// Texts that YAML would take for something else, or that need care.
const TRICKY: &[&str] = &[
    "",
    " ",
    "~",
    "null",
    "Null",
    "true",
    "yes",
    "No",
    "on",
    "y",
    "n",
    "1",
    "-1",
    "+1",
    "0x1f",
    "0o17",
    "0644",
    "1_000",
    "1e3",
    ".5",
    "1.",
    ".nan",
    "NaN",
    ".inf",
    "-.inf",
    "Infinity",
    "2024-01-01",
    "2024-01-01T00:00:00Z",
    "12:30:45",
    "=",
    "<<",
    "a: b",
    "a:",
    ": b",
    "- a",
    "-",
    "? a",
    "# no comment",
    "a #b",
    "a#b",
    "[a",
    "{a}",
    "&a",
    "*a",
    "!a",
    "!!str a",
    "|",
    ">",
    "|-",
    "%a",
    "@a",
    "`a`",
    "'a'",
    "\"a\"",
    "it's",
    "a\\b",
    "C:\\new",
    " a",
    "a ",
    "\ta",
    "a\t",
    "a\n",
    "\na",
    "a\nb",
    "a\n b\n",
    "a\n\n\nb\n\n",
    "  a\nb",
    "a \nb",
    "a\r\nb",
    "a\rb",
    "a\u{85}b",
    "a\u{2028}b",
    "\u{feff}a",
    "\u{7f}",
    "\u{1b}[1m",
    "\u{0}",
    "\u{1}",
    "é",
    "日本語",
    "😀",
    "e\u{301}",
    "\u{202e}abc",
    "---",
    "...",
    "--- a",
    "a\n---\nb",
    "\\u0041",
    "\u{fffd}",
    "\u{e000}",
    "\u{10ffff}",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        sample::select(TRICKY).prop_map(str::to_owned),
        "[a-zA-Z0-9_.-]{1,12}",
        "\\PC{0,30}",
        collection::vec("[ -~é\\t]{0,20}", 0..5).prop_map(|lines| lines.join("\n")),
        "[a-z ]{60,200}",
    ]
    // NUL is refused in a file, and so it cannot be in one.
    .prop_map(|text| text.replace('\0', "0"))
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000i64..1000).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| Number::from_f64(float).map(Value::Number)),
        sample::select(vec![0.0, -0.0, 1.0, 1e16, 1e-5, 0.1, 5e-324, f64::MAX]).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            collection::vec((text(), inner), 0..5).prop_map(map),
        ]
    })
}

fn map(entries: Vec<(String, Value)>) -> Value {
    Value::Object(entries.into_iter().collect())
}

fn extra() -> impl Strategy<Value = Map<String, Value>> {
    // Names that no typed field has.
    collection::vec((text(), value()), 0..4)
        .prop_map(|entries| entries.into_iter().map(|(key, value)| (format!("x{key}"), value)).collect())
}

/// A function with typed fields, nulls, empty values and unknown fields everywhere.
fn document() -> impl Strategy<Value = Value> {
    let parts = (extra(), extra(), extra(), extra(), extra());
    let typed = (
        text(),
        text(),
        collection::vec(text(), 0..4),
        collection::vec((text(), text()), 0..4),
        any::<bool>(),
    );
    (parts, typed).prop_map(|((top, metadata, spec, build, status), (a, b, list, pairs, nulls))| {
        let labels: Map<String, Value> = pairs.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let env: Vec<Value> = pairs.iter().map(|(name, value)| json!({"name": name, "value": value, "x": value})).collect();
        let mut document = json!({
            "kind": "job",
            "metadata": {"name": "f", "tag": a, "labels": labels, "annotations": {}, "categories": list},
            "spec": {
                "command": b, "args": list, "env": env, "description": a, "image": "",
                "entry_points": {"f": {"name": "f", "doc": b, "parameters": [{"name": a, "default": null}], "new": 1}},
                "build": {"functionSourceCode": "", "requirements": list, "commands": null},
                "resources": {"limits": {"cpu": 1.5, "memory": "1Gi"}, "requests": {}},
                "volumes": [{"name": "v", "emptyDir": {}, "unknown": {"a": [b]}}],
            },
            "status": {"state": a, "external_invocation_urls": list},
            "verbose": false,
        });
        let mut add = |pointer: &str, more: Map<String, Value>| {
            document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().extend(more);
        };
        add("", top);
        add("/metadata", metadata);
        add("/spec", spec);
        add("/spec/build", build);
        add("/status", status);
        if nulls {
            add("/spec", [("affinity", json!(null)), ("mode", json!(null)), ("tolerations", json!([]))].map(|(k, v)| (k.to_owned(), v)).into_iter().collect());
        }
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn out_and_in_is_the_same(document in document()) {
        let function = Function::from_value(document.clone()).unwrap();
        prop_assert_eq!(&function.to_value(), &document);

        let yaml = function.to_yaml().unwrap();
        let again = Function::from_yaml(&yaml, "f.yaml").map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        prop_assert_eq!(&again.to_value(), &document, "{}", yaml);
        prop_assert_eq!(again.hash(), function.hash());
        prop_assert_eq!(again.to_yaml().unwrap(), yaml);

        let text = serde_json::to_string(&function).unwrap();
        let again = Function::from_json(&text, "f.json").unwrap();
        prop_assert_eq!(&again.to_value(), &document);
        prop_assert!(function.diff(&again).is_empty());
    }

    /// A change shows where it was made, and is gone when it is taken back.
    #[test]
    fn a_change_touches_only_itself(document in document(), value in text()) {
        let function = Function::from_value(document.clone()).unwrap();
        let mut changed = function.clone().with_image(format!("image-{value}")).set_env("ADDED", &value);
        prop_assert_ne!(changed.hash(), function.hash());
        let paths: Vec<String> = function.diff(&changed).changes.into_iter().map(|change| change.path).collect();
        prop_assert!(paths.iter().all(|path| path.starts_with("spec.image") || path.starts_with("spec.env")), "{:?}", paths);
        prop_assert!(paths.contains(&"spec.image".to_owned()));
        // The hash is that of the document, however it is come by.
        let stored = Function::from_value(changed.to_value()).unwrap();
        prop_assert_eq!(stored.hash(), changed.hash());
        changed.spec.image.clone_from(&function.spec.image);
        changed.spec.pod.env.clone_from(&function.spec.pod.env);
        prop_assert_eq!(&changed.to_value(), &document);
    }
}
