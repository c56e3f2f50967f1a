//! Python handlers on warm interpreters: imports are done once, runs know nothing of each other, what dies is replaced.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use runtime_core::{
    Function, RunState, Target,
    run::Reason,
    serde_json::{Value, json},
};
use runtime_local::handler::KIND;
use tokio::sync::oneshot;

use crate::harness::{Live, Machine};

/// Counts its imports in a file, and its calls in memory.
const COUNTING: &str = "\
import os
with open('imports', 'a') as file: print(os.getpid(), file=file)
calls = 0
def count(context, leave=''):
    global calls
    calls += 1
    context.log_result('calls', calls)
    context.log_result('pid', os.getpid())
    context.log_result('template', os.getppid())
    context.log_result('left', os.environ.get('LEFT', ''))
    context.log_result('cwd', os.getcwd())
    if leave:
        os.environ['LEFT'] = leave
        os.chdir('/')
";

fn handler(text: &str, name: &str) -> Function {
    Function::new(KIND, "warm").embed_code("warm.py", text).with_handler(name)
}

fn reuse(function: Function) -> Function {
    let mut function = function;
    function.spec.extra.insert("reuse".into(), true.into());
    function
}

fn imports(machine: &Machine) -> usize {
    std::fs::read_to_string(machine.path("imports")).unwrap().lines().count()
}

fn kill(pid: &Value) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success(), "{pid} must be there to be killed");
}

/// A pipe that whoever opens it holds until he is gone.
fn held(path: PathBuf) -> oneshot::Receiver<()> {
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (sender, gone) = oneshot::channel();
    std::thread::spawn(move || {
        std::fs::File::open(path).unwrap().read_to_end(&mut Vec::new()).unwrap();
        let _ = sender.send(());
    });
    gone
}

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(60), event).await.unwrap_or_else(|_| panic!("{what}"))
}

#[tokio::test]
async fn imports_are_done_once_and_every_run_is_clean() {
    let machine = Machine::new();
    let function = handler(COUNTING, "count");
    let mut pids = Vec::new();
    for n in 0..5 {
        let leave = |run: &mut runtime_core::Run| {
            run.spec.parameters.insert("leave".into(), json!(format!("by {n}")));
        };
        let outcome = machine.run_with(&function, leave).await.completed();
        assert_eq!(outcome.result("calls"), 1, "each run finds the code as it was imported");
        assert_eq!(outcome.result("left"), "", "and the environment");
        pids.push(outcome.result("pid").to_string());
    }
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 5, "each run has a process of its own");
    assert_eq!(imports(&machine), 1);
}

#[tokio::test]
async fn reuse_keeps_what_the_code_keeps_and_nothing_else() {
    let machine = Machine::new();
    let function = reuse(handler(COUNTING, "count"));
    let folder = machine.base().canonicalize().unwrap();
    let mut pids = Vec::new();
    for n in 1..=3 {
        let leave = |run: &mut runtime_core::Run| {
            run.spec.parameters.insert("leave".into(), "a trace".into());
        };
        let outcome = machine.run_with(&function, leave).await.completed();
        assert_eq!(outcome.result("calls"), n, "what a run leaves in memory, the next one finds");
        assert_eq!(outcome.result("left"), "", "the environment is the next run's own");
        assert_eq!(outcome.result("cwd"), folder.to_str().unwrap(), "so is the folder");
        pids.push(outcome.result("pid"));
    }
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert_eq!(imports(&machine), 1);
}

#[tokio::test]
async fn many_at_once_share_one_import() {
    let machine = Machine::new();
    for (function, expected) in [(handler(COUNTING, "count"), 1), (reuse(handler(COUNTING, "count")), 2)] {
        let mut lives = Vec::new();
        for _ in 0..8 {
            lives.push(machine.start(machine.job(&function, |_| {}).unwrap()).await);
        }
        for live in lives {
            live.end().await.completed();
        }
        assert_eq!(imports(&machine), expected);
    }
}

#[tokio::test]
async fn a_killed_template_is_replaced() {
    let machine = Machine::new();
    for (function, killed) in
        [(handler(COUNTING, "count"), "template"), (reuse(handler(COUNTING, "count")), "pid")]
    {
        let before = machine.run(&function).await.completed();
        kill(&before.result(killed));
        let after = machine.run(&function).await.completed();
        assert_ne!(after.result(killed), before.result(killed));
        assert_eq!(after.result("calls"), 1);
    }
    assert_eq!(imports(&machine), 4);
}

#[tokio::test]
async fn a_killed_run_is_alone() {
    let machine = Machine::new();
    let code = "import os, time\ndef wait(context, name: str):\n    print(name, os.getpid(), flush=True)\n    \
        while not os.path.exists('go'): time.sleep(0.02)\n    return os.getppid()\n";
    let function = handler(code, "wait");
    let start = async |name: &str| -> Live {
        let job = machine.job(&function, |run| drop(run.spec.parameters.insert("name".into(), name.into())));
        machine.start(job.unwrap()).await
    };
    let (mut first, mut second) = (start("first").await, start("second").await);
    let pid = first.line("first").await["first ".len()..].parse::<i32>().unwrap();
    second.line("second").await;
    kill(&json!(pid));
    let first = first.end().await;
    assert_eq!((first.cause().reason, first.verdict.exit_code), (Reason::Signal, Some(137)));
    machine.write("go", "");
    let second = second.end().await.completed();
    let third = start("third").await.end().await.completed();
    assert_eq!(third.result("return"), second.result("return"), "the template lives");
}

/// The template's death takes no run with it: one that ends well is known to have done so by its own report.
#[tokio::test]
async fn a_run_outlives_its_template() {
    let machine = Machine::new();
    let code = "import os, time\ndef wait(context):\n    print('template', os.getppid(), flush=True)\n    \
        while not os.path.exists('go'): time.sleep(0.02)\n    context.log_result('n', 3)\n";
    let mut live = machine.start(machine.job(&handler(code, "wait"), |_| {}).unwrap()).await;
    let template: i32 = live.line("template ").await["template ".len()..].parse().unwrap();
    kill(&json!(template));
    machine.write("go", "");
    assert_eq!(live.end().await.completed().result("n"), 3);
}

#[tokio::test]
async fn changed_code_has_another_template() {
    let machine = Machine::new();
    for n in 1..=3 {
        let text = format!("def value(context):\n    return {n}\n");
        // The file lies where it came from, so that it is run from there.
        machine.write("warm.py", &text);
        assert_eq!(machine.run(&handler(&text, "value")).await.completed().result("return"), n);
    }
}

#[tokio::test]
async fn imports_that_do_not_end_are_stopped() {
    let machine = Machine::new();
    let code = "import time\nprint('importing', flush=True)\nwhile True: time.sleep(0.05)\ndef never(context): pass\n";
    for function in [handler(code, "never"), reuse(handler(code, "never"))] {
        let mut live = machine.start(machine.job(&function, |_| {}).unwrap()).await;
        live.line("importing").await;
        machine.target.abort(&live.job.key, std::time::Duration::from_secs(600)).await.unwrap();
        assert_eq!(live.end().await.verdict.state, RunState::Aborted);
        let outcome = machine
            .run_with(&function, |run| {
                drop(run.spec.state_thresholds.insert("executing".into(), "500ms".into()))
            })
            .await;
        assert_eq!(outcome.cause().reason, Reason::DeadlineExceeded);
    }
}

/// A worker is busy, and another run waits for its turn: each can be aborted, and neither takes the other with it.
#[tokio::test]
async fn a_turn_can_be_given_up() {
    let machine = Machine::new();
    let code = "import time\ndef work(context, seconds: float):\n    print('at work', flush=True)\n    time.sleep(seconds)\n";
    let function = reuse(handler(code, "work"));
    let start = async |seconds: f64| -> Live {
        let job =
            machine.job(&function, |run| drop(run.spec.parameters.insert("seconds".into(), json!(seconds))));
        machine.start(job.unwrap()).await
    };
    let mut busy = start(600.0).await;
    busy.line("at work").await;
    let (waiting, next) = (start(600.0).await, start(0.0).await);
    machine.target.abort(&waiting.job.key, std::time::Duration::from_secs(600)).await.unwrap();
    let waiting = waiting.end().await;
    assert_eq!(waiting.verdict.state, RunState::Aborted);
    assert_eq!(waiting.printed("main"), Vec::<String>::new());
    machine.target.abort(&busy.job.key, std::time::Duration::from_secs(600)).await.unwrap();
    assert_eq!(busy.end().await.verdict.state, RunState::Aborted);
    next.end().await.completed();
}

#[tokio::test]
async fn what_a_handler_forks_ends_with_it() {
    let machine = Machine::new();
    let gone = held(machine.path("held"));
    let code = "import os, time\ndef fork(context):\n    file = open('held', 'w')\n    if os.fork() == 0: time.sleep(600)\n    \
        return 1\n";
    assert_eq!(machine.run(&handler(code, "fork")).await.completed().result("return"), 1);
    soon("what was forked must end", gone).await.unwrap();
}

/// Also what left its process group, however it was started, and where the handler had no time to say so.
#[tokio::test]
async fn what_a_handler_starts_ends_with_it() {
    const POPEN: &str = "subprocess.Popen(['sleep', '600'], start_new_session=True, close_fds=False)";
    for (start, code) in [
        (POPEN.to_owned(), 0),
        (format!("{POPEN}; os._exit(5)"), 5),
        ("os.system('setsid -f sleep 600')".to_owned(), 0),
        ("os.execv('/bin/sh', ['sh', '-c', 'setsid -f sleep 600; exit 6'])".to_owned(), 6),
    ] {
        for function in [handler, |text: &str, name: &str| reuse(handler(text, name))] {
            let machine = Machine::new();
            let gone = held(machine.path("held"));
            let text = format!(
                "import os, subprocess\n\
                 def start(context):\n    fd = os.open('held', os.O_WRONLY)\n    \
                 os.set_inheritable(fd, True)\n    {start}\n    os.close(fd)\n"
            );
            let function = function(&text, "start");
            let reused = !function.spec.extra.is_empty();
            let outcome = machine.run(&function).await;
            // A worker that ends is nobody's to wait for: its run is lost.
            let expected = if reused && code != 0 { None } else { Some(code) };
            assert_eq!(outcome.verdict.exit_code, expected, "{start}: {outcome:?}");
            soon(&format!("what was started must end: {start}, reused: {reused}, {outcome:?}"), gone)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_dropped_target_ends_its_handlers() {
    let code = "import time\ndef hold(context):\n    file = open('held', 'w')\n    print('up', flush=True)\n    time.sleep(600)\n";
    for function in [handler(code, "hold"), reuse(handler(code, "hold"))] {
        let machine = Machine::new();
        let gone = held(machine.path("held"));
        let mut live = machine.start(machine.job(&function, |_| {}).unwrap()).await;
        live.line("up").await;
        drop((live, machine.target));
        soon("the handler must end", gone).await.unwrap();
    }
}

/// Templates hold nothing open once their target is closed, and end by themselves.
#[tokio::test]
async fn templates_end_with_their_target() {
    let code = "file = open('held', 'w')\ndef nothing(context): pass\n";
    for (function, close) in [(handler(code, "nothing"), true), (handler(code, "nothing"), false)] {
        let machine = Machine::new();
        let gone = held(machine.path("held"));
        machine.run(&function).await.completed();
        let Machine { target, .. } = &machine;
        if close {
            target.close().await;
        } else {
            drop(machine);
        }
        soon("the template must end", gone).await.unwrap();
    }
}

/// Its own traceback, not that of the machinery; and the next run, with better code, is not disturbed.
#[tokio::test]
async fn code_that_cannot_be_imported() {
    let machine = Machine::new();
    let code = "import os\nprint('half way')\nraise ValueError('not today')\ndef fit(context): pass\n";
    for function in [handler(code, "fit"), reuse(handler(code, "fit"))] {
        let outcome = machine.run(&function).await;
        let cause = outcome.cause();
        assert_eq!(cause.reason, Reason::Exception);
        assert!(cause.message.contains("warm.py:3: ValueError: not today"), "{}", cause.message);
        assert_eq!(outcome.printed("main"), ["half way"]);
        let log: String = outcome.lines.iter().map(|line| format!("{}\n", line.text())).collect();
        assert!(log.contains("raise ValueError('not today')"), "the traceback is in the log: {log}");
        assert!(!log.contains(&*Path::new("runtimes").join("load.py").to_string_lossy()), "{log}");
    }
    machine.run(&handler("def fit(context): pass\n", "fit")).await.completed();
}
