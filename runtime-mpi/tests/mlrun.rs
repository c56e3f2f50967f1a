//! The objects that MLRun sent for the same functions and runs mean the same as those that are rendered here, but for
//! the differences that the README lists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use runtime_core::{
    Function, Registry, Result, Run,
    cluster::{Cluster, Style},
    serde_json::{self, Value, json},
    yaml,
};

/// Compares what is in two files, line by line, with the function that is the judge of what means the same.
const COMPARE: &str = r#"
import importlib.machinery, importlib.util, json, sys
loader = importlib.machinery.SourceFileLoader("judge", sys.argv[1])
judge = importlib.util.module_from_spec(importlib.util.spec_from_loader("judge", loader))
sys.dont_write_bytecode = True
loader.exec_module(judge)
with open(sys.argv[2]) as cases, open(sys.argv[3]) as ours:
    for case, got in zip(map(json.loads, cases), map(json.loads, ours)):
        for difference in judge.compare(case, got.get("objects"), got.get("refused")):
            print(json.dumps([case["name"], difference]))
"#;

fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("RUNTIMES_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    folder.join("mlrun/cases/mpijob.jsonl").is_file().then_some(folder)
}

/// What is rendered for a case.
fn rendered(case: &Value) -> Result<Value> {
    let function = Function::from_value(case["function"].clone())?;
    function.validate()?;
    let registry = Registry::linked()?;
    let kind = registry.get(&function.kind)?;
    function.check_fields(kind.fields())?;
    let cluster = Cluster::read(&case["context"], Style::Mlrun)?;
    let plan = match &case["run"] {
        Value::Null => kind.deploy(&function, &cluster)?,
        run => kind.render(&function, &yaml::from_value::<Run>(run, "run")?, &cluster)?,
    };
    Ok(plan.objects.iter().map(runtime_core::plan::Manifest::as_addressed).collect())
}

/// A row of the README: which cases, what of them, and why.
struct Purpose {
    cases: String,
    place: String,
}

impl Purpose {
    fn covers(&self, case: &str, difference: &str) -> bool {
        let named = match self.cases.strip_suffix('*') {
            Some(begin) => case.starts_with(begin),
            None => case == self.cases,
        };
        named && difference.contains(&self.place)
    }
}

/// The rows below "Differences from MLRun": `| cases | place | reason |`.
fn on_purpose() -> Vec<Purpose> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, part) = readme.split_once("## Differences from MLRun").expect("the README lists differences");
    let part = part.split("\n## ").next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        assert!(cells.len() == 3 && !cells[2].is_empty(), "cases, place and reason: {row}");
        Purpose { cases: cells[0].to_owned(), place: cells[1].to_owned() }
    })
    .collect()
}

#[test]
fn the_same_objects_as_mlrun() {
    assert_eq!(runtime_mpi::KIND, "mpijob");
    let purposes = on_purpose();
    let Some(shared) = shared() else {
        println!("skipped: there are no cases at ../shared or RUNTIMES_SHARED");
        return;
    };
    let cases = shared.join("mlrun/cases/mpijob.jsonl");
    let text = std::fs::read_to_string(&cases).unwrap();
    let ours: Vec<String> = text
        .lines()
        .map(|line| match rendered(&serde_json::from_str(line).unwrap()) {
            Ok(objects) => json!({"objects": objects}).to_string(),
            Err(error) => json!({"refused": error.to_string()}).to_string(),
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let rendered = folder.path().join("ours.jsonl");
    std::fs::write(&rendered, ours.join("\n") + "\n").unwrap();
    let mut judge = Command::new("python3");
    judge.arg("-c").arg(COMPARE).arg(shared.join("tools/compare")).arg(&cases).arg(&rendered);
    let output = judge.output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let found: Vec<(String, String)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let differing: BTreeSet<_> = found.iter().map(|(case, _)| case).collect();
    println!("{} of {} cases are equal", ours.len() - differing.len(), ours.len());
    let wrong: Vec<_> = found
        .iter()
        .filter(|(case, what)| !purposes.iter().any(|purpose| purpose.covers(case, what)))
        .collect();
    assert!(wrong.is_empty(), "{} differences are not listed: {wrong:#?}", wrong.len());
    for purpose in &purposes {
        let used = found.iter().any(|(case, what)| purpose.covers(case, what));
        assert!(used, "nothing differs any more at {} of {}", purpose.place, purpose.cases);
    }
}
