//! An application that adds up a number in one core: from the command to its end.

use std::{path::Path, process::Command};

use crate::{Outcome, folder, program, run, to_the_end};

const FUNCTION: &str = "\
kind: spark
metadata: {name: sums}
spec:
  command: sums.py
  default_handler: total
  executor_cores: 1
  build: {requirements: ['pyspark>=3.5,<3.6']}
";

const HANDLER: &str = "\
def total(spark):
    total = spark.sparkContext.parallelize(range(10), 1).sum()
    print('ready', flush=True)
    return total

if __name__ == '__main__':
    from pyspark.sql import SparkSession
    total(SparkSession.builder.getOrCreate())
";

pub(crate) fn measure() -> Outcome {
    let home = folder("spark", &[("function.yaml", FUNCTION), ("sums.py", HANDLER)])?;
    run(&home)?;
    let (submit, python) = (program(&home, "spark-submit")?, program(&home, "python")?);
    let own = python.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?;
    let by_hand = || {
        let mut command = Command::new(&submit);
        command.args(["--master", "local[1]", "--driver-memory", "1g"]).arg(home.join("sums.py"));
        command.env("PYSPARK_PYTHON", &python).env("PATH", &path);
        command
    };
    to_the_end("spark", &home, by_hand, 300)
}
