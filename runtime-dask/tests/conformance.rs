//! The kind does what every kind does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Function,
    serde_json::{Value, json},
    testkit::{Sample, kind_conformance},
};
use runtime_dask::{DaskRuntime, KIND};

const CODE: &str =
    "def total(context, n: int = 3):\n    return context.dask_client.submit(sum, range(n)).result()\n";

fn function(name: &str, spec: Value) -> Function {
    let mut function = Function::new(KIND, name).with_code(CODE);
    for (field, value) in spec.as_object().unwrap() {
        function.spec.extra.insert(field.clone(), value.clone());
    }
    function
}

#[test]
fn dask_is_a_kind() {
    let mut fixed =
        function("fixed", json!({"nthreads": 2, "worker_resources": {"limits": {"memory": "1Gi"}}}));
    fixed.spec.pod.replicas = Some(3);
    kind_conformance(
        &DaskRuntime,
        &[
            Sample::new(fixed.with_handler("total"), |run| {
                run.spec.parameters.insert("n".to_owned(), 4.into());
            }),
            Sample::new(function("adaptive", json!({"min_replicas": 1, "max_replicas": 4})), |_| {}),
            Sample::new(
                function("whole", json!({"scheduler_timeout": "60 minutes"})).with_workdir("data"),
                |_| {},
            ),
        ],
    );
}
