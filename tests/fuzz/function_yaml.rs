//! A `function.yaml` of anybody.

use runtimes::{
    Function, Registry, Run,
    core::{Plan, Runtime, serde_json},
};

/// What reads is written and reads back as the same function, with the same hash; what is wrong with it is said.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let function = match Function::from_yaml(text, "f.yaml") {
        Ok(function) => function,
        Err(error) => {
            super::is_of_use(&error);
            assert!(error.location().is_some_and(|place| place.starts_with("f.yaml")), "{error}");
            return;
        }
    };
    reads_back(&function);
    changes_and_changes_back(&function);
    if let Err(error) = function.validate() {
        super::is_of_use(&error);
    }
    if let Err(error) = function.code() {
        super::is_of_use(&error);
    }
    for kind in Registry::linked().unwrap().iter() {
        plans(kind.as_ref(), &function);
    }
}

fn reads_back(function: &Function) {
    let hash = function.hash();
    let yaml = function.to_yaml().unwrap();
    let again = Function::from_yaml(&yaml, "again.yaml").unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(again.to_value(), function.to_value(), "{yaml}");
    assert_eq!(&again, function, "{yaml}");
    assert_eq!((again.hash(), again.to_yaml().unwrap()), (hash.clone(), yaml));
    assert!(function.diff(&again).is_empty());

    let json = serde_json::to_string(function).unwrap();
    let again = Function::from_json(&json, "again.json").unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!((&again, again.hash()), (function, hash), "{json}");
}

/// A change is in the hash, and gone when it is taken back.
fn changes_and_changes_back(function: &Function) {
    let mut changed = function.clone().with_image(format!("{}-changed", function.spec.image));
    assert_ne!(changed.hash(), function.hash());
    let stored = Function::from_value(changed.to_value()).unwrap();
    assert_eq!(stored.hash(), changed.hash());
    changed.spec.image.clone_from(&function.spec.image);
    assert_eq!(changed.to_value(), function.to_value());
}

fn plans(kind: &dyn Runtime, function: &Function) {
    let mut run = Run::default();
    run.spec.handler.clone_from(&function.spec.default_handler);
    let planned = kind.validate(function, &run).and_then(|()| kind.plan(function, &run));
    match planned {
        Ok(plan) => drop::<Plan>(plan),
        Err(error) => super::is_readable(&error),
    }
}
