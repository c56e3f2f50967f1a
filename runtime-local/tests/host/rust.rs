//! Rust handlers: whatever they do, the run ends as it says, and this program goes on.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use runtime_core::{Function, RunState, Target, logs::Stream, run::Reason, serde_json::json};
use runtime_local::handler::{Context, KIND};

use crate::harness::Machine;

#[derive(serde::Deserialize)]
struct Divide {
    a: i64,
    b: i64,
}

#[derive(serde::Serialize)]
struct Divided {
    quotient: i64,
    rest: i64,
}

fn divide(context: &Context, Divide { a, b }: Divide) -> Result<Divided, String> {
    context.log(format!("dividing {a} by {b}"));
    context.log_result("given", a);
    context.set_label("team", "blue");
    let wrong = || format!("{a} cannot be divided by {b}");
    Ok(Divided { quotient: a.checked_div(b).ok_or_else(wrong)?, rest: a.checked_rem(b).ok_or_else(wrong)? })
}
runtime_local::handler!(divide);

async fn answer(_: Context, _: ()) -> Result<u32, String> {
    tokio::task::yield_now().await;
    Ok(42)
}
runtime_local::handler!(async answer);

fn breaks(_: &Context, _: ()) -> Result<(), String> {
    panic!("no handler survives this")
}
runtime_local::handler!(breaks);

async fn breaks_later(_: Context, _: ()) -> Result<(), String> {
    tokio::task::yield_now().await;
    panic!("nor this")
}
runtime_local::handler!(async breaks_later);

/// Tells of its end, however it comes.
struct Tells(mpsc::Sender<&'static str>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

static WATCHED: Mutex<Option<mpsc::Sender<&'static str>>> = Mutex::new(None);
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn watched() -> mpsc::Receiver<&'static str> {
    let (sender, receiver) = mpsc::channel();
    *WATCHED.lock().unwrap() = Some(sender);
    receiver
}

async fn pends(context: Context, _: ()) -> Result<(), String> {
    let _tells = Tells(WATCHED.lock().unwrap().clone().unwrap());
    context.log("up");
    std::future::pending().await
}
runtime_local::handler!(async pends);

fn polls(context: &Context, _: ()) -> Result<u32, String> {
    let _tells = Tells(WATCHED.lock().unwrap().clone().unwrap());
    context.log("up");
    while !context.is_cancelled() {
        std::thread::yield_now();
    }
    context.log_result("so_far", 7);
    Ok(1)
}
runtime_local::handler!(polls);

fn function(handler: &str) -> Function {
    Function::new(KIND, "rust").with_handler(handler)
}

fn ended(watched: &mpsc::Receiver<&'static str>) {
    assert_eq!(watched.recv_timeout(Duration::from_secs(60)), Ok("dropped"), "the handler must have ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_errors_and_panics() {
    let machine = Machine::new();
    let run = async |handler: &str, parameters: &[(&str, i64)]| {
        machine
            .run_with(&function(handler), |run| {
                run.spec
                    .parameters
                    .extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
            })
            .await
    };
    let outcome = run("divide", &[("a", 17), ("b", 5)]).await.completed();
    assert_eq!(
        ["quotient", "rest", "given"].map(|name| outcome.result(name)),
        [json!(3), json!(2), json!(17)]
    );
    assert_eq!(outcome.verdict.report.as_ref().unwrap().labels["team"], "blue");
    assert_eq!(outcome.printed("main"), ["dividing 17 by 5"]);
    assert_eq!(outcome.lines[0].stream, Stream::Stdout);
    assert_eq!(run("answer", &[]).await.completed().result("return"), 42);

    for (handler, parameters, reason, words) in [
        ("divide", &[("a", 1), ("b", 0)][..], Reason::Exception, "1 cannot be divided by 0"),
        ("breaks", &[], Reason::Panic, "no handler survives this"),
        ("breaks_later", &[], Reason::Panic, "nor this"),
    ] {
        let outcome = run(handler, parameters).await;
        assert_eq!((outcome.verdict.state, outcome.cause().reason), (RunState::Error, reason), "{handler}");
        assert!(outcome.cause().message.contains(words), "{}", outcome.cause().message);
    }
    // What broke, broke its run alone.
    run("divide", &[("a", 4), ("b", 2)]).await.completed();
}

#[test]
fn parameters_are_checked_before_the_start() {
    let machine = Machine::new();
    let refused = |handler: &str, b: runtime_core::serde_json::Value| {
        let job = machine.job(&function(handler), |run| {
            run.spec.parameters.insert("a".into(), json!(1));
            run.spec.parameters.insert("b".into(), b);
        });
        job.unwrap_err()
    };
    let error = refused("divide", json!("two"));
    assert!(error.location().unwrap().contains("divide"), "{error}");
    assert!(error.to_string().contains("two"), "{error}");
    let error = refused("divde", json!(2));
    assert!(error.help_text().unwrap().contains("`divide`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_the_run() {
    let _one = ONE_AT_A_TIME.lock().await;
    for handler in ["pends", "polls"] {
        let (machine, watched) = (Machine::new(), watched());
        let outcome = machine
            .run_with(&function(handler), |run| {
                run.spec.state_thresholds.insert("executing".into(), "200ms".into());
            })
            .await;
        assert_eq!(outcome.cause().reason, Reason::DeadlineExceeded, "{handler}");
        assert!(outcome.cause().message.contains("200ms"), "{}", outcome.cause().message);
        ended(&watched);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_ends_the_run() {
    let _one = ONE_AT_A_TIME.lock().await;
    for (handler, grace) in [("pends", Duration::ZERO), ("polls", Duration::from_secs(600))] {
        let (machine, watched) = (Machine::new(), watched());
        let mut live = machine.start(machine.job(&function(handler), |_| {}).unwrap()).await;
        live.line("up").await;
        machine.target.abort(&live.job.key, grace).await.unwrap();
        let outcome = live.end().await;
        assert_eq!(outcome.verdict.state, RunState::Aborted, "{handler}");
        if handler == "polls" {
            assert_eq!(outcome.result("so_far"), 7, "it saw the request, and its last results are kept");
        }
        ended(&watched);
    }
}

/// Its program drops the target: an async handler is dropped, a blocking one is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_target_ends_the_run() {
    let _one = ONE_AT_A_TIME.lock().await;
    for handler in ["pends", "polls"] {
        let (machine, watched) = (Machine::new(), watched());
        let mut live = machine.start(machine.job(&function(handler), |_| {}).unwrap()).await;
        live.line("up").await;
        drop(machine);
        ended(&watched);
    }
}

/// A handler has no process of its own: where the program went, its run is lost, and is not called again.
#[tokio::test]
async fn a_call_is_not_taken_up_by_another_program() {
    let machine = Machine::new();
    let mut job = machine.job(&function("answer"), |run| {
        run.status.state = RunState::Running;
        run.status.start_time = Some(runtime_core::jiff::Timestamp::UNIX_EPOCH);
    });
    job.as_mut().unwrap().resumed = true;
    let outcome = machine.start(job.unwrap()).await.end().await;
    assert_eq!(outcome.cause().reason, Reason::Lost);
    assert_eq!(outcome.verdict.report, None);
}
