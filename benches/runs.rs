//! What a run costs beside its floors, each pair measured in the same program, turn by turn:
//! `cargo bench -p runtimes --bench runs`.
//!
//! - a `local` run beside the bare process,
//! - forked handlers beside bare forks of the same template,
//! - reused handlers beside a socket's round trip,
//! - Rust handlers beside the store's writes alone,
//! - the iterations of one run with hyper-parameters, forked handlers, beside bare forks.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use futures_util::{StreamExt, stream};
use runtimes::{
    Function, Orchestrator, Request, RunState,
    core::{Run, Store, store::RunRecord},
    handler::Context,
    local::host::environment::Interpreter,
    store::SqliteStore,
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Runs in flight at once, where a rate is measured.
const PARALLEL: usize = 64;

/// Forked handlers in flight at once: enough that nobody waits for the store, few enough that their pages stay in the
/// processors' caches.
const FORKS: usize = 16;

/// Iterations of one run in flight at once.
const ITERATIONS: u32 = 8;

fn nothing(_: &Context, (): ()) -> Result<(), String> {
    Ok(())
}
runtimes::local::handler!(nothing);

fn main() -> Outcome {
    // `cargo test` and `cargo bench --no-run` ask for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let home = tempfile_in_target()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let python = Interpreter::find(&home, None)?.path;
    runtime.block_on(async {
        let orchestrator = Orchestrator::open(&home).await?;
        println!("{:<34} {:>12} {:>12} {:>8}", "", "ours", "floor", "ratio");
        if wanted("local") {
            local(&orchestrator, &home, &python).await?;
        }
        if wanted("fork") {
            forks(&orchestrator, &home, &python).await?;
        }
        if wanted("reuse") {
            reuse(&orchestrator, &home, &python).await?;
        }
        if wanted("rust") {
            rust(&orchestrator, &home).await?;
        }
        if wanted("iterations") {
            iterations(&orchestrator, &home, &python).await?;
        }
        orchestrator.close().await?;
        Outcome::Ok(())
    })?;
    std::fs::remove_dir_all(&home)?;
    Ok(())
}

/// Whether this part was asked for: `cargo bench -p runtimes --bench runs -- reuse`; without a name, all are.
fn wanted(part: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    names.peek().is_none() || names.any(|name| name == part)
}

fn tempfile_in_target() -> Outcome<PathBuf> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    Ok(home)
}

async fn local(orchestrator: &Orchestrator, home: &Path, python: &Path) -> Outcome {
    let file = home.join("nothing.py");
    std::fs::write(&file, "pass\n")?;
    let args = ["-S".to_owned(), "-E".to_owned(), file.display().to_string()];
    let mut function = Function::new("local", "nothing");
    function.spec.command = python.display().to_string();
    function.spec.args = args.to_vec();
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let begin = Instant::now();
        Command::new(python).args(&args).stdin(Stdio::null()).status()?;
        floor.push(begin.elapsed());
        let begin = Instant::now();
        completed(&orchestrator.run(function.clone()).await?)?;
        ours.push(begin.elapsed());
    }
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{:<34} {:>12.2?} {:>12.2?} {ratio:>7.2}x  (at most 1.30x)",
        "local run / bare process", ours, floor
    );
    Ok(())
}

async fn forks(orchestrator: &Orchestrator, home: &Path, python: &Path) -> Outcome {
    let function = python_handler(home, false)?;
    rate(orchestrator, &function, 64, FORKS).await?;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        pairs.push((rate(orchestrator, &function, 1000, FORKS).await?, bare_forks(home, python)?));
    }
    print_rates("forked handlers / bare forks", &pairs, "at least 0.70x");
    // As users' handlers are: with parameters and a result; with the context, and what is logged by it.
    let with_context = "def fit(context, lr: float = 0.1):\n    context.log_result('loss', lr)\n";
    for (name, code) in [
        (
            "... that return / bare forks",
            "def fit(lr: float = 0.1, name: str = ''):\n    return {'loss': lr}\n",
        ),
        ("... with a context / bare forks", with_context),
    ] {
        let file = home.join("fit.py");
        std::fs::write(&file, code)?;
        let mut function = Function::from_code(&file, Some("handler"))?;
        function.spec.default_handler = "fit".to_owned();
        rate(orchestrator, &function, 64, FORKS).await?;
        let mut pairs = Vec::new();
        for _ in 0..3 {
            pairs.push((rate(orchestrator, &function, 500, FORKS).await?, bare_forks(home, python)?));
        }
        print_rates(name, &pairs, "no bound");
    }
    Ok(())
}

/// Forks a second of the template alone.
fn bare_forks(home: &Path, python: &Path) -> Outcome<f64> {
    let program = "import gc, os, sys, time, runtimes.template\n\
        gc.freeze()\nn = 1000\nbegin = time.perf_counter()\n\
        for _ in range(n):\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)\n\
        print(n / (time.perf_counter() - begin))";
    let agent = std::fs::read_dir(home.join("agent"))?.next().ok_or("no agent")??.path();
    let output = Command::new(python).args(["-c", program]).env("PYTHONPATH", agent).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// 1,000 iterations of one run, one at a time as they are by default, and several at a time.
async fn iterations(orchestrator: &Orchestrator, home: &Path, python: &Path) -> Outcome {
    let file = home.join("iteration.py");
    std::fs::write(&file, "def nothing(n):\n    pass\n")?;
    let mut function = Function::from_code(&file, Some("handler"))?;
    function.spec.default_handler = "nothing".to_owned();
    let sweep = |count: usize, parallel: u32| {
        let (orchestrator, mut request) = (orchestrator.clone(), Request::new(function.clone()));
        async move {
            request.spec.hyperparams.insert("n".to_owned(), (0..count).collect());
            request.spec.hyper_param_options.parallel_runs = Some(parallel);
            let begin = Instant::now();
            let run = orchestrator.run(request).await?;
            completed(&run)?;
            if run.status.iterations.len() != count + 1 {
                return Err(format!("{} rows", run.status.iterations.len()).into());
            }
            Outcome::Ok(count as f64 / begin.elapsed().as_secs_f64())
        }
    };
    sweep(64, ITERATIONS).await?;
    for (parallel, name) in
        [(1, "iterations, 1 at a time / forks"), (ITERATIONS, "iterations, 8 at a time / forks")]
    {
        let mut pairs = Vec::new();
        for _ in 0..3 {
            pairs.push((sweep(1000, parallel).await?, bare_forks(home, python)?));
        }
        print_rates(name, &pairs, "at least 320/s");
    }
    Ok(())
}

async fn reuse(orchestrator: &Orchestrator, home: &Path, python: &Path) -> Outcome {
    let floor = || -> Outcome<f64> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let program = "import socket, sys\ns = socket.socket(fileno=0)\nwhile True:\n    b = s.recv(4096)\n    \
            if not b: break\n    s.sendall(b)";
        let mut child = Command::new(python)
            .args(["-c", program])
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()?;
        let mut trip = || -> Outcome {
            ours.write_all(&[b'x'; 512])?;
            ours.read_exact(&mut [0; 512])?;
            Ok(())
        };
        trip()?;
        let begin = Instant::now();
        for _ in 0..10_000 {
            trip()?;
        }
        let rate = 10_000.0 / begin.elapsed().as_secs_f64();
        drop(ours);
        child.wait()?;
        Ok(rate)
    };
    let function = python_handler(home, true)?;
    rate(orchestrator, &function, 64, PARALLEL).await?;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        pairs.push((rate(orchestrator, &function, 4000, PARALLEL).await?, floor()?));
    }
    print_rates("reused handlers / round trips", &pairs, "at least 2,000/s");
    Ok(())
}

async fn rust(orchestrator: &Orchestrator, home: &Path) -> Outcome {
    let mut function = Function::new("handler", "nothing");
    function.spec.default_handler = "nothing".to_owned();
    rate(orchestrator, &function, 64, PARALLEL).await?;
    let store = Arc::new(SqliteStore::open(&home.join("floor.db")).await?);
    let mut pairs = Vec::new();
    for _ in 0..5 {
        pairs.push((rate(orchestrator, &function, 10_000, PARALLEL).await?, writes(&store, 10_000).await?));
    }
    print_rates("Rust handlers / SQLite writes", &pairs, "at least 5,000/s");
    Ok(())
}

/// New runs a second that the store alone takes, from as many writers.
async fn writes(store: &Arc<SqliteStore>, count: usize) -> Outcome<f64> {
    let begin = Instant::now();
    let mut tasks = stream::iter(0..count)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut run = Run::default();
                run.metadata.uid = uuid::Uuid::new_v4().simple().to_string();
                run.metadata.name = "nothing".to_owned();
                run.metadata.project = "default".to_owned();
                run.spec.function = "default/nothing@0".to_owned();
                let record = RunRecord {
                    run: run.into(),
                    revision: 0,
                    owner: "floor".to_owned(),
                    target: "host".to_owned(),
                    attempt: 0,
                };
                store.create_run(&record).await
            })
        })
        .buffer_unordered(PARALLEL);
    while let Some(done) = tasks.next().await {
        done??;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// Runs a second, each recorded durably.
async fn rate(
    orchestrator: &Orchestrator,
    function: &Function,
    count: usize,
    parallel: usize,
) -> Outcome<f64> {
    let begin = Instant::now();
    let mut tasks = stream::iter(0..count)
        .map(|_| {
            let (orchestrator, request) = (orchestrator.clone(), Request::new(function.clone()));
            tokio::spawn(async move { orchestrator.run(request).await })
        })
        .buffer_unordered(parallel);
    while let Some(run) = tasks.next().await {
        completed(&run??)?;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn python_handler(home: &Path, reuse: bool) -> Outcome<Function> {
    let file = home.join("handler.py");
    std::fs::write(&file, "def nothing():\n    pass\n")?;
    let mut function = Function::from_code(&file, Some("handler"))?;
    function.spec.default_handler = "nothing".to_owned();
    function.spec.extra.insert("reuse".to_owned(), reuse.into());
    Ok(function)
}

fn completed(run: &Run) -> Outcome {
    if run.state() == RunState::Completed { Ok(()) } else { Err(format!("{:?}", run.status).into()) }
}

fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values[values.len() / 2]
}

fn print_rates(name: &str, pairs: &[(f64, f64)], bound: &str) {
    let mut ours: Vec<_> = pairs.iter().map(|pair| pair.0).collect();
    let mut floor: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
    let mut ratios: Vec<_> = pairs.iter().map(|pair| pair.0 / pair.1).collect();
    let (ours, floor, ratio) = (median(&mut ours), median(&mut floor), median(&mut ratios));
    println!("{name:<34} {ours:>10.0}/s {floor:>10.0}/s {ratio:>7.2}x  ({bound})");
}
