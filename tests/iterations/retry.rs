//! Runs that fail and are tried again.

use std::time::Duration;

use futures_util::TryStreamExt;
use runtimes::{
    Function, Orchestrator, Request, Run, RunState,
    core::{
        logs::LogLine,
        run::{Backoff, BackoffKind, Reason, Retry},
        serde_json::json,
    },
};

use crate::{chaos::Scene, within};

/// Fails until it was tried so often.
const SHELL: &str = "echo $$ >>pids; n=$(wc -l <pids); echo try $n; [ $n -ge $0 ] || exit $1";

pub(crate) fn retry(count: u32, delay: &str) -> Retry {
    let backoff = Backoff {
        base_delay: Some(delay.to_owned()),
        kind: Some(BackoffKind::Constant),
        ..Backoff::default()
    };
    Retry { backoff: Some(backoff), ..Retry::new(count) }
}

fn shell(scene: &Scene, succeeds: &str, code: &str) -> Request {
    let function =
        Function::new("local", "shell").with_command("sh").with_args(["-c", SHELL, succeeds, code]);
    let mut request = Request::new(function);
    request.base_dir = scene.path().to_owned();
    request.spec.retry = Some(retry(3, "1ms"));
    request
}

async fn text(orchestrator: &Orchestrator, run: &Run, attempt: u32) -> Vec<String> {
    let lines = orchestrator.attempt_logs(&run.key(), attempt).await.unwrap();
    let lines: Vec<LogLine> = lines.try_collect().await.unwrap();
    lines.iter().map(|line| line.text().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_kept_with_their_causes_and_logs() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let run = within(orchestrator.run(shell(&scene, "3", "5"))).await.unwrap();
    assert_eq!((run.state(), scene.starts()), (RunState::Completed, 3), "{:?}", run.status);
    let attempts = &run.status.attempts;
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| (attempt.attempt, attempt.state, attempt.exit_code))
            .collect::<Vec<_>>(),
        [(1, RunState::Error, Some(5)), (2, RunState::Error, Some(5)), (3, RunState::Completed, Some(0))]
    );
    assert_eq!(attempts[0].cause.as_ref().unwrap().reason, Reason::ExitCode);
    assert_eq!(text(&orchestrator, &run, 1).await, ["try 1"]);
    assert_eq!(text(&orchestrator, &run, 2).await, ["attempt 2 of 4", "try 2"]);
    assert_eq!(text(&orchestrator, &run, 3).await, ["attempt 3 of 4", "try 3"]);
    let error = orchestrator.attempt_logs(&run.key(), 4).await.err().unwrap();
    assert_eq!(error.help_text(), Some("1 to 3"));
    assert!(run.status.retry_at.is_none() && run.status.error.is_none());
    orchestrator.close().await.unwrap();
    scene.is_clean("tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attempts_may_fail_and_some_are_not_worth_it() {
    for (code, starts) in [("5", 4), ("127", 1)] {
        let scene = Scene::new();
        let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
        let run = within(orchestrator.run(shell(&scene, "9", code))).await.unwrap();
        assert_eq!((run.state(), scene.starts()), (RunState::Error, starts), "{:?}", run.status);
        assert_eq!(run.status.attempts.len(), if starts == 1 { 0 } else { starts });
        assert_eq!(run.status.exit_code, code.parse().ok());
        orchestrator.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_function_says_how_often_and_the_run_goes_over_it() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut request = shell(&scene, "2", "1");
    request.spec.retry = None;
    let spec = json!({"count": 1, "backoff": {"base_delay": "1ms"}});
    request.function.spec.extra.insert("retry".to_owned(), spec);
    let run = within(orchestrator.run(request.clone())).await.unwrap();
    assert_eq!((run.state(), scene.starts()), (RunState::Completed, 2), "{:?}", run.status);
    assert!(run.status.notes.is_empty(), "{:?}", run.status.notes);

    std::fs::remove_file(scene.pids()).unwrap();
    request.spec.retry = Some(Retry::new(0));
    let run = within(orchestrator.run(request.clone())).await.unwrap();
    assert_eq!((run.state(), scene.starts()), (RunState::Error, 1), "{:?}", run.status);

    request.spec.retry = None;
    request.function.spec.extra.insert("retry".to_owned(), json!({"cuont": 1}));
    let error = orchestrator.submit(request).await.err().unwrap();
    assert_eq!(error.location(), Some("spec.retry.cuont"));
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_can_be_stopped_and_outlives_its_orchestrator() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    let mut request = shell(&scene, "2", "1");
    request.spec.retry = Some(retry(2, "1h"));
    request.detached = true;
    let mut handle = orchestrator.submit(request).await.unwrap();
    let key = handle.key();
    loop {
        match within(handle.next()).await.unwrap() {
            runtimes::Update::Run(run) if run.state() == RunState::PendingRetry => break,
            _ => {}
        }
    }
    let run = orchestrator.find(&key.uid).await.unwrap().run;
    let wait = run.status.retry_at.unwrap().duration_since(run.status.attempts[0].end_time);
    assert_eq!(wait.as_secs(), 3600);
    orchestrator.close().await.unwrap();

    // The next one waits for the rest of the time, and does not wait to open.
    let orchestrator = within(Orchestrator::open(scene.home())).await.unwrap();
    assert_eq!(orchestrator.find(&key.uid).await.unwrap().run.state(), RunState::PendingRetry);
    let run = within(orchestrator.abort(&key)).await.unwrap();
    assert_eq!((run.state(), scene.starts()), (RunState::Aborted, 1), "{:?}", run.status);
    orchestrator.close().await.unwrap();
    scene.is_clean("stopped while it waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_iteration_is_tried_again_by_itself() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    const CODE: &str = "import os\ndef work(a):\n    path = 'tried-%d' % a\n    if a == 2 and not os.path.exists(path):\n        \
        open(path, 'w').close()\n        raise OSError('not yet')\n    return a\n";
    let mut request = Request::new(Function::new("handler", "work").with_code(CODE).with_handler("work"));
    request.base_dir = scene.path().to_owned();
    request.spec.hyperparams.insert("a".to_owned(), json!([1, 2, 3]));
    request.spec.retry = Some(retry(1, "1ms"));
    let run = within(orchestrator.run(request)).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
    assert!(run.status.attempts.is_empty() && run.status.notes.is_empty(), "{:?}", run.status);
    let children = orchestrator.iterations(&run.metadata.uid).await.unwrap();
    assert_eq!(children.iter().map(|child| child.run.status.attempts.len()).collect::<Vec<_>>(), [0, 2, 0]);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_that_take_too_long_end_the_run() {
    let scene = Scene::new();
    let orchestrator = Orchestrator::open(scene.home()).await.unwrap();
    // A package whose build says that it began, and never ends.
    let package = scene.path().join("slow");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(
        package.join("pyproject.toml"),
        "[build-system]\nrequires = []\nbuild-backend = \"slow\"\nbackend-path = [\".\"]\n",
    )
    .unwrap();
    std::fs::write(
        package.join("slow.py"),
        "import time\ndef get_requires_for_build_wheel(*a, **k):\n    time.sleep(600)\n\
         def build_wheel(*a, **k):\n    time.sleep(600)\n",
    )
    .unwrap();
    let mut request = Request::new(
        Function::new("local", "slow").with_code("def work():\n    pass\n").with_handler("work"),
    );
    request.base_dir = scene.path().to_owned();
    request.function.spec.build.requirements = vec![format!("slow @ file://{}", package.display())];
    request.function.spec.pod.state_thresholds.insert("pending_scheduled".into(), "300ms".into());
    let run = within(orchestrator.run(request)).await.unwrap();
    let cause = run.status.cause.clone().unwrap();
    assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::DeadlineExceeded), "{:?}", run.status);
    assert!(cause.message.starts_with("it was still pending after 300ms"), "{}", cause.message);
    let took = run.status.end_time.unwrap().duration_since(run.status.last_update.unwrap());
    assert!(Duration::try_from(took).unwrap_or_default() < Duration::from_secs(30));
    orchestrator.close().await.unwrap();
}
