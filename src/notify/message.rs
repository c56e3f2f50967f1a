//! What is said of a run.

use runtime_core::RunState;
#[cfg(feature = "http")]
use runtime_core::serde_json::{Value, json};

use super::Letter;

/// So many results are shown.
const RESULTS: usize = 10;

impl Letter<'_> {
    /// One line: `[info] train-fit 3f2a81c0 completed: accuracy=0.9`.
    pub(super) fn line(&self) -> String {
        let mut line = format!("[{}] {}", self.notification.severity(), self.title());
        let detail = self.detail();
        if !detail.is_empty() {
            line += &format!(": {detail}");
        }
        line.replace(['\n', '\r'], " ")
    }

    /// What happened, or what the notification says itself.
    fn title(&self) -> String {
        let run = self.run;
        let uid: String = run.metadata.uid.chars().take(8).collect();
        let what = format!("{}/{} {uid} {}", run.metadata.project, run.metadata.name, verb(self.state));
        match self.notification.message.as_str() {
            "" => what,
            message => format!("{message} ({what})"),
        }
    }

    /// Results, or what went wrong.
    fn detail(&self) -> String {
        let status = &self.run.status;
        match (self.state, &status.error) {
            (RunState::Running, _) => String::new(),
            (RunState::Error | RunState::Aborted, Some(error)) => error.clone(),
            _ => {
                let results = status.results.iter().take(RESULTS);
                results.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// For a web server: MLRun's fields.
    #[cfg(feature = "http")]
    pub(super) fn payload(&self) -> Value {
        json!({
            "message": self.title(),
            "severity": self.notification.severity(),
            "name": self.notification.name,
            "state": self.state,
            "runs": [self.run],
        })
    }

    /// For a channel of Slack.
    #[cfg(feature = "http")]
    pub(super) fn blocks(&self) -> Value {
        let title = escape(&self.title());
        let mut blocks = vec![json!({
            "type": "section",
            "text": {"type": "mrkdwn", "text": format!("*[{}]* {title}", self.notification.severity())},
        })];
        let detail: String = self.detail().chars().take(2000).collect();
        if !detail.is_empty() {
            let text = format!("```{}```", escape(&detail));
            blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
        }
        json!({"text": title, "blocks": blocks})
    }

    /// For a comment.
    #[cfg(feature = "http")]
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("**[{}]** {}\n", self.notification.severity(), self.title());
        let status = &self.run.status;
        if let (RunState::Error | RunState::Aborted, Some(error)) = (self.state, &status.error) {
            text += &format!("\n```\n{}\n```\n", error.replace("```", "'''"));
        } else if self.state != RunState::Running && !status.results.is_empty() {
            text += "\n| result | value |\n|---|---|\n";
            for (name, value) in status.results.iter().take(RESULTS) {
                text += &format!("| {name} | {} |\n", value.to_string().replace('|', "\\|"));
            }
        }
        text
    }
}

fn verb(state: RunState) -> &'static str {
    match state {
        RunState::Running => "is running",
        RunState::Completed => "completed",
        RunState::Error => "failed",
        RunState::Aborted => "was aborted",
        _ => state.as_str(),
    }
}

/// Slack's three characters.
#[cfg(feature = "http")]
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
