//! `run` with hyper-parameters and retries, and how what came of them is looked at.

use runtimes::core::serde_json::json;

use crate::fixture::Folder;

const FIT: &str = "\
def fit(context, lr: float, depth: int = 1):
    print('fitting', lr, depth)
    if depth == 9:
        raise ValueError('too deep')
    context.log_result('score', lr * depth)
";

#[test]
fn a_grid_is_shown_as_a_table_with_the_best_marked() {
    let folder = Folder::with("fit.py", FIT);
    let done = folder
        .run("run fit.py --handler fit -x lr=0.5,0.25 -x depth=2,4,9 --selector max.score --parallel 2");
    done.ok();
    let table: Vec<_> = done.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(table.contains(&vec!["ITER", "STATE", "DURATION", "lr", "depth", "score", "ERROR"]), "{done:#?}");
    let best = table.iter().find(|row| row.get(1) == Some(&"best")).unwrap();
    assert_eq!((best[0], best[2], &best[4..]), ("3", "completed", &["0.5", "4", "2.0"][..]), "{done:#?}");
    assert!(table.contains(&vec!["best_iteration", "3"]), "{done:#?}");
    // Whichever ends first, this one is better than all before it.
    done.says(&["-- iteration 3 completed", "lr=0.5 depth=4 -> score=2.0 (best so far)"]);
    assert!(done.stdout.contains("note: 2 of 6 iterations failed: 5, 6"), "{done:#?}");

    // Lists have one run; its iterations are there where they are asked for.
    let runs = folder.runs();
    assert_eq!(runs.len(), 1);
    let uid = runs[0]["metadata"]["uid"].as_str().unwrap()[..8].to_owned();
    assert_eq!(folder.run("runs --iterations --all -o json").ok().json().as_array().unwrap().len(), 7);
    let all = folder.run(&format!("get {uid} --iterations -o json"));
    assert_eq!(all.ok().json()[4]["spec"]["parameters"], json!({"lr": 0.5, "depth": 9}));
    assert_eq!(folder.run(&format!("logs {uid}-2")).ok().stdout, "fitting 0.25 2\n");
    let fifth = folder.run(&format!("get {uid}-5"));
    assert!(fifth.ok().stdout.contains("too deep") && fifth.stdout.contains(&uid), "{fifth:#?}");
    folder.run(&format!("get {uid}-7")).code(2).says(&["-7", "--iterations"]);
    folder.run(&format!("delete {uid}")).ok();
    assert!(folder.run("runs --iterations --all -o json").ok().json().as_array().unwrap().is_empty());
}

#[test]
fn files_of_rows_and_lists_are_iterations() {
    let folder = Folder::with("fit.py", FIT);
    folder.write("rows.csv", "lr,depth\n0.5,2\n0.25,4\n");
    folder.write("lists.yaml", "lr: [0.5, 0.25]\ndepth: [1, 2, 3]\n");
    folder.write("plain.json", "{\"lr\": 0.5, \"depth\": 3}");
    for (line, count) in [
        ("--param-file rows.csv", 2),
        ("--param-file lists.yaml", 6),
        ("--param-file lists.yaml --strategy random --max-iterations 4 --seed 1", 4),
        ("--param-file plain.json -x depth=5,6", 2),
    ] {
        let run = folder.run(&format!("run fit.py --handler fit {line} -o json"));
        assert_eq!(run.ok().json()["status"]["iterations"].as_array().unwrap().len(), count + 1, "{line}");
    }
    let plain = folder.run("run fit.py --handler fit --param-file plain.json -o json");
    assert_eq!(plain.ok().json()["status"]["results"], json!({"score": 1.5}));
}

#[test]
fn what_is_wrong_starts_nothing() {
    let folder = Folder::with("fit.py", FIT);
    folder.write("rows.csv", "lr,depth\n0.5,2\n0.25\n");
    for (line, parts) in [
        ("-x lr=1 --strategy gird", &["gird", "did you mean `grid`?"][..]),
        ("-x lr=1 --stop-condition score>", &["stop_condition", "column 7"]),
        ("-x lr=1 --selector best.score", &["selector", "max.best.score"]),
        ("-p lr=1 --selector score", &["--selector", "there are no hyper-parameters"]),
        ("-x lr=1,two", &["two", "iteration: 2 (lr="]),
        ("-p lr=1 --parallel 2", &["--parallel", "one run only"]),
        ("--param-file rows.csv", &["rows.csv:3", "1 values"]),
        ("-p lr=1 --retry 2 --retry-delay soon", &["--retry-delay", "30s"]),
    ] {
        folder.run(&format!("run fit.py --handler fit {line}")).code(2).says(parts);
    }
}

#[test]
fn a_run_that_is_tried_again_has_attempts() {
    let script = "echo x >>tries; n=$(wc -l <tries); echo try $n; [ $n -ge 2 ] || exit 4\n";
    let folder = Folder::with("flaky.sh", script);
    let done = folder.run("run flaky.sh --retry 2 --retry-delay 10ms");
    assert!(done.ok().stdout.contains("try 1\ntry 2\n"), "{done:#?}");
    done.says(&["attempt 1 failed: it ended with exit code 4", "attempt 2 of 3"]);
    let shown = folder.run("get flaky");
    assert!(shown.ok().stdout.contains("ATTEMPT"), "{shown:#?}");
    assert_eq!(folder.run("logs flaky --attempt 1").ok().stdout, "try 1\n");
    folder.run("logs flaky --attempt 3").code(2).says(&["no attempt 3", "1 to 2"]);
}
