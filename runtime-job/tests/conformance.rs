//! The kind does what every kind does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Function, Run,
    testkit::{Sample, kind_conformance},
};
use runtime_job::{JobRuntime, KIND};

const CODE: &str = "def fit(context, depth: int = 3):\n    context.log_result('depth', depth)\n";

fn sample(function: Function, change: impl FnOnce(&mut Run)) -> Sample {
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "default".to_owned();
    change(&mut run);
    Sample { function, run }
}

#[test]
fn job_is_a_kind() {
    let function = |name: &str| Function::new(KIND, name);
    let plain = |function| sample(function, |_| {});
    let mut pass = function("pass").with_command("python3").with_args(["-c", "print('{x}')"]);
    pass.spec.mode = "pass".to_owned();
    let mut queued = function("queued").with_code(CODE).with_image("mlrun/mlrun");
    queued.spec.extra.insert("queue_name".to_owned(), "gpu".into());
    queued.spec.extra.insert("wrapper".to_owned(), "pod".into());
    kind_conformance(
        &JobRuntime,
        &[
            plain(function("whole-program").with_code(CODE)),
            sample(function("its-handler").with_code(CODE).with_handler("fit"), |run| {
                run.spec.parameters.insert("depth".to_owned(), 4.into());
            }),
            plain(queued),
            plain(function("script").embed_code("report.sh", "echo hello\n").with_workdir("data")),
            sample(pass, |run| {
                run.spec.parameters.insert("x".to_owned(), "y".into());
            }),
        ],
    );
}
