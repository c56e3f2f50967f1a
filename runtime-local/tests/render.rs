//! The plans of both kinds, as they are for each function in `inputs`.
#![cfg(all(feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{Function, Registry, Run, serde_json, yaml};
use runtime_local as _;

/// An input has a function, and what was asked of its run.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    function: serde_json::Value,
    #[serde(default)]
    run: serde_json::Map<String, serde_json::Value>,
}

fn render(text: &str) -> Result<serde_json::Value, runtime_core::Error> {
    let Input { function, run: spec } = yaml::from_str(text, "input.yaml")?;
    let function = Function::from_value(function)?;
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "demo".to_owned();
    run.spec = yaml::from_value(&spec.into(), "run")?;
    let registry = Registry::linked()?;
    let runtime = registry.get(&function.kind)?;
    function.validate()?;
    function.check_fields(runtime.fields())?;
    runtime.validate(&function, &run)?;
    serde_json::to_value(runtime.plan(&function, &run)?)
        .map_err(|error| runtime_core::Error::internal("a plan is not written").source(error))
}

#[test]
fn plans() {
    // The kinds are there because this names their crate.
    assert_eq!(runtime_local::local::KIND, "local");
    insta::glob!("inputs/*.yaml", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        match render(&text) {
            Ok(plan) => insta::assert_json_snapshot!(plan),
            Err(error) => insta::assert_snapshot!(error.to_string()),
        }
    });
}
