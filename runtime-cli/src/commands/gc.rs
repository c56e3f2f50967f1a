//! `gc`: take away what runs left behind.

use jiff::Timestamp;
use runtimes::{Garbage, Result, core::serde_json::json};

use crate::{
    home::{self, Home},
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, state, text},
    },
};

const HELP: &str = "\
What an ended run had on a cluster goes with its end. It stays where the orchestrator died, or the
cluster was away, in between: that is noted, and the next `daemon` or `gc` takes it away. With
--on kubernetes, the namespace itself is looked through.

Examples:
  runtimes gc                                             what was noted, on whichever cluster
  runtimes gc --on kubernetes --namespace ml --dry-run    what is left in a namespace
  runtimes gc --on kubernetes --unknown                   also of runs that are not recorded here";

/// Take away what ended runs left behind
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Look there, too
    #[arg(long, value_name = "TARGET", value_parser = ["host", "kubernetes"])]
    on: Option<String>,
    /// The context of the kubeconfig [the current one; in a pod: the cluster of that pod]
    #[arg(long, value_name = "NAME", env = home::CONTEXT, hide_env = true)]
    context: Option<String>,
    /// The namespace [the context's]
    #[arg(long, value_name = "NAME", env = home::NAMESPACE, hide_env = true)]
    namespace: Option<String>,
    /// Also of runs that are not recorded here, where nothing of them runs any more: another record may know them
    #[arg(long, requires = "on")]
    unknown: bool,
    /// Show what there is, and leave it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What is done about one run.
#[derive(Clone, Copy, PartialEq)]
enum Done {
    Removed,
    WouldRemove,
    /// Not recorded here.
    Unknown,
    /// Not recorded here, and something of it runs.
    Active,
}

impl Done {
    fn say(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::WouldRemove => "would be removed",
            Self::Unknown => "kept: no run of this record; --unknown removes it",
            Self::Active => "kept: no run of this record, and it has not ended",
        }
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let home = home.on_cluster(args.context.clone(), args.namespace.clone());
    let orchestrator = if home.exists() { home.open_settled().await? } else { home.open().await? };
    let mut found = Vec::new();
    if let Some(target) = &args.on {
        for garbage in orchestrator.garbage(target).await? {
            let done = match (&garbage.run, garbage.left.active) {
                (None, true) => Done::Active,
                (None, false) if !args.unknown => Done::Unknown,
                _ if args.dry_run => Done::WouldRemove,
                _ => {
                    orchestrator.collect(&garbage).await?;
                    Done::Removed
                }
            };
            found.push((garbage, done));
        }
    }
    let noted = orchestrator.release_ended(args.dry_run).await;
    show(&found, noted.as_ref().ok().copied(), &args, terminal)?;
    orchestrator.close().await?;
    noted.map(|_| 0)
}

fn show(found: &[(Garbage, Done)], noted: Option<usize>, args: &Args, terminal: &Terminal) -> Result<()> {
    let format = args.output.output;
    if format != Format::Table {
        let found: Vec<_> = found.iter().map(value).collect();
        let noted = json!({"runs": noted, "removed": !args.dry_run});
        return stdio::stdout(data(&json!({"found": found, "noted": noted}), format)?.as_bytes()).map(drop);
    }
    let mut shown = String::new();
    if !found.is_empty() {
        shown += &render(found, Timestamp::now(), terminal);
    }
    match noted {
        None | Some(0) => {}
        Some(count) if args.dry_run => {
            shown += &format!("noted: {} left something on a cluster\n", human::count(count, "ended run"));
        }
        Some(count) => shown += &format!("removed what {} had left\n", human::count(count, "ended run")),
    }
    if shown.is_empty() && noted.is_some() {
        stdio::stderr(b"nothing is left\n");
    }
    stdio::stdout(shown.as_bytes()).map(drop)
}

fn value((garbage, done): &(Garbage, Done)) -> runtimes::core::serde_json::Value {
    json!({
        "run": garbage.left.key.to_string(),
        "name": garbage.run.as_ref().map(|run| &run.metadata.name),
        "state": garbage.run.as_ref().map(|run| run.state()),
        "target": garbage.target,
        "objects": garbage.left.objects,
        "since": garbage.left.since,
        "active": garbage.left.active,
        "removed": *done == Done::Removed,
    })
}

fn render(found: &[(Garbage, Done)], now: Timestamp, terminal: &Terminal) -> String {
    let row = |(garbage, done): &(Garbage, Done)| {
        let run = garbage.run.as_ref();
        vec![
            text(human::uid(&garbage.left.key.to_string())),
            text(run.map_or("", |run| run.metadata.name.as_str())),
            run.map_or_else(|| text(""), |run| state(run.state())),
            text(garbage.left.since.map(|since| human::age(since, now)).unwrap_or_default()),
            text(done.say()),
            text(garbage.left.objects.join(" ")),
        ]
    };
    let header = ["RUN", "NAME", "STATE", "AGE", "DONE", "OBJECTS"];
    table::render(&header, found.iter().map(row).collect(), Long::Cut, terminal)
}
