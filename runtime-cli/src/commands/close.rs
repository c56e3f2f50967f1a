//! `close`: ends deployments.

use runtimes::{Error, ErrorKind, Result};

use super::status::Named;
use crate::{
    home::Home,
    output::{human, stdio},
};

/// End deployments, and wait until they are gone
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The functions: their names ([PROJECT/]NAME), or their files
    #[arg(value_name = "FUNCTION", required = true)]
    functions: Vec<String>,
    /// The project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
}

pub(crate) async fn execute(args: Args, home: &Home) -> Result<u8> {
    let named = args.functions.iter().map(|text| Named::read(text, args.project.as_deref()));
    let named = named.collect::<Result<Vec<_>>>()?;
    let orchestrator = home.open_settled().await?;
    // All of them are found before one is ended.
    let mut all = Vec::new();
    for named in &named {
        let found = named.deployments(&orchestrator).await?;
        if found.is_empty() {
            return Err(Error::not_found(format!("{named} is not deployed"))
                .help("`runtimes status` lists what is deployed"));
        }
        all.extend(found);
    }
    for record in all {
        let run = &record.run;
        match orchestrator.abort(&run.key()).await {
            // It ended by itself.
            Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
            _ => {}
        }
        let line = format!("{} {} is closed\n", human::run(run), human::function(&run.spec.function));
        stdio::stdout(line.as_bytes())?;
    }
    Ok(0)
}
