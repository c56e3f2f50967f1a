//! What a notification says, and how it reaches somebody.

#[cfg(feature = "http")]
mod http;
mod message;

use std::{fmt, time::Duration};

use runtime_core::{
    Run, RunState,
    run::{Notification, NotificationKind},
    secret::{SecretSource, project_secret},
    serde_json::{self, Map, Value},
};

/// Why one was not sent. Neither parameters nor answers stand in it: they may hold secrets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// It may work later.
    pub(crate) again: bool,
    /// When, where the other side says so.
    pub(crate) after: Option<Duration>,
}

impl Failure {
    /// It never works.
    pub(crate) fn last(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: false, after: None }
    }

    /// It may work later.
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self { again: true, ..Self::last(message) }
    }
}

/// The parameters of a notification, with those that are secret; it cannot be printed.
pub(crate) struct Params(Map<String, Value>);

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "lines on a console need no parameters"))]
impl Params {
    /// A parameter, as text.
    fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// A parameter that must be there.
    fn required(&self, name: &str) -> Result<String, Failure> {
        self.text(name).ok_or_else(|| Failure::last(format!("it has no parameter `{name}`")))
    }

    /// A mapping; a secret one is written as JSON.
    fn map(&self, name: &str) -> Result<Option<Map<String, Value>>, Failure> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text)
                .map(Some)
                .map_err(|_| Failure::last(format!("the parameter `{name}` is no mapping"))),
            Some(_) => Err(Failure::last(format!("the parameter `{name}` is no mapping"))),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        matches!(self.text(name).as_deref(), Some("true" | "True" | "1"))
    }
}

/// The parameters of a notification, its secrets looked up now.
pub(crate) fn params(
    notification: &Notification,
    source: Option<&dyn SecretSource>,
    project: &str,
) -> Result<Params, Failure> {
    let mut params = notification.params.clone().unwrap_or_default();
    let keys = notification.secret_keys().map_err(|error| Failure::last(error.message()))?;
    for (name, key) in keys {
        let missing = || Failure::passing(format!("the project {project:?} has no secret {key:?}"));
        let found = source.ok_or_else(missing)?.get(&project_secret(project), key);
        let value = found.map_err(|error| Failure::passing(error.message()))?.ok_or_else(missing)?;
        if notification.is_whole() {
            let whole: Map<String, Value> = serde_json::from_str(value.expose())
                .map_err(|_| Failure::last(format!("the secret {key:?} is no JSON object of parameters")))?;
            params.extend(whole);
        } else {
            params.insert(name.to_owned(), Value::String(value.expose().to_owned()));
        }
    }
    Ok(Params(params))
}

/// One notification that is to be sent.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "a line on a console has no id"))]
pub(crate) struct Letter<'a> {
    /// The same whenever it is sent again.
    pub(crate) id: &'a str,
    pub(crate) notification: &'a Notification,
    /// The state of which it tells.
    pub(crate) state: RunState,
    pub(crate) run: &'a Run,
    pub(crate) params: Params,
}

impl Letter<'_> {
    /// Sends it.
    pub(crate) async fn send(&self) -> Result<(), Failure> {
        match self.notification.kind {
            NotificationKind::Console => {
                use std::io::Write;
                let line = format!("{}\n", self.line());
                // Nobody may be there to read it, which is no reason to try again.
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
                Ok(())
            }
            #[cfg(feature = "http")]
            NotificationKind::Webhook => self.webhook().await,
            #[cfg(feature = "http")]
            NotificationKind::Slack => self.slack().await,
            #[cfg(feature = "http")]
            NotificationKind::Git => self.git().await,
            #[cfg(not(feature = "http"))]
            kind => Err(Failure::passing(format!(
                "this program cannot send {kind}: build it with the feature `http`"
            ))),
        }
    }
}
