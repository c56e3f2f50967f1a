//! Who is told when a run begins or ends, as MLRun's notifications have it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Run, RunState, hyper::Condition};
use crate::{Error, Result, error::did_you_mean, secret};

/// The states about which somebody can be told.
pub const NOTIFIABLE: [RunState; 4] =
    [RunState::Running, RunState::Completed, RunState::Error, RunState::Aborted];

/// A secret parameter of this name holds all secret parameters, as one JSON object: how MLRun masks them.
const WHOLE: &str = "secret";

/// A part of a path that is so long may be a token.
const TOKEN: usize = 16;

/// How a message reaches somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationKind {
    /// A line on the standard error of whoever follows the run.
    #[default]
    #[serde(alias = "ipython")]
    Console,
    /// An HTTP request with the run as JSON.
    Webhook,
    /// A message in a Slack channel, by an incoming webhook.
    Slack,
    /// A comment on an issue or a merge request, at GitHub or GitLab.
    Git,
}

impl NotificationKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Console, Self::Webhook, Self::Slack, Self::Git];

    /// Its name, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Git => "git",
        }
    }

    /// The parameters without which it cannot be sent.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Console => &[],
            Self::Webhook => &["url"],
            Self::Slack => &["webhook"],
            Self::Git => &["repo", "token"],
        }
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for NotificationKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| unknown("kind", text, &names))
    }
}

/// One notification of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Its name, unique in the run; empty: its kind.
    #[serde(default)]
    pub name: String,
    /// How it is sent.
    #[serde(default)]
    pub kind: NotificationKind,
    /// The states that it tells of: `completed`, `error`, `aborted`, `running`; none: `completed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// It is sent only where this holds for the run's results: `accuracy < 0.9`.
    #[serde(default)]
    pub condition: String,
    /// `debug`, `verbose`, `info`, `warning` or `error`; empty: `info`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// What it says; empty: what became of the run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where it goes, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
    /// Parameters that are secret: the name of each, and the key of the project's secrets that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_params: Option<Map<String, Value>>,
    /// Fields that this version does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What became of a notification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NotificationStatus {
    /// `pending`, `sent` or `error`.
    pub status: String,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_time: Option<Timestamp>,
    /// Why it could not be sent, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Notification {
    /// A notification of this kind, about the run's completion.
    pub fn new(kind: NotificationKind) -> Self {
        Self { name: kind.as_str().to_owned(), kind, ..Self::default() }
    }

    /// The states that it tells of.
    ///
    /// # Errors
    /// `Invalid` for a state of which nobody is told.
    pub fn states(&self) -> Result<Vec<RunState>> {
        if self.when.is_empty() {
            return Ok(vec![RunState::Completed]);
        }
        let names = NOTIFIABLE.map(RunState::as_str);
        let state = |text: &String| {
            let found = NOTIFIABLE.into_iter().find(|state| state.as_str() == text);
            found.ok_or_else(|| unknown("when", text, &names))
        };
        self.when.iter().map(state).collect()
    }

    /// Its condition, where it has one. MLRun's form, `{{ run["status"]["results"]["accuracy"] > 0.9 }}`, is read too.
    ///
    /// # Errors
    /// `Invalid`, with an example.
    pub fn condition(&self) -> Result<Option<Condition>> {
        let text = self.condition.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).unwrap_or(text);
        plain(inner).parse().map(Some).map_err(|error: Error| error.at("condition"))
    }

    /// Whether it is to be sent now that the run is in this state.
    pub fn applies(&self, run: &Run) -> bool {
        // It was checked when the run was recorded; what is wrong with it now is not held back.
        self.states().is_ok_and(|states| states.contains(&run.state()))
            && self.condition().ok().flatten().is_none_or(|condition| condition.holds(&run.status.results))
    }

    /// Its severity.
    pub fn severity(&self) -> &str {
        if self.severity.is_empty() { "info" } else { &self.severity }
    }

    /// The keys of the project's secrets that it needs, by the parameter.
    ///
    /// # Errors
    /// `Invalid` where a secret parameter is no name of a key; it is not quoted.
    pub fn secret_keys(&self) -> Result<BTreeMap<&str, &str>> {
        let params = self.secret_params.iter().flatten();
        let key = |(name, value): (&'_ String, &'_ Value)| {
            let at = format!("secret_params.{name}");
            let key = value.as_str().ok_or_else(|| Error::invalid(&at, "it is not the name of a key"))?;
            secret::check_key(key).map_err(|error| error.at(&at))
        };
        params.clone().try_for_each(key)?;
        Ok(params.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect())
    }

    /// Whether all of its secret parameters are in one key.
    pub fn is_whole(&self) -> bool {
        self.secret_params.as_ref().is_some_and(|params| params.len() == 1 && params.contains_key(WHOLE))
    }

    /// Whether an address says who somebody is: by a password, in its query, or, as those of chat programs do, by a
    /// token in its path.
    pub fn is_secret_address(url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        host.contains('@') || rest.contains('?') || path.split('/').any(|part| part.len() >= TOKEN)
    }

    /// A parameter that is not secret, as text.
    pub fn param(&self, name: &str) -> Option<String> {
        match self.params.as_ref()?.get(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// Says what is wrong with it.
    ///
    /// # Errors
    /// `Invalid`, naming the field and what would be right.
    pub fn validate(&self) -> Result<()> {
        self.states()?;
        self.condition()?;
        let severities = ["debug", "verbose", "info", "warning", "error"];
        if !severities.contains(&self.severity()) {
            return Err(unknown("severity", &self.severity, &severities));
        }
        let secret = self.secret_keys()?;
        if self.is_whole() {
            return Ok(());
        }
        let has = |name: &str| self.param(name).is_some() || secret.contains_key(name);
        for name in self.kind.needs() {
            if !has(name) {
                return Err(Error::invalid(
                    format!("params.{name}"),
                    format!("a {} notification needs it", self.kind),
                )
                .help(
                    "give it in `params`, or where it is secret, the key that holds it in `secret_params`",
                ));
            }
        }
        if self.kind == NotificationKind::Git && !has("issue") && !has("merge_request") {
            return Err(Error::invalid(
                "params.issue",
                "a git notification comments on an issue or a merge request",
            )
            .help("give `issue` or `merge_request`: its number"));
        }
        Ok(())
    }
}

/// Names and checks the notifications of a run.
///
/// # Errors
/// `Invalid`, naming the notification, the field and what would be right.
pub fn prepare(notifications: &mut [Notification]) -> Result<()> {
    for index in 0..notifications.len() {
        let (before, [notification, ..]) = notifications.split_at_mut(index) else { continue };
        let at = format!("spec.notifications[{index}]");
        notification.validate().map_err(|error| error.under(&at))?;
        let taken = |name: &str| before.iter().any(|other| other.name == name);
        if notification.name.is_empty()
            || (notification.name == notification.kind.as_str() && taken(&notification.name))
        {
            let kind = notification.kind;
            let names = std::iter::once(kind.to_string()).chain((2..).map(|n| format!("{kind}-{n}")));
            notification.name = names.into_iter().find(|name| !taken(name)).unwrap_or_default();
        }
        if taken(&notification.name) {
            let message = format!("two notifications are called {:?}", notification.name);
            return Err(Error::invalid(format!("{at}.name"), message).help("give each its own name"));
        }
    }
    Ok(())
}

fn unknown(field: &str, text: &str, known: &[&str]) -> Error {
    let error = Error::invalid(field, format!("{text:?} is unknown here"));
    match did_you_mean(text, known.iter().copied()) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help(format!("one of: {}", known.join(", "))),
    }
}

/// Writes results as conditions name them, where they are written as MLRun's templates do.
fn plain(text: &str) -> String {
    let mut out = text.to_owned();
    for quote in ['"', '\''] {
        let before = format!("run[{quote}status{quote}][{quote}results{quote}][{quote}");
        while let Some(begin) = out.find(&before) {
            let name = begin + before.len();
            let Some(length) = out[name..].find(&format!("{quote}]")) else { break };
            let result = format!("`{}`", &out[name..name + length]);
            out.replace_range(begin..name + length + 2, &result);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<Notification>> {
        let mut list: Vec<Notification> = serde_json::from_value(value).unwrap();
        prepare(&mut list).map(|()| list)
    }

    #[test]
    fn conditions_of_both_forms() {
        let mut run = Run::default();
        run.status.state = RunState::Completed;
        run.status.results.insert("accuracy".into(), json!(0.8));
        for (condition, holds) in [
            ("", true),
            ("accuracy < 0.9", true),
            ("accuracy > 0.9", false),
            (r#"{{ run["status"]["results"]["accuracy"] < 0.9 }}"#, true),
            ("{{ run['status']['results']['accuracy'] > 0.9 }}", false),
            ("missing > 1", false),
        ] {
            let notification = Notification { condition: condition.into(), ..Notification::default() };
            notification.validate().unwrap();
            assert_eq!(notification.applies(&run), holds, "{condition}");
        }
    }

    #[test]
    fn names_are_made_and_kept_apart() {
        let list =
            read(json!([{"kind": "console"}, {"kind": "ipython"}, {"kind": "console", "name": "mine"}]))
                .unwrap();
        let names: Vec<_> = list.iter().map(|notification| notification.name.as_str()).collect();
        assert_eq!(names, ["console", "console-2", "mine"]);
        let twice = json!([{"kind": "console", "name": "a"}, {"kind": "console", "name": "a"}]);
        assert_eq!(read(twice).unwrap_err().location(), Some("spec.notifications[1].name"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, place, help) in [
            (json!({"when": ["complete"]}), "when", "did you mean `completed`?"),
            (json!({"severity": "loud"}), "severity", "one of"),
            (json!({"condition": "accuracy >"}), "condition", ""),
            (json!({"kind": "webhook"}), "params.url", "secret_params"),
            (json!({"kind": "slack", "params": {"webhook": ""}}), "params.webhook", ""),
            (json!({"kind": "git", "params": {"repo": "a/b", "token": "t"}}), "params.issue", ""),
            (
                json!({"kind": "slack", "secret_params": {"webhook": "https://h/s3cret"}}),
                "secret_params.webhook",
                "runtimes secret set",
            ),
        ] {
            let error = read(json!([value])).unwrap_err();
            assert_eq!(error.location().unwrap(), format!("spec.notifications[0].{place}"));
            assert!(error.help_text().unwrap_or_default().contains(help), "{error}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn addresses_that_say_who_one_is() {
        for (url, secret) in [
            ("https://example.org/hooks/train", false),
            ("http://localhost:8080", false),
            ("https://example.org/hook?sig=1", true),
            ("https://me:word@example.org/hook", true),
            ("https://example.org/api/webhooks/123/0a1B2c3D4e5F6g7H8i", true),
        ] {
            assert_eq!(Notification::is_secret_address(url), secret, "{url}");
        }
    }
}
