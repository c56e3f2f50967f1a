//! `run`: programs and handlers, exit codes, forms of output.

use runtimes::core::serde_json::{Value, json};

use crate::fixture::{Done, Folder};

const SQUARE: &str = "\
import sys

def square(context, n: int, label: str = 'none'):
    print('squaring', n)
    print('a warning', file=sys.stderr)
    context.log_result('label', label)
    return n * n
";

#[test]
fn a_python_program() {
    let folder = Folder::with("hello.py", "import sys\nprint('hello', sys.argv[1:])\n");
    let done = folder.run("run hello.py -- --lr 0.1");
    done.ok();
    assert!(done.stdout.starts_with("hello ['--lr', '0.1']\n"), "{done:#?}");
    assert!(done.stdout.contains("completed in "), "{done:#?}");
    let runs = folder.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["status"]["state"], "completed");
    assert_eq!(runs[0]["metadata"]["name"], "hello");
}

#[test]
fn a_shell_program_in_its_environment() {
    let folder = Folder::with("say.sh", "echo \"$WHO and $ALSO\"; pwd\n");
    folder.write("vars.env", "WHO=file\nALSO=both\n");
    let done = folder.run("run say.sh --env WHO=me --env-file vars.env");
    done.ok();
    assert!(done.stdout.starts_with("me and both\n"), "{done:#?}");
}

#[test]
fn a_handler_with_results_and_artifacts() {
    let folder = Folder::with("square.py", SQUARE);
    let done =
        folder.run("run square.py --handler square -p n=12 -p label=x --returns squared --label team=a");
    done.ok();
    assert!(done.stdout.contains("squaring 12\n"), "{done:#?}");
    assert!(!done.stdout.contains("a warning") && done.stderr.contains("a warning"), "{done:#?}");
    let table: Vec<_> = done.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(table.contains(&vec!["RESULT", "VALUE"]) && table.contains(&vec!["squared", "144"]), "{done:#?}");
    assert_eq!(folder.runs()[0]["metadata"]["labels"]["team"], "a");
}

#[test]
fn json_is_all_that_stdout_carries() {
    let folder = Folder::with("square.py", SQUARE);
    let done = folder.run("run square.py --handler square -p n=3 --returns squared -o json");
    let run = done.ok().json();
    assert_eq!(run["status"]["results"], json!({"label": "none", "squared": 9}));
    assert_eq!(run["spec"]["parameters"], json!({"n": 3}));
    assert!(done.stderr.contains("squaring 3"), "{done:#?}");
    let end = run["status"]["end_time"].as_str().unwrap();
    assert!(end.ends_with('Z'), "times are UTC: {end}");
}

#[test]
fn yaml_reads_back() {
    let folder = Folder::with("square.py", SQUARE);
    let done = folder.run("run square.py --handler square -p n=3 --returns squared -o yaml");
    let run: Value = runtimes::core::yaml::read(&done.ok().stdout, "run").unwrap();
    assert_eq!(run["status"]["results"]["squared"], 9);
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    let folder = Folder::new();
    for (name, text, code) in [
        ("three.sh", "exit 3\n", 3),
        ("raise.py", "raise ValueError('no good')\n", 1),
        ("exit.py", "raise SystemExit(42)\n", 42),
        ("fine.py", "raise SystemExit(0)\n", 0),
    ] {
        folder.write(name, text);
        folder.run(&format!("run {name}")).code(code);
    }
    assert_eq!(folder.runs().len(), 4);
}

#[test]
fn a_failure_says_why_and_where_the_log_is() {
    let folder = Folder::with("bad.py", "def f(n: int):\n    raise ValueError(f'no {n}')\n");
    let done = folder.run("run bad.py --handler f -p n=7");
    done.code(1).says(&["Traceback", "error: ", "bad.py:2: ValueError: no 7", "log: runtimes logs "]);
    let uid = done.stderr.split_whitespace().last().unwrap();
    let log = folder.run(&format!("logs {uid}"));
    assert!(log.ok().stdout.contains("ValueError: no 7"), "{log:#?}");
}

#[test]
fn a_time_limit_ends_it() {
    let folder = Folder::with("sleep.sh", "sleep 600\n");
    let done = folder.run("run sleep.sh --timeout 300ms");
    assert_ne!(done.code, Some(0));
    done.says(&["error: ", "time limit"]);
    assert_eq!(folder.runs()[0]["status"]["state"], "error");
}

#[test]
fn a_pipe_gets_no_escapes() {
    let folder = Folder::with("square.py", SQUARE);
    for args in
        ["run square.py --handler square -p n=1", "runs", "kinds", "functions", "--help", "run --help"]
    {
        let done = folder.run(args);
        assert!(!done.ok().stdout.contains('\x1b') && !done.stderr.contains('\x1b'), "{done:#?}");
    }
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let folder = Folder::with("many.sh", "for i in $(seq 20000); do echo line $i; done\n");
    let mut run = folder.start("run many.sh");
    assert_eq!(run.line(), "line 1");
    let done = run.end_unread();
    done.ok();
    assert!(!done.stderr.contains("panicked"), "{done:#?}");
    let run = &folder.runs()[0];
    assert_eq!(run["status"]["state"], "completed");
    let log = folder.run("logs many");
    assert_eq!(log.ok().stdout.lines().last(), Some("line 20000"));
}

#[test]
fn bytes_that_are_no_text_arrive_as_they_are() {
    let folder = Folder::with("bytes.sh", "printf '\\377\\000\\n'\n");
    let output = folder.command(["run", "bytes.sh"]).output().unwrap();
    assert!(output.stdout.starts_with(b"\xff\x00\n"), "{:?}", output.stdout);
    let log = folder.command(["logs", "bytes"]).output().unwrap();
    assert_eq!(log.stdout, b"\xff\x00\n");
}

#[test]
fn a_very_long_line_arrives_whole() {
    const LONG: usize = 100_000_000;
    let folder =
        Folder::with("long.sh", format!("head -c {LONG} /dev/zero | tr '\\000' x; echo; echo end\n"));
    let output = folder.command(["run", "long.sh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.iter().position(|byte| *byte == b'\n'), Some(LONG));
    assert!(output.stdout[LONG + 1..].starts_with(b"end\n"));
}

#[test]
fn stored_functions_run_again() {
    let folder = Folder::with("square.py", SQUARE);
    folder.run("run square.py --handler square -p n=2 --tag v1").ok();
    let done = folder.run("run square:v1 --handler square -p n=5 --returns squared -o json");
    assert_eq!(done.ok().json()["status"]["results"]["squared"], 25);
    let list = folder.run("functions -o json").ok().json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["metadata"]["name"], "square");
    // What `function export` prints is a function again.
    folder.write("again.yaml", &folder.run("function export square:v1").ok().stdout);
    let done = folder.run("run again.yaml --handler square -p n=6 --returns squared -o json");
    assert_eq!(done.ok().json()["status"]["results"]["squared"], 36);
    folder.run("function delete square").ok();
    assert_eq!(folder.run("functions -o json").ok().json(), json!([]));
}

#[test]
fn many_at_a_time() {
    let folder = Folder::with("quick.sh", "exit 0\n");
    let done = folder.run("run quick.sh --count 24 --parallel 8 -o json");
    let summary = done.ok().json();
    assert_eq!(summary["runs"], 24);
    assert_eq!(summary["states"], json!({"completed": 24}));
    let runs = folder.runs();
    assert_eq!(runs.len(), 24);
    assert!(runs.iter().all(|run| run["status"]["state"] == "completed"));
    // One failure among many is a failure.
    folder.write("some.sh", "mkdir taken 2>/dev/null || exit 5\n");
    let done = folder.run("run some.sh --count 3 --parallel 1");
    assert!(done.code(1).stdout.contains("exit code 5"), "{done:#?}");
}

#[test]
fn a_full_disk_behind_stdout_is_said() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let folder = Folder::with("say.sh", "echo hello\n");
    let done = Done::of(folder.command(["run", "say.sh"]).stdout(full).output().unwrap());
    done.code(1).says(&["error: cannot write to stdout: No space left"]);
    assert_eq!(folder.runs()[0]["status"]["state"], "completed");
}
