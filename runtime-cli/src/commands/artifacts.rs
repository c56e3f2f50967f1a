//! `artifacts`: what runs wrote, wherever that is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use runtimes::{
    Error, ErrorKind, Orchestrator, Result,
    core::serde_json::{Value, json},
    data::{ArtifactFilter, ArtifactRecord, ArtifactUri, Meter},
};

use crate::{
    home::Home,
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes artifacts                                  what was written last
  runtimes artifacts list --kind model --tag latest   the newest of each model
  runtimes artifacts get wine-model                   copy the newest of that key to ./wine-model
  runtimes artifacts get scores --run 3f2a -o -       print that of one run
  runtimes artifacts get store://shop/scores:prod     by project and tag, as an input of a run names it";

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// List and fetch what runs wrote
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List artifacts, the newest first (this is what `artifacts` alone does)
    List(ListArgs),
    /// Copy an artifact here, a file or a folder
    Get(GetArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Of this run: the beginning of a uid, or a name
    #[arg(long, value_name = "UID|NAME")]
    run: Option<String>,
    /// Of this kind: dataset, model, plot, ...
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Of this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// With this tag; `latest` is the newest of each key
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// Its key, or its name: store://PROJECT/KEY[#ITERATION][:TAG][@TREE]
    #[arg(value_name = "KEY|URI")]
    artifact: String,
    /// That of this run: the beginning of a uid, or a name
    #[arg(long, value_name = "UID|NAME")]
    run: Option<String>,
    /// Of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Where to put it; `-` prints it. Otherwise it gets its own name in the current folder
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            None => self.list.output.output,
            Some(Action::List(list)) => list.output.output,
            Some(Action::Get(_)) => Format::Table,
        }
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    match args.action {
        None => list(args.list, home, terminal).await?,
        Some(Action::List(args)) => list(args, home, terminal).await?,
        Some(Action::Get(args)) => get(args, home, terminal).await?,
    }
    Ok(0)
}

async fn list(args: ListArgs, home: &Home, terminal: &Terminal) -> Result<()> {
    let limit = if args.all { 0 } else { args.limit as usize };
    let mut records = Vec::new();
    if home.exists() {
        let orchestrator = home.open_settled().await?;
        let run = match &args.run {
            Some(run) => Some(orchestrator.find(run).await?.run.key()),
            None => None,
        };
        let filter = ArtifactFilter {
            project: args.project,
            run,
            kind: args.kind,
            key: args.key,
            tag: args.tag,
            limit: if limit == 0 { 0 } else { limit + 1 },
        };
        records = orchestrator.artifacts(&filter).await?;
    }
    let more = limit > 0 && records.len() > limit;
    if more {
        records.truncate(limit);
    }
    let shown = match args.output.output {
        Format::Table if records.is_empty() => {
            stdio::stderr(b"no artifacts\n");
            return Ok(());
        }
        Format::Table => super::with_view(terminal, |view| render(&records, view.here, view.now, terminal)),
        format => data(&records.iter().map(value).collect::<Vec<_>>(), format)?,
    };
    stdio::stdout(shown.as_bytes())?;
    if more {
        stdio::stderr(b"there are more: --limit N or --all shows them\n");
    }
    Ok(())
}

/// The artifact itself, and by what name it is found again.
fn value(record: &ArtifactRecord) -> Value {
    let mut value = json!(record.artifact);
    value["uri"] = json!(record.uri().to_string());
    value["run"] = json!(record.run.uid);
    value["updated"] = json!(record.updated);
    value
}

fn render(records: &[ArtifactRecord], here: &Path, now: Timestamp, terminal: &Terminal) -> String {
    let row = |record: &ArtifactRecord| {
        let artifact = &record.artifact;
        vec![
            text(human::shorten(record.key(), 48)),
            text(human::shorten(&artifact.kind, 16)),
            text(artifact.size().map(human::size).unwrap_or_default()),
            text(human::shorten(record.tag().unwrap_or_default(), 24)),
            text(human::shorten(&record.project, 24)),
            text(match record.iteration() {
                0 => human::uid(&record.run.uid).to_owned(),
                iteration => format!("{}#{iteration}", human::uid(&record.run.uid)),
            }),
            text(human::age(record.updated, now)),
            text(human::shorten(&human::path(artifact.target_path(), here), 4096)),
        ]
    };
    let header = ["KEY", "KIND", "SIZE", "TAG", "PROJECT", "RUN", "AGE", "PATH"];
    table::render(&header, records.iter().map(row).collect(), Long::Cut, terminal)
}

async fn get(args: GetArgs, home: &Home, terminal: &Terminal) -> Result<()> {
    let orchestrator = home.open_settled().await?;
    let record = find(&orchestrator, &args).await?;
    let meter = Meter::default();
    if args.output.as_deref() == Some(Path::new("-")) {
        // What is printed on a terminal is its own progress.
        let mut stdout = tokio::io::stdout();
        let read = orchestrator.read_artifact(&record, &mut stdout, &meter);
        return shown(read, &meter, terminal.stderr && !terminal.stdout).await;
    }
    let place = record.place()?;
    let to = match args.output {
        Some(path) if path.is_dir() => path.join(place.name()),
        Some(path) => path,
        None => PathBuf::from(place.name()),
    };
    clear(&to, args.force)?;
    shown(orchestrator.fetch_artifact(&record, &to, &meter), &meter, terminal.stderr && !terminal.dumb)
        .await?;
    let size = human::size(meter.done());
    stdio::stderr(format!("{} {size}: {}\n", record.key(), to.display()).as_bytes());
    Ok(())
}

async fn find(orchestrator: &Orchestrator, args: &GetArgs) -> Result<ArtifactRecord> {
    let mut uri: ArtifactUri = args.artifact.parse()?;
    if let Some(run) = &args.run {
        let run = orchestrator.find(run).await?.run;
        (uri.project, uri.uid) = (run.metadata.project.clone(), Some(run.metadata.uid.clone()));
    }
    if let Some(project) = &args.project {
        uri.project.clone_from(project);
    }
    orchestrator.artifact(&uri).await
}

/// Makes place for what is fetched, where that is allowed.
fn clear(path: &Path, force: bool) -> Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(_) if !force => {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{} is there already", path.display()))
                .help("name another path with -o, or replace it with --force"));
        }
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.map_err(|error| Error::io("replace", path, error))
}

/// Shows how far a transfer is, on a terminal.
async fn shown(work: impl Future<Output = Result<()>>, meter: &Meter, show: bool) -> Result<()> {
    if !show {
        return work.await;
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style);
    tokio::pin!(work);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = tick.tick() => {
                bar.set_length(meter.total().max(meter.done()));
                bar.set_position(meter.done());
            }
        }
    }
}
