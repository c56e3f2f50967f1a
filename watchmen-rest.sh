#!/bin/bash
# The rest of the command's part of `watchmen`: written, never compiled. Run once, in the worktree of that branch.
set -e
cd /work/wt/watchmen
cat > runtime-cli/src/commands/schedule.rs <<'E'
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
            stdio::stderr(format!("{name} is suspended; resume it: runtimes schedule resume {name}\n").as_bytes());
        }
        Action::Resume(Named { name }) => {
            let record = orchestrator.suspend_schedule(&name, false).await?;
            stdio::stderr(format!("{name} goes on: {}\n", next(&record, terminal)).as_bytes());
        }
        Action::Delete(Named { name }) => {
            orchestrator.delete_schedule(&name).await?;
            stdio::stderr(format!("{name} is forgotten\n").as_bytes());
        }
    }
    Ok(0)
}

/// Says what was scheduled.
pub(crate) fn announce(record: &ScheduleRecord, format: Format, terminal: &Terminal) -> Result<()> {
    if format != Format::Table {
        return stdio::stdout(data(record, format)?.as_bytes()).map(drop);
    }
    let name = &record.schedule.name;
    stdio::stdout(format!("{}/{name}\n", record.project).as_bytes())?;
    let text = format!("{}\nit is fired by: runtimes daemon\n", next(record, terminal));
    stdio::stderr(text.as_bytes());
    Ok(())
}

fn next(record: &ScheduleRecord, _: &Terminal) -> String {
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
        let last = record.last.as_ref().map(|last| {
            format!("{} {}", in_zone(schedule, last.time), human::uid(&last.uid))
        });
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
E
sed -i 's/fn next(record: &ScheduleRecord, _: &Terminal)/fn next(record: \&ScheduleRecord)/; s/next(record, terminal)/next(record)/; s/next(&record, terminal)/next(\&record)/; s/pub(crate) fn announce(record: &ScheduleRecord, format: Format, terminal: &Terminal)/pub(crate) fn announce(record: \&ScheduleRecord, format: Format)/' runtime-cli/src/commands/schedule.rs
cat > runtime-cli/src/commands/daemon.rs <<'E'
//! `daemon`: stays, and does what is due.

use jiff::Timestamp;
use runtimes::Result;

use crate::{home::Home, output::stdio, signals::Signals};

const HELP: &str = "\
It stays in the foreground and says on stdout what it does; a service manager can start it as it is.
Ctrl-C or TERM ends it: runs that it started go on, and whoever looks next follows them. Any number
of daemons may serve one record: each time of a schedule is fired once.";

/// Fire schedules, send notifications, and take up runs that nobody follows
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {}

pub(crate) async fn execute(_: Args, home: &Home) -> Result<u8> {
    let mut signals = Signals::listen()?;
    let orchestrator = home.open().await?;
    let schedules = orchestrator.schedules(None).await?.len();
    say(&format!("serving {}; schedules: {schedules}", home.path().display()));
    let cancel = async {
        signals.next().await;
    };
    orchestrator.serve(cancel, |served| say(&served.to_string())).await;
    say("ending; runs that go on are followed by whoever looks next");
    orchestrator.close().await?;
    Ok(0)
}

fn say(what: &str) {
    // A reader that went away does not keep schedules from being fired.
    let _ = stdio::stdout(format!("{:.0} {what}\n", Timestamp::now()).as_bytes());
}
E
cat > runtime-cli/src/commands/run/watch.rs <<'E'
//! Secrets, notifications and schedules of a run.

use std::time::Duration;

use runtimes::{
    Error, ErrorKind, Request, Result,
    core::{
        run::{Notification, NotificationKind, SecretSources},
        secret::check_key,
        serde_json::{Map, Value},
    },
    schedule::{Concurrency, Schedule},
};

use crate::parse::{self, Pair};

/// What is told, and to whom.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Notifications and secrets")]
pub(super) struct NotifyArgs {
    /// Tell somebody when it ends: console, webhook=URL, slack=secret:KEY, git=OWNER/REPO#12
    ///
    /// secret:KEY names a key of the project's secrets that holds the address. A git notification comments on that
    /// issue with the token in the secret GIT_TOKEN.
    #[arg(long, value_name = "KIND[=WHERE]", value_parser = notification)]
    notify: Vec<Notification>,
    /// Of which states [completed,error,aborted]
    #[arg(long, value_name = "STATES", value_delimiter = ',', requires = "notify",
          value_parser = ["completed", "error", "aborted", "running"])]
    notify_when: Vec<String>,
    /// Only where this holds for its results: accuracy < 0.9
    #[arg(long, value_name = "CONDITION", requires = "notify")]
    notify_if: Option<String>,
    /// What it says
    #[arg(long, value_name = "TEXT", requires = "notify")]
    notify_message: Option<String>,
    /// Secrets for this run: env=A,B (variables), file=PATH (KEY=VALUE lines), kubernetes=A,B (only these of the
    /// project's)
    #[arg(long, value_name = "KIND=SOURCE", value_parser = parse::pair)]
    secrets: Vec<Pair>,
}

/// When it is run.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Schedule")]
pub(super) struct ScheduleArgs {
    /// Do not run it now, but at these times: '*/10 * * * *', @hourly (`runtimes daemon` does it)
    #[arg(long, value_name = "CRON", conflicts_with_all = ["detach", "watch", "count"])]
    schedule: Option<String>,
    /// The name of the schedule [the run's]
    #[arg(long, value_name = "NAME", requires = "schedule")]
    schedule_name: Option<String>,
    /// The time zone in which it is read [UTC]
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    time_zone: Option<String>,
    /// Where the run of an earlier time goes on: allow, forbid, replace [forbid]
    #[arg(long, value_name = "POLICY", requires = "schedule")]
    concurrency: Option<Concurrency>,
    /// Skip a time that is missed by more than this [any time later]
    #[arg(long, value_name = "TIME", requires = "schedule", value_parser = parse::duration)]
    starting_deadline: Option<Duration>,
}

impl ScheduleArgs {
    /// The schedule that is asked for.
    pub(super) fn take(&mut self) -> Option<Schedule> {
        let cron = self.schedule.take()?;
        Some(Schedule {
            name: self.schedule_name.take().unwrap_or_default(),
            time_zone: self.time_zone.take().unwrap_or_default(),
            concurrency: self.concurrency.unwrap_or_default(),
            starting_deadline_seconds: self.starting_deadline.map(|limit| limit.as_secs()),
            ..Schedule::new(cron)
        })
    }
}

/// Puts notifications and secrets on the request.
pub(super) fn notify(request: &mut Request, args: NotifyArgs) -> Result<()> {
    let NotifyArgs { notify, notify_when, notify_if, notify_message, secrets } = args;
    for mut notification in notify {
        notification.when = match notify_when.is_empty() {
            true => ["completed", "error", "aborted"].map(str::to_owned).to_vec(),
            false => notify_when.clone(),
        };
        notification.condition = notify_if.clone().unwrap_or_default();
        notification.message = notify_message.clone().unwrap_or_default();
        request.spec.notifications.push(notification);
    }
    for (kind, source) in secrets {
        let names = || source.split(',').map(|name| name.trim().to_owned()).collect();
        request.spec.secret_sources.push(match kind.as_str() {
            "env" => SecretSources::Env(names()),
            "file" => SecretSources::File(parse::absolute(source.as_ref()).map_err(|error| error.at("--secrets"))?),
            "kubernetes" => SecretSources::Kubernetes(names()),
            // A value on the command line can be read by everybody on this machine.
            "inline" => {
                return Err(Error::invalid("--secrets", "values are not taken from the command line")
                    .help("use env=NAME or file=PATH, or keep it: runtimes secret set NAME"));
            }
            other => {
                return Err(Error::invalid("--secrets", format!("there are no secrets of the kind {other:?}"))
                    .help("env, file or kubernetes"));
            }
        });
    }
    Ok(())
}

/// Reads `KIND[=WHERE]`.
fn notification(text: &str) -> Result<Notification> {
    let (kind, place) = text.split_once('=').unwrap_or((text, ""));
    let kind: NotificationKind = kind.trim().parse()?;
    let mut notification = Notification { name: String::new(), ..Notification::new(kind) };
    let wrong = |help: &str| {
        Err(Error::new(ErrorKind::Invalid, format!("where does the {kind} notification go?")).help(help))
    };
    let (mut params, mut secret) = (Map::new(), Map::new());
    match (kind, place.strip_prefix("secret:")) {
        (NotificationKind::Console, _) if place.is_empty() => {}
        (NotificationKind::Console, _) => return wrong("write `console` alone"),
        (NotificationKind::Webhook | NotificationKind::Slack, Some(key)) => {
            check_key(key)?;
            let name = if kind == NotificationKind::Slack { "webhook" } else { "url" };
            secret.insert(name.to_owned(), Value::from(key));
        }
        (NotificationKind::Webhook, None) if !place.is_empty() => {
            params.insert("url".to_owned(), Value::from(place));
        }
        (NotificationKind::Slack, None) if place.starts_with("https://") => {
            params.insert("webhook".to_owned(), Value::from(place));
        }
        (NotificationKind::Webhook, _) => return wrong("write webhook=URL, or webhook=secret:KEY"),
        (NotificationKind::Slack, _) => return wrong("write slack=secret:KEY: the key that holds the webhook's URL"),
        (_, _) => {
            let Some((repo, issue)) = place.rsplit_once('#') else { return wrong("write git=OWNER/REPO#12") };
            params.insert("repo".to_owned(), Value::from(repo));
            params.insert("issue".to_owned(), Value::from(issue));
            secret.insert("token".to_owned(), Value::from("GIT_TOKEN"));
        }
    }
    notification.params = Some(params).filter(|params| !params.is_empty());
    notification.secret_params = Some(secret).filter(|params| !params.is_empty());
    Ok(notification)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::core::serde_json::json;

    #[test]
    fn where_notifications_go() {
        let read = |text| notification(text).map(|one| json!([one.kind, one.params, one.secret_params]));
        assert_eq!(read("console").unwrap(), json!(["console", null, null]));
        assert_eq!(read("webhook=http://h/x").unwrap(), json!(["webhook", {"url": "http://h/x"}, null]));
        assert_eq!(read("slack=secret:S").unwrap(), json!(["slack", null, {"webhook": "S"}]));
        let git = json!(["git", {"repo": "a/b", "issue": "12"}, {"token": "GIT_TOKEN"}]);
        assert_eq!(read("git=a/b#12").unwrap(), git);
        for wrong in ["console=x", "webhook", "slack", "slack=x", "git=a/b", "mail=x", "webhook=secret:a/b"] {
            assert!(read(wrong).unwrap_err().help_text().is_some(), "{wrong}");
        }
    }
}
E
python3 - <<'E'
def sub(p,*pairs):
    s=open(p).read()
    for a,b in pairs:
        assert a in s,(p,a)
        s=s.replace(a,b,1)
    open(p,'w').write(s)
C='runtime-cli/src/'
sub(C+'cli.rs',
('    commands::{abort, completions, delete, env, follow, function, get, hub, kinds, logs, rerun, run, runs},\n',
'''    commands::{
        abort, completions, daemon, delete, env, follow, function, get, hub, kinds, logs, rerun, run, runs, schedule,
        secret,
    },
'''),
('    Hub(hub::Args),\n','    Hub(hub::Args),\n    Secret(secret::Args),\n    Schedule(schedule::Args),\n    Daemon(daemon::Args),\n'),
('            Self::Hub(args) => hub::execute(args, home, terminal).await,\n','''            Self::Hub(args) => hub::execute(args, home, terminal).await,
            Self::Secret(args) => secret::execute(args, home),
            Self::Schedule(args) => schedule::execute(args, home, terminal).await,
            Self::Daemon(args) => daemon::execute(args, home).await,
'''),
('            Self::Env(args) => args.format(),\n','            Self::Env(args) => args.format(),\n            Self::Secret(args) => args.format(),\n            Self::Schedule(args) => args.format(),\n'))
sub(C+'commands/mod.rs',('pub(crate) mod delete;','pub(crate) mod daemon;\npub(crate) mod delete;'),('pub(crate) mod runs;\n','pub(crate) mod runs;\npub(crate) mod schedule;\npub(crate) mod secret;\n'))
sub(C+'commands/run/mod.rs',('    record: RecordArgs,\n\n','''    record: RecordArgs,
    #[command(flatten)]
    notify: watch::NotifyArgs,
    #[command(flatten)]
    schedule: watch::ScheduleArgs,

'''),('    let format = args.output.output;\n    let source','    let format = args.output.output;\n    let schedule = args.schedule.take();\n    let source'),
('    match count {\n        _ if detach','''    if let Some(schedule) = schedule {
        let record = orchestrator.schedule(schedule, request).await?;
        super::schedule::announce(&record, format)?;
        return Ok(0);
    }
    match count {
        _ if detach'''))
s=open(C+'commands/run/mod.rs').read()
s=s.replace('pub(crate) mod single;\n','pub(crate) mod single;\nmod watch;\n',1) if 'pub(crate) mod single;' in s else s.replace('mod single;\n','mod single;\nmod watch;\n',1)
s=s.replace('''  runtimes run train.py --handler fit -x lr''','''  runtimes run train.py --notify slack=secret:SLACK --schedule '30 2 * * *'
  runtimes run train.py --handler fit -x lr''',1)
open(C+'commands/run/mod.rs','w').write(s)
sub(C+'commands/run/request.rs',('    record(request, args.record)\n','    watch::notify(&mut request, args.notify)?;\n    record(request, args.record)\n'),('RecordArgs, hyper};','RecordArgs, hyper, watch};'))
sub(C+'home.rs',('        if !orchestrator.orphans().await?.is_empty() {\n','''        let late = |due: Timestamp| due <= Timestamp::now();
        if !orchestrator.orphans().await?.is_empty() || orchestrator.next_delivery().await?.is_some_and(late) {
'''))
s=open(C+'home.rs').read()
s=s.replace('use runtimes::{Error','use runtimes::{core::jiff::Timestamp, Error',1)
open(C+'home.rs','w').write(s)
sub(C+'commands/follow.rs',('        () = orchestrator.idle() => 0,','''        () = async {
            orchestrator.idle().await;
            orchestrator.flush(PATIENCE).await;
        } => 0,'''),('/// Follow the runs','''/// How long it waits for somebody who is to be told of a run and does not listen at the moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Follow the runs'''),('use runtimes::Result;','use std::time::Duration;\n\nuse runtimes::Result;'))
sub(C+'output/run.rs',('        self.attempts(run, &mut out);\n        notes','        self.attempts(run, &mut out);\n        self.notifications(run, &mut out);\n        notes'),
('    /// What became of each attempt','''    /// Who was told of it.
    fn notifications(&self, run: &Run, out: &mut String) {
        if run.status.notifications.is_empty() {
            return;
        }
        let row = |(name, status): (&String, &NotificationStatus)| {
            let when = status.sent_time.map(|time| human::time(time, &self.zone));
            let why = status.reason.as_ref().map(|why| human::shorten(why, VALUE));
            vec![
                text(name.as_str()),
                text(status.status.as_str()),
                text(status.attempts.to_string()),
                text(when.or(why).unwrap_or_default()),
            ]
        };
        out.push('\\n');
        let header = ["NOTIFICATION", "STATUS", "ATTEMPTS", "WHEN, OR WHY NOT"];
        let rows = run.status.notifications.iter().map(row).collect();
        *out += &table::render(&header, rows, Long::Wrap, self.terminal);
    }

    /// What became of each attempt'''),('        run::{Artifact, Attempt},','        run::{Artifact, Attempt, NotificationStatus},'))
s=open('runtime-cli/Cargo.toml').read()
import re
s=s.replace('serde.workspace = true\n','rustix = { workspace = true, features = ["termios", "stdio"] }\nserde.workspace = true\n',1)
open('runtime-cli/Cargo.toml','w').write(s)
E
