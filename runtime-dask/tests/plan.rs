//! What is made of each function in `inputs` on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{Error, Function, Plan, Registry, Run, serde_json::json, yaml};

/// What is made of a run, and of a deployment.
fn planned(value: runtime_core::serde_json::Value) -> Result<[Plan; 2], Error> {
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
    Ok([kind.plan(&function, &run)?, kind.plan_deployment(&function, &run)?])
}

#[test]
fn processes() {
    // The kind is there because this names its crate.
    assert_eq!(runtime_dask::KIND, "dask");
    insta::glob!("inputs/*.yaml", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        match planned(yaml::from_str(&text, "input.yaml").unwrap()) {
            Ok([run, deployment]) => {
                let plan = json!({"run": run, "deployment": deployment});
                // What the scheduler is made of stands in a file of its own.
                let text = runtime_core::serde_json::to_string(&plan).unwrap();
                let program =
                    runtime_core::serde_json::to_string(include_str!("../src/scheduler.py")).unwrap();
                let plan: runtime_core::serde_json::Value =
                    runtime_core::serde_json::from_str(&text.replace(&program, "\"scheduler.py\"")).unwrap();
                insta::assert_json_snapshot!(plan);
            }
            Err(error) => insta::assert_json_snapshot!(json!(error.to_string())),
        }
    });
}
