use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{RunState, run::Reason};

fn spec(hyperparams: Value, options: Value) -> RunSpec {
    serde_json::from_value(json!({"hyperparams": hyperparams, "hyper_param_options": options})).unwrap()
}

fn sweep(hyperparams: Value, options: Value) -> Sweep {
    Sweep::of(&spec(hyperparams, options)).unwrap().unwrap()
}

fn all(sweep: &Sweep) -> Vec<Value> {
    let parent = Run::default();
    (1..=sweep.len()).map(|n| Value::Object(sweep.child(&parent, n).spec.parameters)).collect()
}

#[test]
fn a_grid_has_every_combination_the_first_fastest() {
    let grid = sweep(json!({"a": [1, 2], "b": ["x", "y"]}), json!({}));
    assert_eq!(
        all(&grid),
        [
            json!({"a": 1, "b": "x"}),
            json!({"a": 2, "b": "x"}),
            json!({"a": 1, "b": "y"}),
            json!({"a": 2, "b": "y"})
        ]
    );
    assert_eq!(sweep(json!({"a": [1, 2], "b": [1, 2]}), json!({"max_iterations": 3})).len(), 3);
}

#[test]
fn a_list_has_rows() {
    let list = sweep(json!({"a": [1, 2], "b": ["x", null]}), json!({"strategy": "list"}));
    assert_eq!(all(&list), [json!({"a": 1, "b": "x"}), json!({"a": 2, "b": null})]);
}

#[test]
fn random_is_the_same_for_the_same_seed_and_draws_nothing_twice() {
    let values: Vec<u32> = (0..40).collect();
    let draw = |seed: u64, max: u32| {
        all(&sweep(
            json!({"a": values, "b": values, "c": values}),
            json!({"strategy": "random", "seed": seed, "max_iterations": max}),
        ))
    };
    assert_eq!(draw(7, 50), draw(7, 50));
    assert_ne!(draw(7, 50), draw(8, 50));
    // More iterations are the same ones, and others.
    assert_eq!(draw(7, 50), draw(7, 90)[..50]);
    let few = all(&sweep(json!({"a": [1, 2, 3], "b": [1, 2, 3]}), json!({"strategy": "random", "seed": 1})));
    let mut distinct: Vec<_> = few.iter().map(Value::to_string).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!((few.len(), distinct.len()), (9, 9));
}

#[test]
fn a_child_is_a_run_of_its_own() {
    let mut parent = Run { spec: spec(json!({"a": [1, 2]}), json!({"selector": "x"})), ..Run::default() };
    parent.metadata.uid = "u".into();
    parent.spec.parameters.insert("fixed".into(), 5.into());
    let child = Sweep::of(&parent.spec).unwrap().unwrap().child(&Sweep::base(&parent), 2);
    assert_eq!(child.key().to_string(), "u-2");
    assert_eq!(Value::Object(child.spec.parameters.clone()), json!({"fixed": 5, "a": 2}));
    assert!(!child.spec.is_hyper() && Sweep::of(&child.spec).unwrap().is_none());
}

#[test]
fn what_is_wrong_is_named() {
    let hundred: Vec<u32> = (0..100).collect();
    for (hyperparams, options, location, parts) in [
        (json!({"a": []}), json!({}), "hyperparams.a", vec!["no value"]),
        (json!({"a": 3}), json!({}), "hyperparams.a", vec!["a list of values"]),
        (
            json!({"a": [1], "b": [1, 2]}),
            json!({"strategy": "list"}),
            "hyperparams",
            vec!["a: 1, b: 2", "grid"],
        ),
        (
            json!({"a": hundred, "b": hundred, "c": hundred}),
            json!({}),
            "hyperparams",
            vec!["1000000 iterations", "10000"],
        ),
        (
            json!({"a": [1]}),
            json!({"selector": "mean.loss"}),
            "hyper_param_options.selector",
            vec!["max.mean.loss"],
        ),
        (json!({"a": [1]}), json!({"selector": "max."}), "hyper_param_options.selector", vec!["no result"]),
        (
            json!({"a": [1]}),
            json!({"stop_condition": "a = 1"}),
            "hyper_param_options.stop_condition",
            vec!["column 3", "=="],
        ),
        (json!({"a": [1]}), json!({"parallel_runs": 0}), "hyper_param_options.parallel_runs", vec!["1 to"]),
        (
            json!({"a": [1]}),
            json!({"max_iterations": 0}),
            "hyper_param_options.max_iterations",
            vec!["1 or more"],
        ),
        (json!({"a": [1]}), json!({"max_eror": 1}), "hyper_param_options.max_eror", vec!["`max_errors`"]),
        (json!({"a": [1]}), json!({"param_file": "x"}), "hyper_param_options.param_file", vec!["either"]),
    ] {
        let error = Sweep::of(&spec(hyperparams, options)).unwrap_err();
        assert_eq!(error.location(), Some(location), "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} in {error}");
        }
    }
    assert_eq!("gird".parse::<super::Strategy>().unwrap_err().help_text(), Some("did you mean `grid`?"));
    let noted = sweep(json!({"a": [1]}), json!({"teardown_dask": true}));
    assert_eq!(noted.notes, ["hyper_param_options.teardown_dask has no effect here"]);
}

fn results(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn conditions_hold_or_not() {
    let results = results(json!({
        "accuracy": 0.95, "loss": 0.05, "name": "adam", "ok": true, "val-acc": 2, "model.loss": 1, "list": [1]
    }));
    for (text, holds) in [
        ("accuracy > 0.9", true),
        ("accuracy > 0.9 and loss <= 0.05", true),
        ("accuracy > 0.99 or loss < 0.1", true),
        ("not accuracy > 0.9", false),
        ("not (accuracy > 0.9 and ok)", false),
        ("0.9 < accuracy < 0.96", true),
        ("0.9 < accuracy < 0.94", false),
        ("accuracy - loss >= 0.9 - 1e-9", true),
        ("2 + 3 * 4 == 14 and (2 + 3) * 4 == 20", true),
        ("10 - 2 - 3 == 5 and -loss < 0", true),
        ("name == 'adam' and name != \"sgd\"", true),
        ("name > 3", false),
        ("name != 3", true),
        ("`val-acc` == 2 and model.loss == 1", true),
        ("ok == True", true),
        ("ok", true),
        ("missing > 1", false),
        ("not missing > 1", false),
        ("missing > 1 or ok", true),
        ("missing > 1 and ok", false),
        ("list == 1", false),
        ("accuracy / 0 > 1", true),
        ("0 / 0 == 0 / 0", false),
    ] {
        assert_eq!(text.parse::<Condition>().unwrap().holds(&results), holds, "{text}");
    }
    let condition: Condition = "a > 1 and (b < 2 or not c)".parse().unwrap();
    assert_eq!(condition.names().into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_wrong_condition_says_where() {
    let deep = "(".repeat(1000);
    let long = vec!["1"; 500].join("+");
    for (text, part) in [
        ("", "empty"),
        ("accuracy >", "column 11: a result, a number or a text is missing"),
        ("accuracy = 1", "column 10"),
        ("accuracy ≥ 1", "write `>=`"),
        ("a > 1 && b > 2", "write `and`"),
        ("a > 1 b", "column 7: the name `b` is not expected"),
        ("(a > 1", "the bracket of column 1 is not closed"),
        ("a > 'x", "column 5: ' is not closed"),
        ("__import__('os')", "cannot be called"),
        ("a > 1.2.3", "\"1.2.3\" is not a number"),
        ("a[0] > 1", "'['"),
        ("and a", "expected before `and`"),
        (&deep, "64"),
        (&long, "64"),
    ] {
        let error = text.parse::<Condition>().unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} in {error}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "[a-z0-9.<>=!&|()+*/'\"` -]{0,60}|\\PC{0,40}") {
        if let Ok(condition) = text.parse::<Condition>() {
            condition.holds(&Map::new());
        }
    }

    #[test]
    fn draws_are_distinct(seed: u64, a in 1usize..60, b in 1usize..60, max in 1u32..200) {
        let values = |count: usize| (0..count).collect::<Vec<_>>();
        let sweep = sweep(json!({"a": values(a), "b": values(b)}),
            json!({"strategy": "random", "seed": seed, "max_iterations": max}));
        let mut drawn: Vec<_> = all(&sweep).iter().map(Value::to_string).collect();
        prop_assert_eq!(drawn.len(), (max as usize).min(a * b));
        drawn.sort();
        drawn.dedup();
        prop_assert_eq!(drawn.len(), sweep.len() as usize);
    }
}

fn ended(iteration: u32, state: RunState, found: Value) -> Run {
    let mut run = Run::default();
    run.metadata.iteration = iteration;
    run.status.state = state;
    run.status.results = results(found);
    run.spec.parameters.insert("a".into(), iteration.into());
    run.status.error = (state == RunState::Error).then(|| "boom".to_owned());
    run
}

#[test]
fn the_best_is_the_same_in_any_order() {
    let runs = [
        ended(1, RunState::Completed, json!({"x": 0.5})),
        ended(2, RunState::Completed, json!({"x": "0.9"})),
        ended(3, RunState::Completed, json!({"x": 0.9})),
        ended(4, RunState::Error, json!({"x": 2.0})),
        ended(5, RunState::Completed, json!({"y": 1})),
        ended(6, RunState::Completed, json!({"x": "NaN"})),
    ];
    for (selector, best) in [("x", Some(2)), ("min.x", Some(1)), ("z", None)] {
        let sweep = sweep(json!({"a": [1, 2, 3, 4, 5, 6]}), json!({"selector": selector}));
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 4, 1, 5, 3]] {
            let mut tally = Tally::new(&sweep);
            order.iter().for_each(|n| tally.take(&runs[*n]));
            tally.take(&runs[0]);
            assert_eq!(tally.best().map(|row| row.iteration), best, "{selector} {order:?}");
            assert_eq!((tally.ended(), tally.errors()), (6, 1));
            let table = tally.table();
            assert_eq!(
                Value::from(table[0].clone()),
                json!(["state", "iter", "param.a", "output.x", "output.y"])
            );
            assert_eq!(Value::from(table[1].clone()), json!(["completed", 1, 1, 0.5, null]));
            assert_eq!(tally.verdict().0, RunState::Completed);
        }
        let mut tally = Tally::new(&sweep);
        tally.take(&runs[0]);
        let missing = tally.notes().iter().any(|note| note.contains("`z`") && note.contains("they have x"));
        assert_eq!(missing, best.is_none(), "{:?}", tally.notes());
    }
}

#[test]
fn too_many_errors_and_a_met_condition_end_it() {
    let sweep = sweep(json!({"a": [1, 2, 3, 4, 5, 6]}), json!({"max_errors": 1, "stop_condition": "x > 1"}));
    let mut tally = Tally::new(&sweep);
    tally.take(&ended(1, RunState::Error, json!({"x": 5})));
    assert_eq!(tally.over(), None);
    assert_eq!(tally.verdict().1.unwrap().reason, Reason::IterationsFailed);
    tally.take(&ended(2, RunState::Completed, json!({"x": 5})));
    assert_eq!(tally.over(), Some(Over::Condition(2)));
    assert_eq!(tally.verdict().0, RunState::Completed);
    assert!(
        tally.notes().iter().any(|note| note.contains("iteration 2 meets `x > 1`")),
        "{:?}",
        tally.notes()
    );
    tally.take(&ended(3, RunState::Error, json!({})));
    assert_eq!(tally.over(), Some(Over::Errors));
    let cause = tally.verdict().1.unwrap();
    assert!(cause.message.starts_with("2 of 3 iterations failed, and at most 1 may"), "{}", cause.message);
    assert!(cause.message.ends_with("iteration 1: boom"), "{}", cause.message);
}
