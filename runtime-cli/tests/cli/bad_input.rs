//! Bad input: each is a clear error with exit code 2, and nothing is recorded or started.

use crate::fixture::{Done, Folder};

const TRAIN: &str = "\
def train(context, data, epochs: int = 3):
    return epochs

def evaluate(model):
    pass
";

/// A `function.yaml` with these lines in its spec.
fn function(spec: &str) -> String {
    format!("kind: local\nmetadata:\n  name: f\nspec:\n  command: f.sh\n{spec}")
}

#[track_caller]
fn refused(folder: &Folder, args: &str, parts: &[&str]) -> Done {
    let done = folder.run(args);
    done.code(2).says(&["error: "]).says(parts);
    assert_eq!(done.stdout, "", "{done:#?}");
    assert!(folder.runs().is_empty(), "{:#?}", folder.runs());
    done
}

#[test]
fn no_file() {
    let folder = Folder::with("train.py", TRAIN);
    refused(&folder, "run trian.py", &["there is no file trian.py", "help: did you mean train.py?"]);
    refused(
        &folder,
        "run nowhere/f.yaml",
        &["there is no file nowhere/f.yaml", "help: there is no folder nowhere"],
    );
    refused(&folder, "run nothing", &["`nothing`", "help: "]);
    refused(&folder, "run ./train", &["there is no file ./train"]);
}

#[test]
fn not_yaml() {
    let folder = Folder::with("f.yaml", "kind: [local\nname: }");
    refused(&folder, "run f.yaml", &["f.yaml:2:"]);
    folder.write("f.yaml", b"\x7fELF\x00\x01\x02");
    refused(&folder, "run f.yaml", &["f.yaml", "not text"]);
}

#[test]
fn yaml_of_something_else() {
    let folder = Folder::with("list.yaml", "- 1\n- 2\n");
    refused(&folder, "run list.yaml", &["list.yaml", "help: ", "kind: "]);
    folder.write("pod.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec: {}\n");
    refused(&folder, "run pod.yaml", &["pod.yaml", "Kubernetes"]);
    folder.write("empty.yaml", "");
    refused(&folder, "run empty.yaml", &["empty.yaml", "help: "]);
}

#[test]
fn an_unknown_kind_lists_those_there_are() {
    let folder = Folder::with("f.yaml", function("").replace("kind: local", "kind: lokal"));
    refused(
        &folder,
        "run f.yaml",
        &["unknown kind `lokal`", "help: did you mean `local`?", "dask, handler, job, local, mpijob, spark"],
    );
    folder.write("f.sh", "true\n");
    refused(
        &folder,
        "run f.sh --kind rocket",
        &["unknown kind `rocket`", "dask, handler, job, local, mpijob, spark"],
    );
}

#[test]
fn a_misspelt_field() {
    let folder = Folder::with("f.yaml", function("  replcas: 3\n"));
    refused(&folder, "run f.yaml", &["spec.replcas", "unknown field", "help: did you mean `replicas`?"]);
}

#[test]
fn a_wrong_type_with_its_path() {
    let folder = Folder::with("f.yaml", function("  replicas: three\n"));
    refused(&folder, "run f.yaml", &["f.yaml:6:", "spec.replicas", "expected", "three"]);
}

#[test]
fn wrong_quantities() {
    let folder = Folder::with("f.sh", "true\n");
    refused(&folder, "run f.sh --limits mem=1gb", &["1gb", "help: ", "1Gi or 1G"]);
    folder.run("run f.sh --limits disk=1").code(2).says(&["error: ", "disk", "mem=1Gi,cpu=2"]);
}

#[test]
fn a_missing_handler_lists_the_handlers() {
    let folder = Folder::with("train.py", TRAIN);
    refused(&folder, "run train.py --handler trian", &["trian", "help: did you mean `train`?"]);
    refused(&folder, "run train.py --handler predict", &["predict", "train", "evaluate"]);
}

#[test]
fn parameters_that_do_not_fit() {
    let folder = Folder::with("train.py", TRAIN);
    let run = "run train.py --handler train";
    refused(&folder, run, &["data", "train(context, data, epochs: int = 3)"]);
    refused(&folder, &format!("{run} -p data=x -p epochs=many"), &["epochs", "int", "many"]);
    refused(&folder, &format!("{run} -p data=x -p epoch=1"), &["epoch", "did you mean `epochs`?"]);
    refused(&folder, &format!("{run} -p data=1 -p data=2"), &["--param", "`data` is given twice"]);
    folder.run(&format!("{run} -p data")).code(2).says(&["error: ", "KEY=VALUE"]);
    folder.run(&format!("{run} --timeout soon")).code(2).says(&["error: ", "\"soon\" is not a duration"]);
}

#[test]
fn a_requirement_that_does_not_exist() {
    let folder = Folder::with("f.py", "print('started')\n");
    folder.write("gone.txt", "");
    let wheel = folder.path("gone-1.0-py3-none-any.whl");
    let done = folder.run(&format!("run f.py --requirement {}", wheel.display()));
    assert!(matches!(done.code, Some(1 | 2)), "{done:#?}");
    done.says(&["error: ", "gone-1.0-py3-none-any.whl"]);
    assert!(!done.stdout.contains("started"), "{done:#?}");
}

#[test]
fn no_python() {
    let folder = Folder::with("f.py", "print('started')\n");
    let bin = folder.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let mut command = folder.command(["run", "f.py"]);
    command.env("PATH", &bin).env_remove("RUNTIMES_PYTHON");
    let done = Done::of(command.output().unwrap());
    done.code(2).says(&["error: ", "python3", "help: ", "RUNTIMES_PYTHON"]);
    assert!(folder.runs().is_empty());
}

#[test]
fn an_unwritable_home() {
    let folder = Folder::with("f.sh", "true\n");
    folder.write("file", "");
    let done = folder.run("run f.sh --home file/home");
    assert!(matches!(done.code, Some(1 | 2)), "{done:#?}");
    done.says(&["error: ", "file/home"]);
}

#[test]
fn an_alias_bomb_is_refused_at_once() {
    let mut bomb = String::from("kind: local\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{refs}]\n");
    }
    let folder = Folder::with("bomb.yaml", bomb);
    refused(&folder, "run bomb.yaml", &["bomb.yaml"]);
}

#[test]
fn a_syntax_error_with_a_caret() {
    let folder = Folder::with("f.py", "x = 1\ndef f(:\n    pass\n");
    refused(&folder, "run f.py", &["f.py:2:", "def f(:", "^"]);
}

#[test]
fn nothing_to_read() {
    let folder = Folder::with("f.py", "def f(data):\n    pass\n");
    folder
        .run("run f.py --handler f --param-file gone.yaml")
        .code(2)
        .says(&["error: there is no file gone.yaml"]);
    folder.write("list.yaml", "- 1\n");
    folder.run("run f.py --param-file list.yaml").code(2).says(&["list.yaml: ", "row 1 is no mapping"]);
    assert!(folder.runs().is_empty());
}
