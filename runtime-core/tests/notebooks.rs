//! Notebooks as the code of a function.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(feature = "python")]

use std::path::Path;

use runtime_core::{Error, Function, Result};
use serde_json::{Value, json};

fn code(lines: &str) -> Value {
    let source: Vec<_> = lines.split_inclusive('\n').collect();
    json!({"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [], "source": source})
}

fn read(name: &str, notebook: &Value) -> Result<Function> {
    Function::new("local", name).embed_file(
        "train.ipynb",
        &notebook.to_string(),
        Path::new("dir/train.ipynb"),
    )
}

fn notebook(cells: &[Value]) -> Value {
    json!({"cells": cells, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4, "nbformat_minor": 5})
}

#[track_caller]
fn error(cells: &[Value]) -> Error {
    read("train", &notebook(cells)).unwrap_err()
}

#[test]
fn code_cells_become_a_file() {
    let cells = [
        json!({"cell_type": "markdown", "metadata": {}, "source": ["# Title"]}),
        code("%matplotlib inline\nimport math\n"),
        code("# mlrun: ignore\nprint('a trial')"),
        json!({"cell_type": "code", "metadata": {"tags": ["mlrun-ignore"]}, "source": "print('tagged')"}),
        code("!pip install x"),
        code("def fit(context, n: int = 1):\n    return math.sqrt(n)\n"),
        code("%%bash\nls"),
        code("# mlrun: end-code\nfit(None)"),
        code("fit(None, 2)"),
    ];
    let function = read("train", &notebook(&cells)).unwrap();
    let code = function.code().unwrap().unwrap();
    assert_eq!(code.name, "train.py");
    assert_eq!(function.spec.build.origin_filename, "train.ipynb");
    assert_eq!(
        code.text,
        "# %% cell 2\n\nimport math\n\n# %% cell 6\ndef fit(context, n: int = 1):\n    return math.sqrt(n)\n"
    );
}

#[test]
fn regions_of_the_function_itself() {
    let cells = [
        code("# nuclio: start-code other\nx = 1\n# nuclio: end-code other"),
        code("# mlrun: start-code\ny = 1"),
        code("# mlrun: end-code"),
        code("z = 1"),
    ];
    let text = |name: &str| read(name, &notebook(&cells)).unwrap().code().unwrap().unwrap().text;
    assert_eq!(text("train"), "# %% cell 2\n\ny = 1\n");
    assert_eq!(text("other"), "# %% cell 1\n\nx = 1\n");
}

#[test]
fn what_nuclio_lines_set_is_the_functions() {
    let cells = [
        code("%nuclio cmd -c pip install scikit-learn==1.5.2 pandas\n%nuclio cmd apt-get update\nx = 1"),
        code("%%nuclio env\nMODE=fast\n# no\nNAME='a b'"),
        code("%nuclio env -l HERE=1\n%nuclio config spec.build.baseImage = \"python:3.12\""),
        code("%nuclio config kind = \"job\"\n%nuclio config spec.maxReplicas = 2"),
    ];
    let function = read("train", &notebook(&cells)).unwrap();
    assert_eq!(function.spec.build.requirements, ["scikit-learn==1.5.2", "pandas"]);
    assert_eq!(function.spec.build.commands, ["apt-get update"]);
    assert_eq!(function.spec.build.base_image, "python:3.12");
    assert_eq!(function.kind, "job");
    let env: Vec<_> =
        function.spec.pod.env.iter().map(|var| (var.name.as_str(), var.value.as_deref().unwrap())).collect();
    assert_eq!(env, [("MODE", "fast"), ("NAME", "a b")]);
    assert_eq!(function.spec.extra["config"]["spec.maxReplicas"], 2);
}

#[test]
fn errors_name_the_cell() {
    let wrong = error(&[code("x = 1"), code("y = 2\ndef f(:\n  pass")]);
    assert_eq!(wrong.location(), Some("dir/train.ipynb: cell 2, line 2"));
    assert!(wrong.message().starts_with("syntax error"), "{wrong}");
    let wrong = error(&[code("# mlrun: start-code\n# mlrun: start-code")]);
    assert_eq!(wrong.location(), Some("dir/train.ipynb: cell 1, line 2"));
    let wrong = error(&[code("files = !ls")]);
    assert!(wrong.to_string().contains("cell 1, line 1: the code uses what `!ls` gives"), "{wrong}");
    let wrong = error(&[code("x = 1"), json!({"cell_type": "code", "source": [1]})]);
    assert_eq!(wrong.location(), Some("dir/train.ipynb: cell 2"));
    let wrong = error(&[code("%nuclio env TOKEN=${TOKEN}")]);
    assert!(wrong.to_string().contains("cell 1, line 1: %nuclio env: TOKEN is set"), "{wrong}");
    let wrong = error(&[code("%nuclio mount /a /b")]);
    assert!(wrong.to_string().contains("%nuclio mount: is not known"), "{wrong}");
    assert!(error(&[code("!ls")]).message().contains("no code"));
}

#[test]
fn what_is_no_notebook_is_refused() {
    let broken = |text: &str| {
        Function::new("local", "f").embed_file("f.ipynb", text, Path::new("f.ipynb")).unwrap_err().to_string()
    };
    assert!(
        broken("{\"cells\": [\n").starts_with("f.ipynb:2:0: not a notebook: EOF"),
        "{}",
        broken("{\"cells\": [\n")
    );
    assert!(broken("{\"worksheets\": []}").contains("no list `cells`"));
    assert!(broken("[]").contains("no list `cells`"));
    let mut julia = notebook(&[code("x = 1")]);
    julia["metadata"]["language_info"] = json!({"name": "julia"});
    assert!(read("f", &julia).unwrap_err().message().contains("in julia"));
}
