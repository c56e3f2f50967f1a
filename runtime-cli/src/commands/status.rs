//! `status`: what is deployed, and where it is.

use runtimes::{Orchestrator, Result, core::store::RunRecord};

use super::run::request::{self, Source};
use crate::{
    home::Home,
    output::{Format, OutputArgs, Terminal, data, stdio},
};

const EXAMPLES: &str = "\
Examples:
  runtimes status                  all deployments
  runtimes status work -o json     that of the function `work`, for programs";

/// Show what is deployed, and where it is
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: its name ([PROJECT/]NAME), or its file [all]
    #[arg(value_name = "FUNCTION")]
    function: Option<String>,
    /// The project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let named =
        args.function.as_deref().map(|text| Named::read(text, args.project.as_deref())).transpose()?;
    let mut records = Vec::new();
    if home.exists() {
        let orchestrator = home.open_settled().await?;
        records = match named {
            Some(named) => named.deployments(&orchestrator).await?,
            None => orchestrator.deployments(args.project.as_deref(), None).await?,
        };
    }
    match args.output.output {
        Format::Table if records.is_empty() => stdio::stderr(b"nothing is deployed\n"),
        Format::Table => table(&records, terminal)?,
        format => {
            let runs: Vec<_> = records.iter().map(|record| &record.run).collect();
            stdio::stdout(data(&runs, format)?.as_bytes())?;
        }
    }
    Ok(0)
}

/// Deployments for people, and what is wrong with them.
pub(super) fn table(records: &[RunRecord], terminal: &Terminal) -> Result<()> {
    let (list, troubles) = super::with_view(terminal, |view| {
        let troubles: Vec<_> = records.iter().filter_map(|record| view.failure(&record.run)).collect();
        (view.deployments(records), troubles)
    });
    stdio::stdout(list.as_bytes())?;
    for trouble in troubles {
        stdio::stderr(trouble.as_bytes());
    }
    Ok(())
}

/// A function whose deployments are meant.
pub(super) struct Named {
    project: Option<String>,
    name: String,
}

impl Named {
    /// Reads `[PROJECT/]NAME`, or a function's file.
    pub(super) fn read(text: &str, project: Option<&str>) -> Result<Self> {
        let (own, name) = match Source::of(text.to_owned()) {
            Source::File(path) => {
                let metadata = request::from_file(&path, None)?.resolved()?.metadata;
                (Some(metadata.project), metadata.name)
            }
            Source::Stored(text) | Source::Address(text) => {
                let text = text.strip_prefix("db://").unwrap_or(&text);
                let name = text.split([':', '@']).next().unwrap_or_default();
                match name.split_once('/') {
                    Some((project, name)) => (Some(project.to_owned()), name.to_owned()),
                    None => (None, name.to_owned()),
                }
            }
        };
        Ok(Self { project: project.map(str::to_owned).or(own), name })
    }

    /// Its deployments, wherever they are.
    pub(super) async fn deployments(&self, orchestrator: &Orchestrator) -> Result<Vec<RunRecord>> {
        orchestrator.deployments(self.project.as_deref(), Some(&self.name)).await
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.project {
            Some(project) => write!(f, "{project}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
