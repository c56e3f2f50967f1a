//! `function delete`: a function, one version of it, or one tag.

use runtimes::{DeletedVersion, Error, Result, core::function::Reference};

use super::existing;
use crate::{home::Home, output::human};

const EXAMPLES: &str = "\
Examples:
  runtimes function delete train         all its versions and tags
  runtimes function delete train@3f2a    that version, and the tags that point at it
  runtimes function delete train:old     that tag; the version stays

Where `latest` pointed at a version that is deleted, it points at the one of the others that was stored last.
What a run that has not ended needs is not deleted.";

/// Forget a stored function, one version of it, or a tag; its runs stay
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function; all its versions, unless one is named
    #[arg(value_name = "[PROJECT/]NAME[:TAG|@HASH]")]
    function: String,
}

pub(super) async fn execute(args: &Args, home: &Home) -> Result<String> {
    let function = &args.function;
    let orchestrator = existing(home)?.open().await?;
    if function.strip_prefix("db://").unwrap_or(function).contains([':', '@']) {
        return Ok(said(&orchestrator.delete_version(function).await?));
    }
    let Reference { project, name, .. } = function.parse()?;
    let project = if project.is_empty() { "default".to_owned() } else { project };
    let versions = orchestrator.delete_function(&project, &name).await?;
    if versions == 0 {
        return Err(Error::not_found(format!("there is no function `{name}` in the project `{project}`"))
            .help("`runtimes functions` lists what is stored"));
    }
    Ok(format!("deleted {project}/{name}: {}\n", human::count(versions, "version")))
}

fn said(deleted: &DeletedVersion) -> String {
    let metadata = &deleted.record.function.metadata;
    let name = format!("{}/{}", metadata.project, metadata.name);
    let version = format!("{name}@{}", short(&metadata.hash));
    if let Some(tag) = &deleted.tag {
        return format!("deleted the tag {name}:{tag}; {version} stays\n");
    }
    let tags = match &deleted.record.tags[..] {
        [] => String::new(),
        tags => format!(" ({})", tags.join(", ")),
    };
    let mut out = format!("deleted {version}{tags}\n");
    let was_latest = deleted.record.tags.iter().any(|tag| tag == "latest");
    match &deleted.latest {
        Some(latest) if was_latest => {
            let hash = short(&latest.function.metadata.hash);
            out += &format!("latest is {name}@{hash} now\n");
        }
        Some(_) => {}
        None => out += &format!("it was the last version: there is no {name} any more\n"),
    }
    if deleted.runs > 0 {
        out += &format!("{} that ran it cannot be run again\n", human::count(deleted.runs, "run"));
    }
    out
}

fn short(hash: &str) -> &str {
    hash.get(..7).unwrap_or(hash)
}
