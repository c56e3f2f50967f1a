//! How long it takes from the command to the first line of a handler beside a Dask cluster of two workers, next to the same
//! started by hand with the same Python: scheduler, workers and a client that waits for them, all at once. Turn by turn:
//! `cargo bench -p runtime-cli --bench dask`.
//!
//! What is measured by hand has no environment to find, nothing to record, and no logs to keep. The first run, which
//! installs Dask where it is not there yet, is not counted.

use std::{
    io::{BufRead, BufReader, PipeReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Rounds, each of which does both.
const ROUNDS: usize = 15;

const FUNCTION: &str = "\
kind: dask
metadata: {name: ready}
spec:
  command: ready.py
  default_handler: ready
  replicas: 2
";

const HANDLER: &str = "\
def ready(context):
    context.dask_client
    print('ready', flush=True)
";

const CLIENT: &str = "\
import sys
from distributed import Client

client = Client(sys.argv[1])
client.wait_for_workers(2)
print('ready', flush=True)
";

fn main() -> Outcome {
    // `cargo test` and `cargo bench --no-run` ask for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    // It stays, and with it the environment.
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-dask");
    std::fs::create_dir_all(&home)?;
    for (name, text) in [("function.yaml", FUNCTION), ("ready.py", HANDLER), ("client.py", CLIENT)] {
        std::fs::write(home.join(name), text)?;
    }
    run(&home)?;
    let python = python(&home)?;
    by_hand(&home, &python)?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(by_hand(&home, &python)?);
        ours.push(run(&home)?);
    }
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!("{:<34} {:>12} {:>12} {:>8}", "", "ours", "by hand", "ratio");
    println!(
        "{:<34} {ours:>12.2?} {floor:>12.2?} {ratio:>7.2}x  (at most 1.20x)",
        "dask, to the handler's first line"
    );
    Ok(())
}

/// A run of the command.
fn run(home: &Path) -> Outcome<Duration> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runtimes"));
    command.arg("run").arg(home.join("function.yaml")).env("RUNTIMES_HOME", home.join("home"));
    let began = Instant::now();
    let (mut child, mut lines) = spawn(command)?;
    let took = until_ready(&mut lines, began)?;
    // What is printed later is read, so that nobody waits for us.
    std::io::copy(&mut lines, &mut std::io::sink())?;
    if !child.wait()?.success() {
        return Err("the run failed".into());
    }
    Ok(took)
}

/// The same, without any of this.
fn by_hand(home: &Path, python: &Path) -> Outcome<Duration> {
    let [port, pages] = free_ports()?;
    let address = format!("tcp://127.0.0.1:{port}");
    let dask = |what: &str, args: &[&str]| {
        let mut command = Command::new(python);
        command.args(["-m", "dask", what, "--host", "127.0.0.1"]).args(args);
        command.env("DASK_LOGGING__DISTRIBUTED", "warning");
        command
    };
    let (port, pages) = (port.to_string(), format!("127.0.0.1:{pages}"));
    let worker =
        |name| dask("worker", &[&address, "--no-nanny", "--no-dashboard", "--nthreads", "1", "--name", name]);
    let mut client = Command::new(python);
    client.arg(home.join("client.py")).arg(&address);
    let began = Instant::now();
    let mut others = Vec::new();
    for command in [
        dask("scheduler", &["--port", &port, "--dashboard-address", &pages]),
        worker("worker-0"),
        worker("worker-1"),
    ] {
        others.push(spawn(command)?);
    }
    let (mut client, mut lines) = spawn(client)?;
    let took = until_ready(&mut lines, began);
    for (child, _) in &mut others {
        child.kill()?;
        child.wait()?;
    }
    client.kill()?;
    client.wait()?;
    took
}

/// Starts a program of which all that it prints is one stream.
fn spawn(mut command: Command) -> Outcome<(Child, BufReader<PipeReader>)> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(std::process::Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    Ok((command.spawn()?, BufReader::new(reader)))
}

fn until_ready(lines: &mut impl BufRead, began: Instant) -> Outcome<Duration> {
    let mut said = String::new();
    for line in lines.lines() {
        let line = line?;
        if line.trim() == "ready" {
            return Ok(began.elapsed());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(format!("it ended before it was ready:\n{said}").into())
}

/// The interpreter of the environment that the runs have.
fn python(home: &Path) -> Outcome<PathBuf> {
    for made in std::fs::read_dir(home.join("home/envs"))? {
        let python = made?.path().join("bin/python");
        if python.exists() {
            return Ok(python);
        }
    }
    Err("the run left no environment".into())
}

fn free_ports() -> Outcome<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort();
    values[values.len() / 2]
}
