//! Reading Python files: what they offer, where they are wrong, and which calls of them can work.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "python")]

use std::{collections::BTreeMap, fmt::Write as _, fs};

use runtime_core::{ErrorKind, python::Module};
use serde_json::{Map, Value, json};

fn check(source: &str, handler: &str, parameters: Value) -> Result<(), String> {
    check_with(source, handler, parameters, &[])
}

fn check_with(source: &str, handler: &str, parameters: Value, inputs: &[&str]) -> Result<(), String> {
    let parameters: Map<String, Value> = serde_json::from_value(parameters).unwrap();
    let inputs: BTreeMap<String, String> =
        inputs.iter().map(|name| ((*name).to_owned(), format!("{name}.csv"))).collect();
    let module = Module::parse("train.py", source).unwrap();
    module.check_call(handler, &parameters, &inputs).map_err(|error| error.to_string())
}

#[test]
fn files() {
    insta::glob!("inputs/python/*.py", |path| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let shown = match Module::parse(name, &text) {
            Err(error) => error.to_string(),
            Ok(module) => {
                let mut shown = serde_json::to_string_pretty(&module).unwrap();
                for handler in module.public() {
                    write!(shown, "\n{handler}").unwrap();
                }
                shown
            }
        };
        insta::assert_snapshot!(shown);
    });
}

const TRAIN: &str = "\
def train(context, data, n: int = 3, label='y'): ...
def evaluate(model, test: str): ...
def _private(): ...
@deco
def wrapped(a): ...
if fast:
    def quick(a): ...
alias = train
class Model:
    size = 1
    def fit(self, data): ...
class Child(Model):
    def own(self): ...
";

#[test]
fn what_is_right_passes() {
    check_with(TRAIN, "train", json!({"n": 4}), &["data"]).unwrap();
    check(TRAIN, "train", json!({"n": "4", "data": "x.csv"})).unwrap();
    check(TRAIN, "Model::fit", json!({"data": 1, "_init_args": {}})).unwrap();
    check(TRAIN, "evaluate", json!({"model": 1, "test": 3})).unwrap();
    check("def f(*args, **kw): ...", "f", json!({"a": 1})).unwrap();
    check("def f(a: int = None): ...", "f", json!({"a": null})).unwrap();
    check("def f(a, /, *, b): ...", "f", json!({"a": 1, "b": 2})).unwrap();
    check("def f(job: mlrun.MLClientCtx, a): ...", "f", json!({"a": 1})).unwrap();
}

#[test]
fn what_is_in_doubt_passes() {
    for handler in ["wrapped", "quick", "alias", "Model", "Model::size", "Child::fit", "package.module.f"] {
        check(TRAIN, handler, json!({"zzz": 1})).unwrap();
    }
    check("from x import *", "anything", json!({})).unwrap();
    check("exec(code)", "anything", json!({})).unwrap();
    check("def f(a): ...\nf = wrap(f)", "f", json!({})).unwrap();
    check("def init():\n  global made\n  made = 1", "made", json!({})).unwrap();
}

#[test]
fn a_missing_handler_lists_those_that_are_there() {
    let error = check(TRAIN, "trian", json!({})).unwrap_err();
    assert_eq!(
        error,
        "train.py: there is no handler `trian`\n  help: did you mean `train`?\n        handlers in this file: train, evaluate, wrapped, Model::fit, Child::own"
    );
    let error = check("x = 1", "f", json!({})).unwrap_err();
    assert!(error.contains("the file defines no function"), "{error}");
    let error = check(TRAIN, "Model::fti", json!({})).unwrap_err();
    assert!(error.contains("did you mean `Model::fit`?"), "{error}");
    let many: String = (0..20).fold(String::new(), |text, n| format!("{text}def f{n}(): ...\n"));
    let error = check(&many, "zebra", json!({})).unwrap_err();
    assert!(error.ends_with("f10, f11 and 8 more"), "{error}");
    let module = Module::parse("m.py", "").unwrap();
    let error = module.check_call("f", &Map::new(), &BTreeMap::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn missing_parameters_are_all_named() {
    let error = check(TRAIN, "evaluate", json!({})).unwrap_err();
    assert_eq!(
        error,
        "train.py:2: `evaluate` needs the parameters `model`, `test`\n  help: evaluate(model, test: str)"
    );
    let error = check(TRAIN, "train", json!({"dta": 1})).unwrap_err();
    assert_eq!(
        error,
        "train.py:1: `train` needs the parameter `data`\n  help: `dta` was given: did you mean `data`?\n        train(context, data, n: int = 3, label='y')"
    );
    let error = check(TRAIN, "Model::fit", json!({})).unwrap_err();
    assert!(error.contains("`Model::fit` needs the parameter `data`\n  help: Model::fit(data)"), "{error}");
}

#[test]
fn parameters_that_are_not_taken() {
    let error = check(TRAIN, "evaluate", json!({"model": 1, "test": "", "zzz": 1, "y": 2})).unwrap_err();
    assert!(error.contains("`evaluate` does not take the parameters `zzz`, `y`"), "{error}");
    let error = check("def f(epochs=1): ...", "f", json!({"epoch": 1})).unwrap_err();
    assert!(error.contains("does not take the parameter `epoch`\n  help: did you mean `epochs`?"), "{error}");
    let error = check_with("def f(a=1): ...", "f", json!({}), &["table"]).unwrap_err();
    assert!(error.contains("`table`"), "{error}");
}

/// `context.get_param("lr")` is a way to take a parameter, so a handler with a context takes any; but a slip in
/// the name of one that it declares is still found.
#[test]
fn a_handler_with_a_context_may_read_others() {
    check("def f(context, epochs=1): ...", "f", json!({"lr": 0.1})).unwrap();
    check("def f(context, epochs=1): context.get_param('epoch')", "f", json!({"epoch": 1})).unwrap();
    let error = check("def f(context, epochs=1): ...", "f", json!({"epoch": 1})).unwrap_err();
    assert!(error.contains("did you mean `epochs`?"), "{error}");
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    let error = check(TRAIN, "train", json!({"n": "abc", "data": 1})).unwrap_err();
    assert_eq!(
        error,
        "train.py:1: parameter n: expected int, found the text \"abc\"\n  help: train(context, data, n: int = 3, label='y')"
    );
    let source = "def f(a: Optional[int] = None, b: list = []): ...";
    let error = check(source, "f", json!({"a": 1.5, "b": {"x": 1}})).unwrap_err();
    assert!(error.contains("parameter a: expected Optional[int], found the number 1.5; parameter b: expected list, found an object"), "{error}");
    let error = check("def f(a: int): ...", "f", json!({"a": null})).unwrap_err();
    assert!(error.contains("found null"), "{error}");
}

#[test]
fn no_input_takes_the_parser_down() {
    let deep = 19_000;
    for text in [
        "(".repeat(1_000_000),
        format!("x = {}1", "-".repeat(1_000_000)),
        format!("x = {}1", "not ".repeat(deep)),
        format!("x = {}1", "lambda: ".repeat(deep)),
        format!("x = f{}", "()".repeat(deep)),
        format!("x = {}1", "a if b else ".repeat(deep / 2)),
        "(".repeat(deep),
        format!("{}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("x = {}1", "-".repeat(deep)),
        format!("x = {}1", "1+".repeat(deep)),
        format!("x = a{}", ".a".repeat(deep)),
        format!("x: {}int{}", "Optional[".repeat(deep), "]".repeat(deep)),
        "\0".to_owned(),
        "def f(\u{feff}\u{2028}".to_owned(),
        "\"\"\"".to_owned(),
        "f'{".to_owned(),
        "\\".to_owned(),
        "\r".repeat(10),
    ] {
        if let Err(error) = Module::parse("deep.py", &text) {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(def |class |f|\\(|\\)|:|\n|  |\t|=|'|\"|\\*|,|東|[a-z]|\\PC){0,60}") {
        if let Err(error) = Module::parse("any.py", &text) {
            assert!(error.location().is_some_and(|location| location.starts_with("any.py:")), "{error}");
        }
    }
}
