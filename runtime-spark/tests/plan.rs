//! What is made of each function in `inputs` on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{Error, Function, Plan, Registry, Run, serde_json::json, yaml};

fn planned(value: runtime_core::serde_json::Value) -> Result<Plan, Error> {
    let function = Function::from_value(value)?;
    let registry = Registry::linked()?;
    let kind = registry.get(&function.kind)?;
    function.validate()?;
    function.check_fields(kind.fields())?;
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "demo".to_owned();
    kind.validate(&function, &run)?;
    kind.plan(&function, &run)
}

#[test]
fn processes() {
    // The kind is there because this names its crate.
    assert_eq!(runtime_spark::KIND, "spark");
    insta::glob!("inputs/*.yaml", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        match planned(yaml::from_str(&text, "input.yaml").unwrap()) {
            Ok(plan) => insta::assert_json_snapshot!(plan),
            Err(error) => insta::assert_json_snapshot!(json!({
                "error": error.to_string(),
                "help": error.help_text(),
            })),
        }
    });
}
