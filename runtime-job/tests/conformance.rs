//! The kind does what every kind does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Function,
    testkit::{Sample, kind_conformance},
};
use runtime_job::{JobRuntime, KIND};

const CODE: &str = "def fit(context, depth: int = 3):\n    context.log_result('depth', depth)\n";

#[test]
fn job_is_a_kind() {
    let function = |name: &str| Function::new(KIND, name);
    let plain = |function| Sample::new(function, |_| {});
    let mut pass = function("pass").with_command("python3").with_args(["-c", "print('{x}')"]);
    pass.spec.mode = "pass".to_owned();
    let mut queued = function("queued").with_code(CODE).with_image("mlrun/mlrun");
    queued.spec.extra.insert("queue_name".to_owned(), "gpu".into());
    queued.spec.extra.insert("wrapper".to_owned(), "pod".into());
    kind_conformance(
        &JobRuntime,
        &[
            plain(function("whole-program").with_code(CODE)),
            Sample::new(function("its-handler").with_code(CODE).with_handler("fit"), |run| {
                run.spec.parameters.insert("depth".to_owned(), 4.into());
            }),
            plain(queued),
            plain(function("script").embed_code("report.sh", "echo hello\n").with_workdir("data")),
            Sample::new(pass, |run| {
                run.spec.parameters.insert("x".to_owned(), "y".into());
            }),
        ],
    );
}
