//! The kind does what every kind does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Function,
    serde_json::{Value, json},
    testkit::{Sample, kind_conformance},
};
use runtime_mpi::{KIND, MpiRuntime};

const CODE: &str =
    "def total(context, n: int = 3):\n    from mpi4py import MPI\n    return MPI.COMM_WORLD.allreduce(n)\n";

fn function(name: &str, replicas: i32, spec: Value) -> Function {
    let mut function = Function::new(KIND, name).with_code(CODE);
    function.spec.pod.replicas = Some(replicas);
    for (field, value) in spec.as_object().unwrap() {
        function.spec.extra.insert(field.clone(), value.clone());
    }
    function
}

#[test]
fn mpijob_is_a_kind() {
    let timed = json!({"mpi_args": ["--map-by", "core"], "tracing": {"path": "/tmp/timeline.json"}});
    kind_conformance(
        &MpiRuntime,
        &[
            Sample::new(function("ranks", 2, json!({"slots_per_worker": 2})).with_handler("total"), |run| {
                run.spec.parameters.insert("n".to_owned(), 4.into());
            }),
            Sample::new(function("timed", 1, timed), |_| {}),
            Sample::new(function("whole", 3, json!({})).with_workdir("data"), |_| {}),
        ],
    );
}
