//! Real documents of MLRun: read, written, hashed and checked. They lie outside of the repository, in the folder of
//! the environment variable `RUNTIMES_SHARED`, else in `../shared`; without them these tests are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by them")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use runtime_core::{
    Function,
    serde_json::{self, Value},
    yaml,
};

/// The folder of one sort of documents, if it is there.
fn shared(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RUNTIMES_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// A document comes out as it went in: as JSON, and by way of YAML; also when something in it was changed and back.
fn round_trip(name: &str, function: &Function, document: &Value) {
    assert_eq!(function.to_value(), *document, "{name}");
    let again: Function = serde_json::from_str(&serde_json::to_string(function).unwrap()).unwrap();
    assert_eq!(again, *function, "{name}");
    let text = function.to_yaml().unwrap();
    let again = Function::from_yaml(&text, name).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.to_value(), *document, "{name}\n{text}");

    let mut changed = function.clone().set_env("ADDED_BY_A_TEST", "1").with_label("added-by-a-test", "1");
    assert_ne!(changed, *function, "{name}");
    changed.spec.pod.env.pop();
    changed.metadata.labels.remove("added-by-a-test");
    assert_eq!(changed.to_value(), *document, "{name}");
}

#[test]
fn hub_functions() {
    let Some(hub) = shared("hub") else { return };
    let mut count = 0;
    for entry in fs::read_dir(hub).unwrap() {
        let path = entry.unwrap().path().join("function.yaml");
        let function = Function::from_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let document = yaml::read(&fs::read_to_string(&path).unwrap(), "f").unwrap();
        round_trip(&path.display().to_string(), &function, &document);
        function.validate().unwrap_or_else(|error| panic!("{error}"));
        let code =
            function.code().unwrap_or_else(|error| panic!("{error}")).expect("hub functions carry code");
        assert!(code.text.contains("def "), "{}", code.name);
        #[cfg(feature = "python")]
        documented(&function, &code);
        count += 1;
    }
    assert!(count > 10, "{count}");
}

/// What is read from the code has the handlers that the function's own documentation has, with the same parameters.
#[cfg(feature = "python")]
fn documented(function: &Function, code: &runtime_core::function::SourceCode) {
    let name = &function.metadata.name;
    let found = runtime_core::python::Module::parse(&code.name, &code.text).unwrap().entry_points();
    for (handler, own) in &function.spec.entry_points {
        // MLRun lists methods by their bare names; they are called by `Class::method`.
        let method = format!("::{handler}");
        let ours = found
            .get(handler)
            .or_else(|| found.iter().find(|(at, _)| at.ends_with(&method)).map(|(_, it)| it));
        let Some(ours) = ours else { panic!("{name}: no {handler} among {:?}", found.keys()) };
        let names = |point: &runtime_core::function::EntryPoint| -> Vec<String> {
            point
                .parameters
                .iter()
                .map(|parameter| parameter.name.clone())
                .filter(|name| name != "self")
                .collect()
        };
        assert_eq!(names(ours), names(own), "{name}: {handler}");
    }
}

#[test]
fn captured_functions() {
    let Some(cases) = shared("mlrun/cases") else { return };
    let mut wrong = Vec::new();
    for entry in fs::read_dir(cases).unwrap() {
        for line in lines(&entry.unwrap().path()) {
            let case: Value = serde_json::from_str(&line).unwrap();
            let name = case["name"].as_str().unwrap();
            let function = Function::from_json(&case["function"].to_string(), name)
                .unwrap_or_else(|error| panic!("{error}"));
            round_trip(name, &function, &case["function"]);
            // What MLRun refuses may be refused here too, and nothing else.
            match function.validate() {
                Err(error) if case.get("refused").is_none_or(Value::is_null) => {
                    wrong.push(format!("{name}: {error}"))
                }
                _ => {}
            }
            if let Err(error) = function.check_fields(&[]) {
                panic!("{name}: {error}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn captured_runs() {
    let Some(cases) = shared("mlrun/cases") else { return };
    let mut count = 0;
    for entry in fs::read_dir(cases).unwrap() {
        for line in lines(&entry.unwrap().path()) {
            let case: Value = serde_json::from_str(&line).unwrap();
            let (name, run) = (&case["name"], &case["run"]);
            if run.is_null() {
                continue;
            }
            let read: runtime_core::Run = match serde_json::from_value(run.clone()) {
                Ok(read) => read,
                // What MLRun takes, too, to be of a wrong type.
                Err(_) if case["refused"].as_str().is_some_and(|why| why.contains("must be a string")) => {
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            };
            // What is written is what was read, but for what was not set.
            let written = serde_json::to_value(&read).unwrap();
            for (part, fields) in run.as_object().unwrap() {
                for (field, value) in fields.as_object().unwrap() {
                    let is_set = match value {
                        Value::Null => false,
                        Value::Object(map) => !map.is_empty(),
                        Value::Array(items) => !items.is_empty(),
                        Value::String(text) => !text.is_empty(),
                        _ => true,
                    };
                    let value = if field == "secret_sources" { &without_values(value) } else { value };
                    assert!(!is_set || written[part][field] == *value, "{name}: {part}.{field}: {written}");
                }
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// Sources of secrets as they are written: values that stand in the spec itself are not.
fn without_values(sources: &Value) -> Value {
    let mut sources = sources.clone();
    for source in sources.as_array_mut().unwrap().iter_mut().filter(|source| source["kind"] == "inline") {
        source["source"].as_object_mut().unwrap().values_mut().for_each(|value| *value = Value::Null);
    }
    sources
}

#[test]
fn hashes() {
    let Some(pairs) = shared("mlrun/hashes.jsonl") else { return };
    for line in lines(&pairs) {
        // One input holds half of a surrogate pair, which no Rust string can: escaped once more, the text of the
        // function has it as an escape.
        let pair: Value = serde_json::from_str(&line)
            .or_else(|_| serde_json::from_str(&line.replace(r"\ud83d", r"\\ud83d")))
            .unwrap_or_else(|error| panic!("{error}: {line}"));
        let name = pair["name"].as_str().unwrap();
        let function = Function::from_json(pair["input"].as_str().unwrap(), name)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(function.hash(), pair["hash"].as_str().unwrap(), "{name}");
        round_trip(name, &function, &function.to_value());
        // What is not of the content does not count, nor does the way to the hash: by the document as it was read,
        // or by one that is written anew.
        let mut stored = function.clone();
        stored.metadata.tag = "other".to_owned();
        stored.metadata.updated = "now".to_owned();
        stored.status.state = "ready".to_owned();
        assert_eq!(stored.hash(), function.hash(), "{name}");
        assert_eq!(Function::from_value(stored.to_value()).unwrap().hash(), function.hash(), "{name}");
        let by_yaml = Function::from_yaml(&function.to_yaml().unwrap(), name).unwrap();
        assert_eq!(by_yaml.hash(), pair["hash"].as_str().unwrap(), "{name}");
    }
}
