//! Secrets, notifications and schedules of a run.

use std::time::Duration;

use runtimes::{
    Error, Request, Result,
    core::{
        run::{Notification, NotificationKind, SecretSources},
        secret::check_key,
        serde_json::{Map, Value},
    },
    schedule::{Concurrency, Schedule},
};

use crate::parse;

/// What is told, and to whom.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Notifications and secrets")]
pub(super) struct NotifyArgs {
    /// Tell somebody when it ends: console, webhook=URL, slack=secret:KEY, git=OWNER/REPO#12
    ///
    /// secret:KEY names a key of the project's secrets that holds the address. A git notification comments on that
    /// issue with the token in the secret GIT_TOKEN.
    #[arg(long, value_name = "KIND[=WHERE]")]
    notify: Vec<String>,
    /// Of which states [completed,error,aborted]
    #[arg(long, value_name = "STATES", value_delimiter = ',', requires = "notify",
          value_parser = ["completed", "error", "aborted", "running"])]
    notify_when: Vec<String>,
    /// How much it matters [info]
    #[arg(long, value_name = "SEVERITY", requires = "notify",
          value_parser = ["debug", "verbose", "info", "warning", "error"])]
    notify_severity: Option<String>,
    /// Only where this holds for its results: accuracy < 0.9
    #[arg(long, value_name = "CONDITION", requires = "notify")]
    notify_if: Option<String>,
    /// What it says
    #[arg(long, value_name = "TEXT", requires = "notify")]
    notify_message: Option<String>,
    /// Secrets for this run: env=A,B (variables), file=PATH (KEY=VALUE lines), kubernetes=A,B (only these of the
    /// project's)
    #[arg(long, value_name = "KIND=SOURCE")]
    secrets: Vec<String>,
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
    let NotifyArgs { notify, notify_when, notify_severity, notify_if, notify_message, secrets } = args;
    for text in notify {
        // Not read by clap, which would quote what is wrong: it may be a secret.
        let mut notification = notification(&text)?;
        notification.when = match notify_when.is_empty() {
            true => ["completed", "error", "aborted"].map(str::to_owned).to_vec(),
            false => notify_when.clone(),
        };
        notification.severity = notify_severity.clone().unwrap_or_default();
        notification.condition = notify_if.clone().unwrap_or_default();
        notification.message = notify_message.clone().unwrap_or_default();
        request.spec.notifications.push(notification);
    }
    for text in secrets {
        let Some((kind, source)) = text.split_once('=') else {
            return Err(Error::invalid("--secrets", "it is not KIND=SOURCE")
                .help("env=NAME, file=PATH or kubernetes=KEY"));
        };
        let names = || source.split(',').map(|name| name.trim().to_owned()).collect();
        request.spec.secret_sources.push(match kind {
            "env" => SecretSources::Env(names()),
            "file" => {
                SecretSources::File(parse::absolute(source.as_ref()).map_err(|error| error.at("--secrets"))?)
            }
            "kubernetes" => SecretSources::Kubernetes(names()),
            // A value on the command line can be read by everybody on this machine.
            "inline" => {
                return Err(Error::invalid("--secrets", "values are not taken from the command line")
                    .help("use env=NAME or file=PATH, or keep it: runtimes secret set NAME"));
            }
            other => {
                return Err(Error::invalid(
                    "--secrets",
                    format!("there are no secrets of the kind {other:?}"),
                )
                .help("env, file or kubernetes"));
            }
        });
    }
    Ok(())
}

/// Reads `KIND[=WHERE]`.
fn notification(text: &str) -> Result<Notification> {
    let (kind, place) = text.split_once('=').unwrap_or((text, ""));
    let kind: NotificationKind = kind.trim().parse().map_err(|error: Error| error.under("--notify"))?;
    let mut notification = Notification { name: String::new(), ..Notification::new(kind) };
    let wrong = |help: &str| {
        Err(Error::invalid("--notify", format!("where does the {kind} notification go?")).help(help))
    };
    if !place.starts_with("secret:")
        && (kind == NotificationKind::Slack && !place.is_empty() || Notification::is_secret_address(place))
    {
        let message =
            "this address is a secret, and the command line can be read by everybody on this machine";
        return Err(Error::invalid("--notify", message)
            .help(format!("keep it: `runtimes secret set NAME`; then `--notify {kind}=secret:NAME`")));
    }
    let (mut params, mut secret) = (Map::new(), Map::new());
    match (kind, place.strip_prefix("secret:")) {
        (NotificationKind::Console, _) if place.is_empty() => {}
        (NotificationKind::Console, _) => return wrong("write `console` alone"),
        (NotificationKind::Webhook | NotificationKind::Slack, Some(key)) => {
            check_key(key).map_err(|error| error.at("--notify"))?;
            let name = if kind == NotificationKind::Slack { "webhook" } else { "url" };
            secret.insert(name.to_owned(), Value::from(key));
        }
        (NotificationKind::Webhook, None) if !place.is_empty() => {
            params.insert("url".to_owned(), Value::from(place));
        }
        (NotificationKind::Webhook, _) => return wrong("write webhook=URL, or webhook=secret:KEY"),
        (NotificationKind::Slack, _) => {
            return wrong("write slack=secret:KEY: the key that holds the webhook's URL");
        }
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
        for secret in [
            "slack=https://h/s3cret",
            "webhook=https://u:s3cret@h/",
            "webhook=https://h/x?s3cret",
            "webhook=https://h/s3cret/0a1B2c3D4e5F6g7H8i",
        ] {
            let error = read(secret).unwrap_err();
            assert!(
                !error.to_string().contains("s3cret") && error.help_text().unwrap().contains("secret set")
            );
        }
        for wrong in ["console=x", "webhook", "slack", "slack=x", "git=a/b", "mail=x", "webhook=secret:a/b"] {
            assert!(read(wrong).unwrap_err().help_text().is_some(), "{wrong}");
        }
    }
}
