//! The first line of a handler beside a Dask cluster of two workers: by hand scheduler, workers and a client that waits for
//! them, all at once.

use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{Outcome, ROUNDS, folder, median, program, run, spawn, until_ready};

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

pub(crate) fn measure() -> Outcome {
    let files = [("function.yaml", FUNCTION), ("ready.py", HANDLER), ("client.py", CLIENT)];
    let home = folder("dask", &files)?;
    run(&home)?;
    let python = program(&home, "python")?;
    by_hand(&home, &python)?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(by_hand(&home, &python)?);
        ours.push(run(&home)?.0);
    }
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{:<40} {ours:>12.2?} {floor:>12.2?}   {ratio:.2}x (at most 1.20x)",
        "dask, to the handler's first line"
    );
    Ok(())
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

fn free_ports() -> Outcome<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}
