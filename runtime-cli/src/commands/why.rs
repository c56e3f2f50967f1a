//! `why`: why a run is in the state in which it is.

use jiff::Timestamp;
use runtimes::{Result, Run, RunState, core::serde_json::json};

use crate::{
    home::Home,
    output::{Format, OutputArgs, data, human, stdio},
};

const EXAMPLES: &str = "\
Examples:
  runtimes why 3f2a                  why it waits, or failed, and what to do
  runtimes why train-fit -o json     for programs: state, reason, message, help";

/// Say why a run waits or failed, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginning of a uid, or a name
    #[arg(value_name = "UID|NAME")]
    run: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn execute(args: Args, home: &Home) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    let run = orchestrator.find(&args.run).await?.run;
    let shown = match args.output.output {
        Format::Table => said(&run, Timestamp::now()),
        format => {
            let status = &run.status;
            let cause = status.cause.as_ref();
            let said = json!({
                "uid": run.metadata.uid,
                "name": run.metadata.name,
                "state": status.state,
                "since": status.last_update,
                "reason": cause.map(|cause| cause.reason),
                "message": cause.map(|cause| &cause.message),
                "help": cause.and_then(|cause| cause.help.as_ref()),
                "exit_code": status.exit_code,
                "attempts": status.attempts,
            });
            data(&said, format)?
        }
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(0)
}

/// In words: the state, the reason, the evidence, and what to do.
fn said(run: &Run, now: Timestamp) -> String {
    let state = run.state();
    let since = run.status.last_update.map(|since| human::duration(now.duration_since(since)));
    let since = match (state.is_terminal(), since) {
        (false, Some(since)) => format!(" for {since}"),
        _ => String::new(),
    };
    let mut text = format!("{} {} is {state}{since}", human::run(run), run.metadata.name);
    match &run.status.cause {
        Some(cause) => {
            text += &format!(": {:?}\n  {}\n", cause.reason, cause.message.replace('\n', "\n  "));
            if let Some(help) = &cause.help {
                text += &format!("  help: {}\n", help.replace('\n', "\n        "));
            }
        }
        None => text += &format!(": {}\n", without_cause(state)),
    }
    for attempt in &run.status.attempts {
        if let Some(cause) = attempt.cause.as_ref().filter(|_| attempt.state == RunState::Error) {
            text += &format!("  attempt {}: {:?}: {}\n", attempt.attempt, cause.reason, cause.message);
        }
    }
    text
}

fn without_cause(state: RunState) -> &'static str {
    match state {
        RunState::Created => "nothing was started yet",
        RunState::Pending => "it is being prepared, and nothing is wrong with it",
        RunState::Running => "its code runs, and nothing is wrong with it",
        RunState::Completed => "its code ended well",
        RunState::PendingRetry => "its next attempt begins when its time has come",
        RunState::Aborting => "it was asked to stop",
        RunState::Aborted => "it was stopped on request",
        _ => "no more is known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::core::run::{Cause, Reason};

    #[test]
    fn the_reason_the_evidence_and_what_to_do_are_said() {
        let now = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(90);
        let mut run = Run::default();
        run.metadata.uid = "3f2a".repeat(8);
        run.metadata.name = "train-fit".to_owned();
        run.transition(RunState::Pending, Timestamp::UNIX_EPOCH).unwrap();
        assert!(
            said(&run, now)
                .ends_with("is pending for 1m30s: it is being prepared, and nothing is wrong with it\n")
        );
        let cause = Cause::new(Reason::ImagePull, "the image nope:1 cannot be pulled").help("check the name");
        run.status.cause = Some(cause);
        let text = said(&run, now);
        assert!(text.contains("is pending for 1m30s: ImagePull\n  the image nope:1 cannot be pulled\n  help: check the name\n"), "{text}");
    }
}
