//! `hub pull`: a function is stored here, and pinned.

use std::path::PathBuf;

use runtimes::{
    Error, Function, Result,
    core::serde_json::json,
    hub::{Hub, Imported},
};

use super::{notes, progress, reference};
use crate::{
    home::Home,
    output::{Format, OutputArgs, data},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The function: hub://[SOURCE/]NAME[:TAG], https://…/function.yaml, git://HOST/OWNER/REPOSITORY.git#REF:PATH
    #[arg(value_name = "REFERENCE", required_unless_present = "all")]
    reference: Option<String>,
    /// All that runtimes.lock names
    #[arg(long, conflicts_with = "reference")]
    all: bool,
    /// Take it as it is now, also where it changed since it was pinned
    #[arg(long)]
    update: bool,
    /// The project under which it is stored
    #[arg(long, value_name = "NAME", default_value = "default")]
    project: String,
    /// Write it into this file, too
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn pull(args: Args, hub: &Hub, home: &Home) -> Result<String> {
    let references = match &args.reference {
        Some(text) => vec![reference(text)],
        None => hub.pins()?.into_iter().map(|pin| pin.reference).collect(),
    };
    if args.to.is_some() && references.len() != 1 {
        return Err(Error::invalid("--to", "is for one function").help("name the function"));
    }
    let mut pulled = Vec::new();
    for reference in references {
        let imported = hub.pull(&reference, args.update, &progress).await?;
        notes(&imported.notes);
        if let Some(path) = &args.to {
            let text = imported.function.to_yaml()?;
            std::fs::write(path, text).map_err(|error| Error::io("write", path, error))?;
        }
        let uri = store(&imported, home, &args.project).await?;
        pulled.push((imported, uri));
    }
    if args.output.output != Format::Table {
        let values: Vec<_> =
            pulled.iter().map(|(imported, uri)| json!({ "function": uri, "pin": imported.pin })).collect();
        return data(&values, args.output.output);
    }
    let line = |(imported, uri): &(Imported, String)| {
        let pin = &imported.pin;
        let version = if pin.version.is_empty() { String::new() } else { format!(" {}", pin.version) };
        let digest = pin.digest.get(..19).unwrap_or(&pin.digest);
        let run = uri.split('@').next().unwrap_or(uri);
        format!("pulled {}{version}, {digest}…\nrun it: runtimes run {run}\n", pin.reference)
    };
    Ok(pulled.iter().map(line).collect())
}

/// Stores it, as a run of it would.
async fn store(imported: &Imported, home: &Home, project: &str) -> Result<String> {
    let orchestrator = home.open().await?;
    let mut function: Function = imported.function.clone();
    function.metadata.project = project.to_owned();
    function.validate()?;
    function.metadata.hash = function.hash();
    let tag = Some(imported.pin.version.as_str()).filter(|version| !version.is_empty());
    orchestrator.store().put_function(&function, tag).await?;
    let uri = function.uri();
    orchestrator.close().await?;
    Ok(uri)
}
