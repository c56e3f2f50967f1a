//! The kind does what every kind does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Function, Run,
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

fn sample(function: Function, change: impl FnOnce(&mut Run)) -> Sample {
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "default".to_owned();
    change(&mut run);
    Sample { function, run }
}

#[test]
fn dask_is_a_kind() {
    let mut fixed =
        function("fixed", json!({"nthreads": 2, "worker_resources": {"limits": {"memory": "1Gi"}}}));
    fixed.spec.pod.replicas = Some(3);
    kind_conformance(
        &DaskRuntime,
        &[
            sample(fixed.with_handler("total"), |run| {
                run.spec.parameters.insert("n".to_owned(), 4.into());
            }),
            sample(function("adaptive", json!({"min_replicas": 1, "max_replicas": 4})), |_| {}),
            sample(
                function("whole", json!({"scheduler_timeout": "60 minutes"})).with_workdir("data"),
                |_| {},
            ),
        ],
    );
}
