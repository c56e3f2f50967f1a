//! Two ranks that add up a number: from the command to its end.

use std::{process::Command, time::Instant};

use crate::{Outcome, ROUNDS, folder, median, program, run, spawn, until_ready};

const FUNCTION: &str = "\
kind: mpijob
metadata: {name: sums}
spec:
  command: sums.py
  default_handler: total
  replicas: 2
";

const HANDLER: &str = "\
from mpi4py import MPI

def total():
    total = MPI.COMM_WORLD.allreduce(1)
    if MPI.COMM_WORLD.Get_rank() == 0:
        print('ready', flush=True)
    return total

if __name__ == '__main__':
    total()
";

pub(crate) fn measure() -> Outcome {
    let home = folder("mpi", &[("function.yaml", FUNCTION), ("sums.py", HANDLER)])?;
    run(&home)?;
    let (mpirun, python) = (program(&home, "mpirun")?, program(&home, "python")?);
    let by_hand = || {
        let mut command = Command::new(&mpirun);
        command.args(["-n", "2", "--oversubscribe", "--bind-to", "none", "--allow-run-as-root"]);
        command.arg(&python).arg(home.join("sums.py"));
        let began = Instant::now();
        let (mut child, mut lines) = spawn(command)?;
        until_ready(&mut lines, began)?;
        std::io::copy(&mut lines, &mut std::io::sink())?;
        match child.wait()?.success() {
            true => Ok(began.elapsed()),
            false => Outcome::Err("mpirun failed".into()),
        }
    };
    by_hand()?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(by_hand()?);
        ours.push(run(&home)?.1);
    }
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    let over = ours.as_secs_f64() - floor.as_secs_f64();
    println!(
        "{:<40} {ours:>12.2?} {floor:>12.2?}   {:+.0} ms (at most 150 ms)",
        "mpi, to the end of the command",
        over * 1e3
    );
    Ok(())
}
