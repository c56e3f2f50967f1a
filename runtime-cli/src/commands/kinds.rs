//! `kinds`: which kinds of functions this build can run.

use runtimes::{
    Result,
    core::{Registry, Runtime, serde_json::json},
};

use crate::output::{
    Format, OutputArgs, Terminal, data, stdio,
    table::{self, Long, text},
};

/// List the kinds of functions
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) fn execute(args: Args, terminal: &Terminal) -> Result<u8> {
    let registry = Registry::linked()?;
    let format = args.output.output;
    let shown = if format == Format::Table {
        let rows = registry.iter().map(|kind| row(kind.as_ref()));
        table::render(&["KIND", "RUNS ON", "CAN", "SUMMARY"], rows.collect(), Long::Wrap, terminal)
    } else {
        let kinds = registry.iter().map(|kind| {
            json!({
                "kind": kind.kind(),
                "summary": kind.summary(),
                "capability": kind.capability(),
                "fields": kind.fields(),
            })
        });
        data(&kinds.collect::<Vec<_>>(), format)?
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

fn row(kind: &dyn Runtime) -> Vec<comfy_table::Cell> {
    let can = kind.capability();
    let join = |words: &[(bool, &str)]| {
        words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
    };
    let places = join(&[(can.host, "this machine"), (can.cluster, "cluster")]);
    let abilities = join(&[
        (can.batch, "run"),
        (can.deploys, "deploy"),
        (can.abortable, "abort"),
        (can.logs, "logs"),
        (can.scales, "scale"),
        (can.survives, "detach"),
        (can.renders, "render"),
    ]);
    vec![text(kind.kind()), text(places), text(abilities), text(kind.summary())]
}
