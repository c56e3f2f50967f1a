//! `build`: here the environment; on a cluster an image, of which nothing is begun where it cannot be.

use std::process::Command;

use super::fixture::Folder;

/// Writes the smallest wheel there is: pip takes it without asking anybody.
const WHEEL: &str = r#"
import zipfile
info = "thing-1.0.dist-info"
with zipfile.ZipFile("thing-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("thing.py", "value = 42\n")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
"#;

const IMAGE: &str = r#"
kind: job
metadata: {name: train}
spec:
  command: train.py
  build: {base_image: 'python:3.12', requirements: [pandas], registry: r.example.com/ml}
"#;

#[test]
fn here_it_is_the_environment() {
    let folder = Folder::with("train.py", "import thing\nprint(thing.value)\n");
    let made = Command::new("python3").args(["-c", WHEEL]).current_dir(folder.path("")).status().unwrap();
    assert!(made.success());
    let wheel = folder.path("thing-1.0-py3-none-any.whl");
    let function = format!(
        "kind: local\nmetadata: {{name: train}}\nspec:\n  command: train.py\n  build: {{requirements: ['thing @ file://{}']}}\n",
        wheel.display()
    );
    folder.write("function.yaml", function);
    let done = folder.run("build function.yaml");
    let environment = done.ok().stdout.lines().next().unwrap().to_owned();
    assert!(environment.contains("/envs/"), "{done:?}");
    let run = &folder.runs()[0];
    assert_eq!(
        (&run["metadata"]["labels"]["kind"], &run["status"]["state"]),
        (&"build".into(), &"completed".into())
    );
    // A run finds it.
    let done = folder.run("run function.yaml");
    assert!(done.ok().stdout.starts_with("42\n") && !done.stderr.contains("environment"), "{done:?}");
    // What built something is not run again.
    let uid = run["metadata"]["uid"].as_str().unwrap();
    folder
        .run(&format!("rerun {uid}"))
        .code(2)
        .says(&["built default/train@", "runtimes build default/train@"]);
}

#[test]
fn what_needs_nothing_is_left_alone() {
    let folder = Folder::with("train.py", "print(1)\n");
    assert_eq!(folder.run("build train.py").ok().stdout, "there is nothing to build: it runs as it is\n");
    assert!(folder.runs().is_empty());
}

#[test]
fn the_dockerfile_is_shown() {
    let folder = Folder::with("f.yaml", IMAGE);
    let shown = folder.run("render f.yaml --deploy").ok().stdout.clone();
    for line in ["    FROM python:3.12\n", "pip install --no-cache-dir -r", "image: moby/buildkit:"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!folder.path(".runtimes").exists(), "looking records nothing");
}

#[test]
fn nothing_begins_that_cannot_be() {
    let folder = Folder::with("f.yaml", IMAGE);
    folder.write("train.py", "");
    let command = |args: &str| {
        let mut command = folder.command(args.split_whitespace());
        command.env("KUBECONFIG", folder.path("no-such-file"));
        super::fixture::Done::of(command.output().unwrap())
    };
    command("build f.yaml --on kubernetes").code(1).says(&["kubeconfig"]);
    command("run f.yaml --on kubernetes --auto-build").code(1).says(&["kubeconfig"]);
    command("run f.yaml --builder kaniko").code(2).says(&["--auto-build"]);
    command("build f.yaml --builder docker").code(2).says(&["buildkit, kaniko"]);
    assert!(folder.runs().is_empty());
}
