//! Rust handlers: typed parameters, results, a log; and what becomes of one that takes too long or panics.

use std::{env, time::Duration};

use runtimes::{Function, Orchestrator, Request, Result, handler::Context};
use serde::{Deserialize, Serialize};

/// What `primes` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Primes {
    below: usize,
    #[serde(default = "often")]
    report_every: usize,
}

fn often() -> usize {
    250_000
}

/// What `primes` gives.
#[derive(Serialize)]
struct Counted {
    primes: usize,
    largest: Option<usize>,
}

/// Counts the primes below a number, with the sieve of Eratosthenes.
fn primes(context: &Context, Primes { below, report_every }: Primes) -> std::result::Result<Counted, String> {
    if report_every == 0 {
        return Err("report_every is 0; a number from 1 would be right".to_owned());
    }
    let mut composite = vec![false; below];
    let (mut primes, mut largest) = (0, None);
    for number in 2..below {
        // A handler that works for long looks now and then whether it is to stop.
        if number % report_every == 0 {
            if context.is_cancelled() {
                return Err(format!("stopped at {number}"));
            }
            context.log(format!("{primes} primes below {number}"));
        }
        if !composite[number] {
            (primes, largest) = (primes + 1, Some(number));
            (number.saturating_mul(number)..below)
                .step_by(number)
                .for_each(|multiple| composite[multiple] = true);
        }
    }
    Ok(Counted { primes, largest })
}
runtimes::handler!(primes);

/// Waits until it is told to stop. An async handler is simply dropped then.
async fn wait(context: Context, (): ()) -> std::result::Result<(), String> {
    context.cancelled().await;
    Ok(())
}
runtimes::handler!(async wait);

/// Takes the first of no elements.
fn fragile(_: &Context, (): ()) -> std::result::Result<i64, String> {
    let none: Vec<i64> = Vec::new();
    Ok(none[0])
}
runtimes::handler!(fragile);

#[tokio::main]
async fn main() -> Result<()> {
    let home = env::var_os("RUNTIMES_HOME").unwrap_or_else(|| ".runtimes".into());
    let orchestrator = Orchestrator::open(home).await?;
    let handler = |name: &str| Request::new(Function::new("handler", "example")).handler(name);

    let counted = orchestrator.run(handler("primes").parameter("below", 1_000_000)).await?;
    let late = orchestrator.run(handler("wait").timeout(Duration::from_millis(100))).await?;
    let broken = orchestrator.run(handler("fragile")).await?;
    for run in [counted, late, broken] {
        println!("{:15} {}", run.metadata.name, run.state());
        for (name, value) in &run.status.results {
            println!("                {name} = {value}");
        }
        if let Some(cause) = &run.status.cause {
            println!("                {:?}: {}", cause.reason, cause.message);
        }
    }

    // What does not fit is said before anything is recorded.
    if let Err(error) = orchestrator.run(handler("primes").parameter("bellow", 10)).await {
        println!("refused: {error}");
    }
    orchestrator.close().await
}
