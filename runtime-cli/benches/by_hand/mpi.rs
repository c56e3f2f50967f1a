//! Two ranks that add up a number: from the command to its end.

use std::process::Command;

use crate::{Outcome, folder, program, run, to_the_end};

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
        command
    };
    to_the_end("mpi", &home, by_hand, 150)
}
