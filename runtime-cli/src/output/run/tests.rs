use runtimes::core::{
    run::{Cause, Reason},
    serde_json::{self, json},
};

use super::*;

fn terminal() -> Terminal {
    Terminal::default()
}

fn view(terminal: &Terminal) -> View<'_> {
    let now = "2026-05-01T13:00:00Z".parse().unwrap();
    View { terminal, here: Path::new("/home/me"), zone: TimeZone::fixed(jiff::tz::offset(2)), now }
}

fn completed() -> Run {
    serde_json::from_value(json!({
        "metadata": {
            "uid": "3f2a9c1b00000000000000000000abcd", "name": "train-fit", "project": "default",
            "labels": {"owner": "me", "team": "vision"},
        },
        "spec": {
            "function": "default/train@0123456789abcdef", "handler": "fit",
            "parameters": {"epochs": 3, "layers": [8, 8]}, "inputs": {"data": "/home/me/iris.csv"},
        },
        "status": {
            "state": "completed", "exit_code": 0,
            "results": {"accuracy": 0.9667, "report": "line one\nline two"},
            "artifacts": [
                {"kind": "model", "metadata": {"key": "model"},
                 "spec": {"target_path": "/home/me/.runtimes/artifacts/model.pkl", "size": 12_345_678}},
                {"metadata": {"key": "table"}, "spec": {"target_path": "/data/table.csv"}},
            ],
            "notes": ["`base_image` has no effect on this machine"],
            "start_time": "2026-05-01T10:00:00Z", "end_time": "2026-05-01T10:00:12.5Z",
        },
    }))
    .unwrap()
}

fn failed() -> Run {
    let mut run = completed();
    run.metadata.uid = "77770000000000000000000000000000".into();
    run.status.state = RunState::Error;
    run.status.exit_code = Some(1);
    run.status.results = Map::new();
    run.status.artifacts = Vec::new();
    run.status.notes = Vec::new();
    run.status.cause =
        Some(Cause::new(Reason::Exception, "train.py:3: ValueError: bad\nvalue").help("give a good one"));
    run
}

fn record(run: Run) -> RunRecord {
    RunRecord { run: run.into(), revision: 3, owner: String::new(), target: "host".into(), attempt: 0 }
}

#[test]
fn the_end_of_a_run() {
    insta::assert_snapshot!(view(&terminal()).result(&completed(), &[]), @r#"
    completed in 12.5s: train-fit 3f2a9c1b

    RESULT     VALUE
    accuracy   0.9667
    report     line one line two

    ARTIFACT   KIND       SIZE     PATH
    model      model      12 MiB   .runtimes/artifacts/model.pkl
    table      artifact            /data/table.csv

    note: `base_image` has no effect on this machine
    "#);
}

#[test]
fn the_end_of_a_failed_run() {
    let terminal = terminal();
    let view = view(&terminal);
    insta::assert_snapshot!(view.result(&failed(), &[]), @"error in 12.5s: train-fit 77770000");
    insta::assert_snapshot!(view.failure(&failed()).unwrap(), @r#"
    error: train.py:3: ValueError: bad
      value
      help: give a good one
      log: runtimes logs 77770000
    "#);
    assert_eq!(view.failure(&completed()), None);
}

#[test]
fn all_details() {
    insta::assert_snapshot!(view(&terminal()).details(&record(completed())), @r#"
    run        train-fit
    uid        3f2a9c1b00000000000000000000abcd
    project    default
    function   default/train@0123456789abcdef
    handler    fit
    state      completed (exit code 0)
    target     host
    started    2026-05-01 12:00:00
    ended      2026-05-01 12:00:12
    duration   12.5s
    labels     owner=me team=vision

    PARAMETER   VALUE
    epochs      3
    layers      [8,8]

    INPUT   PATH
    data    iris.csv

    RESULT     VALUE
    accuracy   0.9667
    report     line one line two

    ARTIFACT   KIND       SIZE     PATH
    model      model      12 MiB   .runtimes/artifacts/model.pkl
    table      artifact            /data/table.csv

    note: `base_image` has no effect on this machine
    "#);
}

#[test]
fn a_list() {
    let mut running = completed();
    running.metadata.uid = "aaaa0000000000000000000000000000".into();
    running.status.state = RunState::Running;
    running.status.results = Map::new();
    running.status.end_time = None;
    let records = [record(running), record(failed()), record(completed())];
    insta::assert_snapshot!(view(&terminal()).list(&records), @r#"
    UID        NAME        FUNCTION        STATE       AGE   DURATION   RESULTS
    aaaa0000   train-fit   train@0123456   running     3h    3h00m
    77770000   train-fit   train@0123456   error       3h    12.5s      train.py:3: ValueError: bad value
    3f2a9c1b   train-fit   train@0123456   completed   3h    12.5s      accuracy=0.9667 report=line one line t…
    "#);
}
