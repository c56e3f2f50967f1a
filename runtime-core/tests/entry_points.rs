//! Handlers as a function documents them.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(feature = "python")]

use runtime_core::{function::EntryPoint, python::Module};
use serde_json::{Value, json};

fn documented(source: &str) -> Value {
    serde_json::to_value(Module::parse("f.py", source).unwrap().entry_points()).unwrap()
}

#[test]
fn a_handler_with_everything() {
    let source = r#"
import pandas as pd

def train(
    context,
    data: "DataItem",
    frames: List[pd.DataFrame] = None,
    mode: Literal["a", "b"] = "a",
    depth: int | None = -3,
    rate: float = 1e-3,
    layers=(1, [2, 3]),
    options: Dict[str, Union[int, None]] = {"a": {"b": True}},
    made=make(1),
    *rest,
    late: mlrun.sub.Thing = b"x",
    **more,
) -> Tuple[pd.DataFrame, float]:
    """Trains a model.

    In two steps.

    :param data:  what to learn from,
                  all of it
    :param float depth: how deep
    :returns: the score
    """

async def later(x): ...
def _private(): ...
class Model:
    def fit(self, x: int = 0): ...
    def __init__(self): ...
"#;
    let expected = json!({
        "train": {
            "name": "train",
            "doc": "Trains a model.\n\nIn two steps.",
            "parameters": [
                {"name": "context"},
                {"name": "data", "type": "DataItem", "doc": "what to learn from, all of it"},
                {"name": "frames", "type": "List[DataFrame]", "default": null},
                {"name": "mode", "type": "Literal[\"a\", \"b\"]", "default": "a"},
                {"name": "depth", "type": "float", "default": -3, "doc": "how deep"},
                {"name": "rate", "type": "float", "default": 0.001},
                {"name": "layers", "default": [1, [2, 3]]},
                {"name": "options", "type": "Dict[str, Union[int, None]]", "default": {"a": {"b": true}}},
                {"name": "made", "default": "make(1)"},
                {"name": "late", "type": "mlrun.sub.Thing", "default": "b\"x\""},
            ],
            "outputs": [{"type": "Tuple[DataFrame, float]", "doc": "the score"}],
            "lineno": 4,
            "has_varargs": true,
            "has_kwargs": true,
        },
        "later": {
            "name": "later", "parameters": [{"name": "x"}], "lineno": 28,
            "has_varargs": false, "has_kwargs": false,
        },
        "Model::fit": {
            "name": "Model::fit", "parameters": [{"name": "x", "type": "int", "default": 0}], "lineno": 31,
            "has_varargs": false, "has_kwargs": false,
        },
    });
    assert_eq!(documented(source), expected);
    // They are what a function carries.
    let read: std::collections::BTreeMap<String, EntryPoint> = serde_json::from_value(expected).unwrap();
    assert_eq!(read, Module::parse("f.py", source).unwrap().entry_points());
}

#[test]
fn marked_handlers_alone() {
    let source =
        "def a(): ...\n# mlrun:handler\ndef b(): ...\n#mlrun:handler\n@deco\ndef _c(): ...\n\ndef d(): ...\n";
    let names: Vec<_> = documented(source).as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["_c", "b"]);
}

#[test]
fn what_is_no_literal_stays_source_text() {
    for (source, default) in [
        ("-x", json!("-x")),
        ("--1", json!(1)),
        ("1_000", json!(1000)),
        ("99999999999999999999999", json!("99999999999999999999999")),
        ("{1: 2}", json!("{1: 2}")),
        ("{**a}", json!("{**a}")),
        ("f'{x}'", json!("f'{x}'")),
        ("'a' 'b'", json!("ab")),
        ("1j", json!("1j")),
        ("1e999", json!("1e999")),
        ("-9223372036854775808", json!("-9223372036854775808")),
    ] {
        let shown = documented(&format!("def f(x={source}): ...\n"));
        assert_eq!(shown["f"]["parameters"][0]["default"], default, "{source}");
    }
}
