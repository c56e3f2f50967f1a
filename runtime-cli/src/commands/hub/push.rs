//! `hub push`: a function is shared.

use std::path::Path;

use runtimes::{
    Result,
    core::serde_json::json,
    hub::{Hub, Push},
};

use crate::{
    commands::run::request,
    home::Home,
    output::{Format, OutputArgs, data},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A function.yaml, a .py or .sh file, a stored function, or an address
    #[arg(value_name = "FUNCTION")]
    function: String,
    /// The hub, which must be a folder
    #[arg(value_name = "HUB")]
    source: String,
    /// Its version; without it 1.0.0, or the next one where the function changed
    #[arg(long, value_name = "VERSION", default_value = "")]
    version: String,
    /// A further tag that is to point at it
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Replace a version or tag that is there with other content
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn push(args: Args, hub: &Hub, home: &Home) -> Result<String> {
    let request = request::load(&args.function, home).await?;
    let push = Push { version: args.version, tags: args.tags, force: args.force };
    let base = if request.base_dir.as_os_str().is_empty() { Path::new(".") } else { &request.base_dir };
    let pushed = hub
        .push(&request.function, base, &args.source, &push)
        .map_err(|error| request.function.locate(error))?;
    if args.output.output != Format::Table {
        let shown = json!({
            "source": args.source,
            "name": pushed.name,
            "version": pushed.version,
            "tags": pushed.tags,
            "changed": pushed.changed,
            "path": pushed.path,
        });
        return data(&shown, args.output.output);
    }
    let tags = if pushed.tags.is_empty() { String::new() } else { format!(" ({})", pushed.tags.join(", ")) };
    let what = if pushed.changed { "pushed" } else { "already there:" };
    Ok(format!("{what} hub://{}/{}:{}{tags}\n", args.source, pushed.name, pushed.version))
}
