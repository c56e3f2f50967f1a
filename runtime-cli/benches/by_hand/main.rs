//! What a run on an engine takes, next to the same started by hand with the same Python, turn by turn:
//! `cargo bench -p runtime-cli --bench by_hand`, or with `-- dask`, `-- mpi` or `-- spark` behind it one of them alone.
//!
//! What is measured by hand has no environment to find, nothing to record, and no logs to keep. The first run, which
//! installs packages where they are not there yet, is not counted.

mod dask;
mod mpi;
mod spark;

use std::{
    io::{BufRead, BufReader, PipeReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Rounds, each of which does both.
const ROUNDS: usize = 15;

fn main() -> Outcome {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    // `cargo test` and `cargo bench --no-run` ask for nothing.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    arguments.retain(|argument| !argument.starts_with('-'));
    println!("{:<40} {:>12} {:>12}", "", "ours", "by hand");
    let all = [("dask", dask::measure as fn() -> Outcome), ("mpi", mpi::measure), ("spark", spark::measure)];
    for (name, measure) in all {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            measure()?;
        }
    }
    Ok(())
}

/// A folder with these files. It stays, and with it the environment.
fn folder(name: &str, files: &[(&str, &str)]) -> Outcome<PathBuf> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    std::fs::create_dir_all(&home)?;
    for (name, text) in files {
        std::fs::write(home.join(name), text)?;
    }
    Ok(home)
}

/// How long a run takes until its code says `ready`, and until the command has ended.
fn run(home: &Path) -> Outcome<(Duration, Duration)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runtimes"));
    command.arg("run").arg(home.join("function.yaml")).env("RUNTIMES_HOME", home.join("home"));
    let began = Instant::now();
    let (mut child, mut lines) = spawn(command)?;
    let ready = until_ready(&mut lines, began)?;
    // What is printed later is read, so that nobody waits for us.
    std::io::copy(&mut lines, &mut std::io::sink())?;
    if !child.wait()?.success() {
        return Err("the run failed".into());
    }
    Ok((ready, began.elapsed()))
}

/// Starts a program of which all that it prints is one stream.
fn spawn(mut command: Command) -> Outcome<(Child, BufReader<PipeReader>)> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    Ok((command.spawn()?, BufReader::new(reader)))
}

fn until_ready(lines: &mut impl BufRead, began: Instant) -> Outcome<Duration> {
    let mut said = String::new();
    for line in lines.lines() {
        let line = line?;
        if line.trim().ends_with("ready") {
            return Ok(began.elapsed());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(format!("it ended before it was ready:\n{said}").into())
}

/// A program of the environment that the runs have.
fn program(home: &Path, name: &str) -> Outcome<PathBuf> {
    for made in std::fs::read_dir(home.join("home/envs"))? {
        let program = made?.path().join("bin").join(name);
        if program.exists() {
            return Ok(program);
        }
    }
    Err(format!("the run left no environment with {name}").into())
}

/// Measures runs of a folder next to what starts the same by hand, each to its end, turn by turn; ours may take so many
/// milliseconds more.
fn to_the_end(name: &str, home: &Path, by_hand: impl Fn() -> Command, most: u32) -> Outcome {
    let floor = || {
        let began = Instant::now();
        let (mut child, mut lines) = spawn(by_hand())?;
        until_ready(&mut lines, began)?;
        std::io::copy(&mut lines, &mut std::io::sink())?;
        match child.wait()?.success() {
            true => Ok(began.elapsed()),
            false => Outcome::Err(format!("what was started by hand failed: {name}").into()),
        }
    };
    floor()?;
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        by_hand.push(floor()?);
        ours.push(run(home)?.1);
    }
    let (ours, by_hand) = (median(&mut ours), median(&mut by_hand));
    let over = (ours.as_secs_f64() - by_hand.as_secs_f64()) * 1e3;
    let name = format!("{name}, to the end of the command");
    println!("{name:<40} {ours:>12.2?} {by_hand:>12.2?}   {over:+.0} ms (at most {most} ms)");
    Ok(())
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort();
    values[values.len() / 2]
}
