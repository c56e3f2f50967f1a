//! Functions of the kind `spark`, with the real Spark.

use std::{
    fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use runtimes::core::serde_json::Value;
use rustix::process::Signal;

use crate::{
    fixture::Folder,
    kills::{self, Process, processes},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const CODE: &str = r#"
import os
import time
from operator import add

from near import third


def key(x):
    return third(x), 1


def count(context, spark, n: int = 300):
    pairs = spark.sparkContext.parallelize(range(n), 4).map(key).reduceByKey(add).collectAsMap()
    context.log_result("thirds", {str(key): count for key, count in sorted(pairs.items())})
    context.log_result("same", context.spark is not None and spark.sparkContext.master)
    return spark.range(n).selectExpr("sum(id) as total").first().total


def fail(spark):
    return spark.sparkContext.parallelize(range(4), 2).map(lambda x: 1 // (x - 2)).collect()


def ask(spark):
    return spark.sql("select nothing").collect()


def fill(spark):
    java = spark.sparkContext._jvm.java.util
    return len(java.Collections.nCopies(10**9, "x").toArray())


def wait(spark):
    print("up:", spark.range(3).count(), os.environ.get("KEY"), flush=True)
    spark.sparkContext.parallelize(range(2), 2).foreach(lambda _: time.sleep(600))
"#;

const SCRIPT: &str = r#"
import sys

import runtimes
from pyspark.sql import SparkSession

from near import third


def told(x):
    print("told", x)
    return third(x)


spark = SparkSession.builder.getOrCreate()
context = runtimes.get_or_create_ctx()
found = spark.sparkContext.parallelize(range(int(sys.argv[1])), 4).map(told).distinct().count()
context.log_result("found", found)
context.log_result("executors", spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1)
spark.stop()
"#;

const SMALL: &str =
    "driver_resources: {requests: {memory: 512m}}, executor_resources: {requests: {memory: 512m}}";

fn function(spec: &str) -> String {
    format!("kind: spark\nmetadata: {{name: work}}\nspec: {{{spec}, {SMALL}}}\n")
}

fn folder() -> Folder {
    let folder = Folder::with("work.py", CODE);
    folder.write("near.py", "def third(x):\n    return x % 3\n");
    folder.write("script.py", SCRIPT);
    folder.write("one.yaml", function("command: work.py, executor_cores: 1"));
    folder.write("two.yaml", function("command: work.py, replicas: 2"));
    // One environment for all these tests.
    let home = folder.path(".runtimes");
    fs::create_dir(&home).unwrap();
    let environments = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spark-envs");
    fs::create_dir_all(&environments).unwrap();
    std::os::unix::fs::symlink(environments, home.join("envs")).unwrap();
    folder
}

/// A folder with the functions; `None`, having said so, where the machine cannot have Spark.
fn spark() -> Option<Folder> {
    static TRIED: LazyLock<Result<(), String>> = LazyLock::new(|| {
        let done = folder().run("run one.yaml --handler count -o json");
        let cause = &done.json()["status"]["cause"];
        match cause["reason"] == "Environment" {
            true => Err(cause["message"].as_str().unwrap_or_default().to_owned()),
            false => Ok(()),
        }
    });
    match &*TRIED {
        Ok(()) => Some(folder()),
        Err(why) => {
            eprintln!("skipped: no Spark, which pip installs from PyPI: {why}");
            None
        }
    }
}

/// What a process is to a run.
fn part(process: &Process) -> Option<&'static str> {
    let has = |text: &str| process.command.contains(text);
    Some(match process.program.as_str() {
        "java" if has("deploy.master.Master") => "master",
        "java" if has("deploy.worker.Worker") => "worker",
        "java" if has("ExecutorBackend") => "executor",
        "java" => "java",
        name if !name.starts_with("python") => "supervisor",
        _ if has("submit.py") => "driver",
        _ if has("\0spark\0") => "launcher",
        _ => "other",
    })
}

#[test]
fn a_handler_has_a_session_and_its_code_goes_to_the_executors() {
    let Some(folder) = spark() else { return };
    let run = folder.run("run one.yaml --handler count -p n=300 -o json").ok().json();
    let results = &run["status"]["results"];
    assert_eq!(results["thirds"], runtimes::core::serde_json::json!({"0": 100, "1": 100, "2": 100}));
    assert_eq!((&results["return"], &results["same"]), (&44850.into(), &"local[1]".into()));
    let id = run["metadata"]["annotations"]["spark/application-id"].as_str().unwrap();
    assert!(id.starts_with("local-"), "{id}");
    let attempt = folder.path(".runtimes/runs");
    let left = walk(&attempt).into_iter().filter(|path| path.contains("/spark-")).collect::<Vec<_>>();
    assert!(left.is_empty(), "{left:?}");
}

fn walk(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![folder.display().to_string()] };
    entries.flatten().flat_map(|entry| walk(&entry.path())).collect()
}

#[test]
fn executors_of_their_own_under_a_master() {
    let Some(folder) = spark() else { return };
    folder.write("script.yaml", function("command: script.py, replicas: 2, args: ['{n}']"));
    let run = folder.run("run script.yaml -p n=20 -o json").ok().json();
    let results = &run["status"]["results"];
    assert_eq!((&results["found"], &results["executors"]), (&3.into(), &2.into()), "{run}");
    let id = run["metadata"]["annotations"]["spark/application-id"].as_str().unwrap();
    assert!(id.starts_with("app-"), "{id}");
    let log = folder.run("logs work").ok().stdout.clone();
    assert!(log.contains("worker | [executor ") && log.contains("] told 7\n"), "{log}");
    assert!(!log.contains("RECEIVED SIGNAL"), "{log}");
}

#[test]
fn executors_come_and_go_with_the_work() {
    let Some(folder) = spark() else { return };
    let spec = "command: script.py, args: ['20'], \
                dynamic_allocation: {enabled: true, minExecutors: 1, maxExecutors: 2}";
    folder.write("elastic.yaml", function(spec));
    let run = folder.run("run elastic.yaml -o json").ok().json();
    assert_eq!(run["status"]["results"]["found"], 3, "{run}");
}

#[test]
fn errors_are_those_of_the_code() {
    let Some(folder) = spark() else { return };
    for (handler, reason, parts) in [
        ("fail", "Exception", &["work.py:21: ZeroDivisionError: ", "(Task "][..]),
        ("ask", "Exception", &["work.py:25: pyspark.errors", "`nothing`"]),
        ("fill", "OutOfMemory", &["java.lang.OutOfMemoryError: ", "driver_resources"]),
    ] {
        let done = folder.run(&format!("run one.yaml --handler {handler}"));
        done.code(1).says(parts);
        assert_eq!(folder.runs()[0]["status"]["cause"]["reason"], reason, "{done:#?}");
    }
}

#[test]
fn jars_are_applications_too() {
    let Some(folder) = spark() else { return };
    let jar = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/spark/count.jar");
    fs::copy(jar, folder.path("count.jar")).unwrap();
    let of = |command: &str, class: &str| {
        let spec = format!("command: {command}, job_type: Java, main_class: {class}, args: ['{{n}}']");
        folder.write("jar.yaml", function(&spec));
    };
    of("count.jar", "Count");
    assert!(folder.run("run jar.yaml -p n=50").ok().stdout.contains("counted 50\n"));
    folder.run("run jar.yaml -p n=x").says(&["error: java.lang.NumberFormatException: For input string"]);
    of("count.jar", "NoSuch");
    folder.run("run jar.yaml -p n=1").says(&["error: spark-submit: Failed to load class NoSuch."]);
    of("none.jar", "Count");
    folder.run("run jar.yaml -p n=1").says(&["spec.command: there is no file \"./none.jar\" in "]);
}

#[test]
fn whoever_stops_it_no_java_stays() {
    for (file, how) in [("one", "ctrl-c"), ("two", "kill -9"), ("two", "time limit")] {
        let Some(folder) = spark() else { return };
        let limit = if how == "time limit" { "--timeout 5s" } else { "" };
        let mut run = folder.start(&format!("run {file}.yaml --handler wait --name work-wait {limit}"));
        folder.recorded("work-wait");
        if how != "time limit" {
            run.until("up: 3 None");
        }
        let uid = folder.runs()[0]["metadata"]["uid"].as_str().unwrap().to_owned();
        match how {
            "ctrl-c" => run.signal(Signal::INT),
            "kill -9" => run.signal(Signal::KILL),
            _ => {}
        }
        run.end();
        if how == "kill -9" {
            // It goes on without the command, and the next one takes it up.
            folder.run("abort work-wait").ok();
        }
        let end = Instant::now() + PATIENCE;
        while !processes(&uid, part).is_empty() {
            assert!(Instant::now() < end, "{how}: {:?}", processes(&uid, part));
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = folder.runs()[0]["status"].take();
        let state = if how == "time limit" { "error" } else { "aborted" };
        assert_eq!(status["state"], state, "{how}: {status}");
    }
}

#[test]
fn the_address_of_its_pages_and_secrets_in_no_process_list() {
    let Some(folder) = spark() else { return };
    let secret = "spark_conf: {spark.hadoop.key: s3cr3t-of-spark}, env: [{name: KEY, value: of-a-task}]";
    folder.write("secret.yaml", function(&format!("command: work.py, replicas: 2, {secret}")));
    let mut run = folder.start("run secret.yaml --handler wait");
    run.until("up: 3 of-a-task");
    let status = folder.run("get work-wait -o json").ok().json()["status"].take();
    let address = status["addresses"]["ui"].as_str().unwrap_or_default().to_owned();
    assert!(address.starts_with("http://127.0.0.1:"), "{status}");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert!(!command.contains("s3cr3t-of-spark"), "{command}");
    }
    run.signal(Signal::INT);
    run.end().code(130);
}

#[test]
fn wrong_fields_are_refused_before_anything_is_started() {
    let folder = folder();
    for (spec, said) in [
        ("replicas: 0", "spec.replicas: 0 is no number of executors"),
        ("executor_cores: none", "spec.executor_cores: expected an integer"),
        ("spark_conf: [a]", "spec.spark_conf: expected a mapping"),
        ("spark_conf: {spark.master: yarn}", "spec.spark_conf.spark.master"),
        ("driver_resources: {requests: {memory: 10m}}", "\"10m\" is less than Spark begins with, 450m"),
        ("job_type: Java", "spec.main_class: is missing"),
    ] {
        let text = format!("kind: spark\nmetadata: {{name: work}}\nspec: {{command: work.py, {spec}}}\n");
        folder.write("odd.yaml", text);
        folder.run("run odd.yaml --handler count").code(2).says(&["error: ", said, "help: "]);
        assert!(folder.runs().is_empty());
    }
}

#[test]
fn killed_at_any_moment() {
    let Some(folder) = spark() else { return };
    let command = "run two.yaml --handler count -p n=300";
    let parts: &[&str] = &["driver", "java", "executor", "worker", "master", "launcher"];
    kills::at_any_moment(&folder, command, (parts, part), Duration::from_secs(9), |killed, status| {
        let cause = status["cause"]["message"].as_str().unwrap_or_default();
        let is_known = |cause: &str| cause.contains("SIGKILL") || cause.contains("master, which it needs");
        match status["state"].as_str().unwrap() {
            "completed" => assert_eq!(status["results"]["return"], Value::from(44850), "{killed}: {status}"),
            _ => assert!(killed == "command" || is_known(cause), "{killed}: {status}"),
        }
    });
}
