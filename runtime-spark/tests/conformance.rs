//! The kind does what every kind does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Function,
    serde_json::{Value, json},
    testkit::{Sample, kind_conformance},
};
use runtime_spark::{KIND, SparkRuntime};

const CODE: &str = "def total(context, spark, n: int = 3):\n    return spark.range(n).count()\n";

fn function(name: &str, replicas: i32, spec: Value) -> Function {
    let mut function = Function::new(KIND, name).with_code(CODE);
    function.spec.image = "demo/spark:1".to_owned();
    function.spec.pod.replicas = Some(replicas);
    for (field, value) in spec.as_object().unwrap() {
        function.spec.extra.insert(field.clone(), value.clone());
    }
    function
}

#[test]
fn spark_is_a_kind() {
    let told = json!({"spark_conf": {"spark.sql.shuffle.partitions": 4}, "executor_cores": 2});
    kind_conformance(
        &SparkRuntime,
        &[
            Sample::new(function("local", 1, told).with_handler("total"), |run| {
                run.spec.parameters.insert("n".to_owned(), 4.into());
            }),
            Sample::new(function("cluster", 2, json!({"executor_cores": 1})), |_| {}),
            Sample::new(
                function("elastic", 1, json!({"dynamic_allocation": {"enabled": true, "maxExecutors": 3}}))
                    .with_workdir("data"),
                |_| {},
            ),
        ],
    );
}
