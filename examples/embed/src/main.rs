//! An orchestrator of ten lines: a Rust handler reads a column of a table, a Python function sums it up.

use std::{env, fs};

use runtimes::{Function, Orchestrator, Request, Result, handler::Context};
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> Result<()> {
    let home = env::var_os("RUNTIMES_HOME").unwrap_or_else(|| ".runtimes".into());
    let here = env!("CARGO_MANIFEST_DIR");
    let orchestrator = Orchestrator::open(home).await?;
    let read = Request::new(Function::new("handler", "wine")).handler("column");
    let read = read.parameter("file", format!("{here}/../train/wine.csv")).parameter("name", "alcohol");
    let column = orchestrator.run(read).await?;
    let values = column.status.results.get("values").cloned().unwrap_or_default();
    let sum_up = Request::from_file(format!("{here}/function.yaml"))?.parameter("values", values);
    let summary = orchestrator.run(sum_up).await?;
    for run in [&column, &summary] {
        println!("{} {} {}", run.metadata.name, run.state(), run.status.error.as_deref().unwrap_or_default());
    }
    println!(
        "quartiles of alcohol: {}",
        summary.status.results.get("quartiles").cloned().unwrap_or_default()
    );
    orchestrator.close().await
}

/// What the handler takes: each field is a parameter of the run.
#[derive(Deserialize)]
struct Column {
    file: String,
    name: String,
}

/// What it gives: each field is a result of the run.
#[derive(Serialize)]
struct Values {
    values: Vec<f64>,
}

/// Reads one column of numbers from a CSV file.
fn column(context: &Context, Column { file, name }: Column) -> std::result::Result<Values, String> {
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let index = header.split(',').position(|column| column == name);
    let index = index.ok_or_else(|| format!("{file} has no column {name:?}; it has {header}"))?;
    let number = |(row, line): (usize, &str)| {
        let cell = line.split(',').nth(index).unwrap_or_default();
        cell.parse().map_err(|_| format!("{file}:{}: {cell:?} is not a number", row + 2))
    };
    let values = lines.enumerate().map(number).collect::<std::result::Result<Vec<f64>, String>>()?;
    context.log(format!("{} values of {name}", values.len()));
    Ok(Values { values })
}

runtimes::handler!(column);
