//! The objects that MLRun sent for the same functions and runs mean the same as those that are rendered here, but for
//! the differences that the kind's README lists.
#![allow(clippy::expect_used, reason = "a conformance suite reports by panicking")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    Function, Registry, Result, Run,
    cluster::{Cluster, Style},
    plan::Manifest,
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

/// The captured cases of a kind, and where they are, beside the workspace or at `RUNTIMES_SHARED`.
fn shared(crate_dir: &Path, kind: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("RUNTIMES_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => crate_dir.join("../../shared"),
    };
    folder.join(format!("mlrun/cases/{kind}.jsonl")).is_file().then_some(folder)
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
    Ok(plan.objects.iter().map(Manifest::as_addressed).collect())
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
fn on_purpose(crate_dir: &Path) -> Vec<Purpose> {
    let readme = std::fs::read_to_string(crate_dir.join("README.md")).expect("the crate has a README");
    let (_, part) = readme.split_once("## Differences from MLRun").expect("the README lists differences");
    let part = part.split("\n## ").next().unwrap_or_default();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        assert!(cells.len() == 3 && !cells[2].is_empty(), "cases, place and reason: {row}");
        Purpose { cases: cells[0].to_owned(), place: cells[1].to_owned() }
    })
    .collect()
}

/// Renders every captured case of a kind as MLRun would, and compares by meaning. What differs must stand below the heading
/// "Differences from MLRun" of the README in the crate's folder, as rows `| cases | place | reason |`, and each row must
/// still be needed. Where the cases are not, it says so and is skipped.
///
/// # Panics
/// When something differs that is not listed, or is listed and does not differ.
pub fn mlrun_conformance(kind: &str, crate_dir: &Path) {
    let purposes = on_purpose(crate_dir);
    let Some(shared) = shared(crate_dir, kind) else {
        println!("skipped: there are no cases at ../shared or RUNTIMES_SHARED");
        return;
    };
    let cases = shared.join(format!("mlrun/cases/{kind}.jsonl"));
    let text = std::fs::read_to_string(&cases).expect("the cases can be read");
    let ours: Vec<String> = text
        .lines()
        .map(|line| match rendered(&serde_json::from_str(line).expect("a case is JSON")) {
            Ok(objects) => json!({"objects": objects}).to_string(),
            Err(error) => json!({"refused": error.to_string()}).to_string(),
        })
        .collect();
    let rendered = std::env::temp_dir().join(format!("runtimes-mlrun-{kind}-{}.jsonl", std::process::id()));
    std::fs::write(&rendered, ours.join("\n") + "\n").expect("there is room for a file");
    let mut judge = Command::new("python3");
    judge.arg("-c").arg(COMPARE).arg(shared.join("tools/compare")).arg(&cases).arg(&rendered);
    let output = judge.output().expect("python3 is there");
    let _ = std::fs::remove_file(&rendered);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let found: Vec<(String, String)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("the judge writes JSON"))
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
