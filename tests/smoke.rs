//! smoke
use runtimes::{Function, Orchestrator, Request};
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    let home = tempfile::tempdir().unwrap();
    let orchestrator = Orchestrator::open(home.path().join("h")).await.unwrap();
    let mut function = Function::new("local", "hello");
    function.spec.command = "sh".into();
    function.spec.args = vec!["-c".into(), "echo hi {n}; echo err >&2; exit {n}".into()];
    let mut handle = orchestrator.submit(Request::new(function).parameter("n", 3)).await.unwrap();
    while let Some(update) = handle.next().await {
        println!("{update:?}");
    }
}
