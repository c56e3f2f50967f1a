//! `function`: what is in a function, how two differ, and what the store has of them; `rerun`.

use runtimes::core::serde_json::{Value, json};

use crate::fixture::{Folder, exists};

const TRAIN: &str = r#"
def fit(context, data, depth: int = 3):
    """Fit a model.

    :param depth: how deep
    :returns:     the score
    """
    return depth

def _hidden(): ...
"#;

fn notebook(cells: &[&str]) -> String {
    let cell = |source: &&str| json!({"cell_type": "code", "metadata": {}, "source": source, "outputs": []});
    json!({"cells": cells.iter().map(cell).collect::<Vec<_>>(), "metadata": {}, "nbformat": 4}).to_string()
}

#[test]
fn handlers_are_documented() {
    let folder = Folder::with("train.py", TRAIN);
    let shown = folder.run("function doc train.py");
    let text = &shown.ok().stdout;
    for part in
        ["fit(context, data, depth=3)\n  Fit a model.", "PARAMETER", "int", "how deep", "returns: the score"]
    {
        assert!(text.contains(part), "no {part:?}: {text}");
    }
    assert!(!text.contains("_hidden") && !text.contains('\x1b'), "{text}");
    let points = folder.run("function doc train.py fit -o json").ok().json();
    assert_eq!(
        points["fit"]["parameters"][2],
        json!({"name": "depth", "type": "int", "default": 3, "doc": "how deep"})
    );
    assert_eq!(points["fit"]["lineno"], 2);
    folder.run("function doc train.py none").code(2).says(&["no handler `none`", "help: it has fit"]);
    // What the code does not say is taken from the function itself.
    folder.write("function.yaml", "kind: local\nmetadata: {name: f}\nspec:\n  command: train.py\n  entry_points: {fit: {doc: other, parameters: [{name: data, doc: what to read}]}}\n");
    let points = folder.run("function doc . -o json").ok().json();
    assert_eq!(points["fit"]["doc"], "Fit a model.");
    assert_eq!(points["fit"]["parameters"][1], json!({"name": "data", "doc": "what to read"}));
    folder.write("broken.py", "def f(:\n");
    folder.run("function doc broken.py").code(2).says(&["broken.py:1:7: syntax error"]);
    assert!(!exists(&folder, ".runtimes"), "looking makes nothing");
}

#[test]
fn two_functions_are_compared() {
    let folder = Folder::with("train.py", TRAIN);
    folder.run("function save train.py --tag v1").ok();
    assert_eq!(folder.run("function diff train:v1 train.py").ok().stdout, "");
    folder.write("train.py", TRAIN.replace("return depth", "return depth + 1"));
    let shown = folder.run("function diff train train.py");
    assert!(shown.code(1).stdout.contains("-    return depth\n+    return depth + 1\n"), "{shown:#?}");
    folder.run("function save train.py").ok();
    folder.write("f.yaml", &(folder.run("function export train").ok().stdout.clone() + "verbose: true\n"));
    let data = folder.run("function diff db://default/train:v1 f.yaml -o json").code(1).json();
    assert_eq!(data["changes"], json!([{"path": "verbose", "after": true}]));
    assert!(data["code"].as_str().unwrap().starts_with("--- a/train.py\n+++ b/train.py\n@@ "), "{data}");
    assert_ne!(data["hash"]["before"], data["hash"]["after"]);
    folder.run("function diff train none.py").code(2).says(&["none.py"]);
}

#[test]
fn versions_tags_and_hashes() {
    let folder = Folder::with("train.py", TRAIN);
    let first = folder.run("function save train.py").ok().stdout.clone();
    assert_eq!(
        folder.run("function save train.py").ok().stdout,
        first,
        "the same content is the same version"
    );
    let hash = folder.run("function hash train.py --stored").ok().stdout.trim().to_owned();
    assert_eq!(first, format!("default/train@{hash} (latest)\n"));
    folder.write("train.py", "def fit(): return 'new'\n");
    folder.run("run train.py --handler fit").ok();
    assert_eq!(folder.run("functions --all -o json").ok().json().as_array().unwrap().len(), 2);
    let tagged = folder.run(&format!("function tag train@{} prod", &hash[..8])).ok().stdout.clone();
    assert_eq!(tagged, format!("default/train@{hash} (prod)\n"));
    let shown = folder.run("function show train:prod -o json").ok().json();
    assert_eq!((&shown["hash"], &shown["tags"]), (&json!(hash), &json!(["prod"])));
    assert_eq!(shown["handlers"]["fit"]["doc"], "Fit a model.");
    // The old version runs, and `latest` stays.
    let run =
        folder.run(&format!("run default/train@{} --handler fit -p data=x -p depth=7 -o json", &hash[..10]));
    let run = run.ok().json();
    assert_eq!(run["status"]["results"]["return"], 7);
    assert_eq!(run["spec"]["function"], format!("default/train@{hash}"));
    assert_ne!(folder.run("function hash train").ok().stdout.trim(), hash);
    folder.run("function show train:none").code(2).says(&["tag `none`", "(prod)"]);
    assert_eq!(folder.run("function delete train").ok().stdout, "deleted default/train: 2 versions\n");
}

#[test]
fn a_tag_or_one_version_is_deleted_and_what_that_means_is_said() {
    let folder = Folder::with("train.py", TRAIN);
    folder.run("run train.py --handler fit -p data=x --tag old").ok();
    let old = folder.run("function hash train").ok().stdout.trim().to_owned();
    folder.write("train.py", "def fit(): return 'new'\n");
    folder.run("function save train.py").ok();
    let new = folder.run("function hash train").ok().stdout.trim().to_owned();
    folder.run("function delete train:latest").code(2).says(&["`latest` cannot be deleted", "NAME@HASH"]);
    folder
        .run("function delete train:none")
        .code(2)
        .says(&["no version of default/train with the tag `none`"]);
    let tag = folder.run("function delete train:old").ok().stdout.clone();
    assert_eq!(tag, format!("deleted the tag default/train:old; default/train@{} stays\n", &old[..7]));
    let latest = folder.run(&format!("function delete train@{}", &new[..10])).ok().stdout.clone();
    let (old_start, new_start) = (&old[..7], &new[..7]);
    let moved =
        format!("deleted default/train@{new_start} (latest)\nlatest is default/train@{old_start} now\n");
    assert_eq!(latest, moved);
    assert_eq!(folder.run("function hash train").ok().stdout.trim(), old);
    let last = folder.run(&format!("function delete train@{old}")).ok().stdout.clone();
    for part in ["it was the last version", "1 run that ran it cannot be run again"] {
        assert!(last.contains(part), "{last}");
    }
    folder.run("rerun train-fit").code(2).says(&["not in the store any more"]);
}

#[test]
fn what_is_exported_is_a_function_again() {
    let folder = Folder::with("train.py", TRAIN);
    folder.run("function save train.py").ok();
    let hash = folder.run("function hash train").ok().stdout.clone();
    folder.write("one.yaml", &folder.run("function export train").ok().stdout);
    folder.write("one.json", &folder.run("function export train -o json").ok().stdout);
    let hashes = folder.run("function hash one.yaml one.json").ok().stdout.clone();
    assert_eq!(hashes, format!("{0}  one.yaml\n{0}  one.json\n", hash.trim()));
    assert_eq!(folder.run("function export train --code").ok().stdout, TRAIN);
    folder.run("function export train --dir out").ok();
    folder.run("function export train --dir out").code(2).says(&["out/train.py is there already", "--force"]);
    let done = folder.run("run out --handler fit -p data=x -p depth=5 -o json");
    assert_eq!(done.ok().json()["status"]["results"]["return"], 5);
    folder.run("function export train --dir out --force").ok();
}

#[test]
fn notebooks_run() {
    let cells = [
        "import math",
        "print('a trial')\n# mlrun: ignore",
        "%time\ndef f(n: int): return math.sqrt(n)",
        "# mlrun: end-code\nf(1)",
    ];
    let folder = Folder::with("note.ipynb", notebook(&cells));
    let run = folder.run("run note.ipynb --handler f -p n=16 -o json").ok().json();
    assert_eq!(run["status"]["results"]["return"], 4.0);
    assert_eq!(run["metadata"]["name"], "note-f");
    assert!(folder.run("function export note --code").ok().stdout.contains("# %% cell 3\n\ndef f"));
    folder.write("bad.ipynb", notebook(&["x = 1", "def f(:"]));
    folder.run("run bad.ipynb --handler f").code(2).says(&["bad.ipynb: cell 2, line 1: syntax error"]);
    // Two functions in one file, told apart by their names.
    folder.write("two.py", "# mlrun: start-code one\ndef f(): return 1\n# mlrun: end-code one\n# mlrun: start-code two\ndef f(): return 2\n");
    for (name, returned) in [("one", 1), ("two", 2)] {
        let run = folder.run(&format!("run two.py --function {name} --handler f -o json")).ok().json();
        assert_eq!(run["status"]["results"]["return"], returned);
        assert_eq!(run["metadata"]["name"], format!("{name}-f"));
    }
}

#[test]
fn a_run_is_run_again() {
    let folder =
        Folder::with("train.py", "def fit(data, depth: int): return depth, open(str(data)).read()\n");
    folder.write("data.txt", "one");
    let run = folder.run("run train.py --handler fit --input data=data.txt -p depth=4 -o json").ok().json();
    let uid = run["metadata"]["uid"].as_str().unwrap().to_owned();
    folder.write("train.py", "def fit(): ...\n");
    folder.run("run train.py --handler fit").ok();
    assert_eq!(folder.run(&format!("rerun {uid} --check")).ok().stdout, "");
    let again = folder.run(&format!("rerun {uid} -o json"));
    let again: Value = again.ok().json();
    assert_eq!(again["spec"], run["spec"]);
    assert_eq!(again["status"]["results"], run["status"]["results"]);
    assert_eq!(again["metadata"]["annotations"]["runtimes/rerun-of"], json!(uid));
    folder.write("data.txt", "two");
    let checked = folder.run(&format!("rerun {uid} --check -o json")).code(1).json();
    assert!(checked[0].as_str().unwrap().ends_with("data.txt has another content"), "{checked}");
    let done = folder.run(&format!("rerun {uid}"));
    done.ok().says(&["-- not as it was: inputs.data: ", "another content"]);
    folder.run("rerun none").code(2).says(&["there is no run \"none\""]);
}
