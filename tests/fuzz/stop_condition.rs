//! A condition over results, such as a `stop_condition`.

use runtimes::core::{
    run::hyper::Condition,
    serde_json::{Map, Value, json},
};

/// Results of all types, and none.
fn results() -> Vec<Map<String, Value>> {
    let all = json!({"accuracy": 0.93, "loss": 0.1, "epochs": 12, "done": true, "name": "best", "a": 1, "b": -1.5,
        "nothing": null, "list": [1], "zero": 0, "large": u64::MAX, "é": 2, "val.loss": 3, "": 1, "x y": 1e308});
    let few = json!({"accuracy": "high", "loss": null, "a": false, "b": ""});
    [all, few, json!({})].into_iter().map(|value| value.as_object().unwrap().clone()).collect()
}

/// It holds or not, never both it and its opposite; brackets around it change nothing.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let condition: Condition = match text.parse() {
        Ok(condition) => condition,
        Err(error) => return super::is_of_use(&error),
    };
    for name in condition.names() {
        assert!(text.contains(name), "{name:?} is not in {text:?}");
    }
    let again: Condition = condition.as_str().parse().unwrap();
    // Of a condition as long or as deep as may be, these are too long or too deep.
    let opposite = format!("not ({text})").parse::<Condition>();
    let bracketed = format!("({text})").parse::<Condition>();
    for results in results() {
        let holds = condition.holds(&results);
        assert_eq!(again.holds(&results), holds);
        if let Ok(opposite) = &opposite {
            assert!(!(holds && opposite.holds(&results)), "{text:?} and its opposite hold for {results:?}");
        }
        if let Ok(bracketed) = &bracketed {
            assert_eq!(bracketed.holds(&results), holds, "{text:?}");
        }
    }
}
