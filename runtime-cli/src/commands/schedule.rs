//! `schedule`: what is run again and again; `run --schedule` makes one.

use jiff::{Timestamp, tz::TimeZone};
use runtimes::{
    Result,
    schedule::{Schedule, ScheduleRecord},
};

use super::run::detached;
use crate::{
    home::Home,
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes run train.py --handler fit --schedule '30 2 * * MON-FRI' --time-zone Europe/Berlin
  runtimes schedule list
  runtimes schedule trigger train-fit      run it now
  runtimes schedule suspend train-fit

Schedules are fired by `runtimes daemon`; any number of daemons may do so, each time is fired once.
Of times that were missed, the last one is made up for, within --starting-deadline; the others are
noted as skipped. Runs have the label mlrun/schedule-name.";

/// List and change schedules
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the schedules
    List {
        /// Of this project
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Run it now, whatever its times and its other runs are
    Trigger(Named),
    /// Let it wait until it is resumed
    Suspend(Named),
    /// Let it go on, from its next time
    Resume(Named),
    /// Forget it; its runs stay
    Delete(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The schedule: [PROJECT/]NAME
    #[arg(value_name = "SCHEDULE")]
    name: String,
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            Action::List { output, .. } => output.output,
            _ => Format::Table,
        }
    }
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    match args.action {
        Action::List { project, output } => {
            let list = orchestrator.schedules(project.as_deref()).await?;
            let shown = match output.output {
                Format::Table if list.is_empty() => {
                    stdio::stderr(b"no schedules\n");
                    String::new()
                }
                Format::Table => render(&list, terminal),
                format => data(&list, format)?,
            };
            stdio::stdout(shown.as_bytes())?;
        }
        Action::Trigger(Named { name }) => {
            let request = orchestrator.scheduled_request(&name).await?;
            return detached(&orchestrator, request, home, Format::Table).await;
        }
        Action::Suspend(Named { name }) => {
            orchestrator.suspend_schedule(&name, true).await?;
            stdio::stderr(
                format!("{name} is suspended; resume it: runtimes schedule resume {name}\n").as_bytes(),
            );
        }
        Action::Resume(Named { name }) => {
            let record = orchestrator.suspend_schedule(&name, false).await?;
            stdio::stderr(format!("{name} goes on: {}\n", next(&record)).as_bytes());
        }
        Action::Delete(Named { name }) => {
            orchestrator.delete_schedule(&name).await?;
            stdio::stderr(format!("{name} is forgotten\n").as_bytes());
        }
    }
    Ok(0)
}

/// Says what was scheduled.
pub(crate) fn announce(record: &ScheduleRecord, format: Format) -> Result<()> {
    if format != Format::Table {
        return stdio::stdout(data(record, format)?.as_bytes()).map(drop);
    }
    let name = &record.schedule.name;
    stdio::stdout(format!("{}/{name}\n", record.project).as_bytes())?;
    let text = format!("{}\nit is fired by: runtimes daemon\n", next(record));
    stdio::stderr(text.as_bytes());
    Ok(())
}

fn next(record: &ScheduleRecord) -> String {
    match record.next {
        Some(time) => format!("next at {}", in_zone(&record.schedule, time)),
        None => "it does not come again".to_owned(),
    }
}

/// A time as the schedule reads it.
fn in_zone(schedule: &Schedule, time: Timestamp) -> String {
    let zone = TimeZone::get(&schedule.time_zone).unwrap_or(TimeZone::UTC);
    time.to_zoned(zone).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

fn render(list: &[ScheduleRecord], terminal: &Terminal) -> String {
    let row = |record: &ScheduleRecord| {
        let schedule = &record.schedule;
        let next = match record.next {
            _ if record.suspended => "suspended".to_owned(),
            Some(time) => in_zone(schedule, time),
            None => "never".to_owned(),
        };
        let last = record
            .last
            .as_ref()
            .map(|last| format!("{} {}", in_zone(schedule, last.time), human::uid(&last.uid)));
        let skipped = record.skipped.as_ref().map(|skipped| {
            format!("{}: {}", in_zone(schedule, skipped.time), human::shorten(&skipped.reason, 60))
        });
        vec![
            text(format!("{}/{}", record.project, schedule.name)),
            text(&*schedule.cron),
            text(next),
            text(last.unwrap_or_default()),
            text(schedule.concurrency.as_str()),
            text(skipped.unwrap_or_default()),
        ]
    };
    let header = ["SCHEDULE", "CRON", "NEXT", "LAST", "CONCURRENCY", "SKIPPED"];
    table::render(&header, list.iter().map(row).collect(), Long::Cut, terminal)
}
