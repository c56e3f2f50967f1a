//! A run as people read it: the block at its end, all its details, and lists.

use std::path::Path;

use comfy_table::Cell;
use jiff::{Timestamp, tz::TimeZone};
use runtimes::{
    Run, RunState,
    core::{
        labels,
        run::{Artifact, Attempt, NotificationStatus},
        serde_json::{Map, Value},
        store::RunRecord,
    },
};

use super::{
    Color, Terminal, human,
    table::{self, Long, text},
};

/// How much of a value a table shows; the whole is in `-o json`.
const VALUE: usize = 200;

/// How many iterations the end of a run shows.
const ROWS: usize = 20;

/// What is shown, and against which folder and clock.
pub(crate) struct View<'a> {
    pub(crate) terminal: &'a Terminal,
    pub(crate) here: &'a Path,
    pub(crate) zone: TimeZone,
    pub(crate) now: Timestamp,
}

impl View<'_> {
    /// The block at the end of a run: what came out of it.
    pub(crate) fn result(&self, run: &Run, iterations: &[RunRecord]) -> String {
        let state = run.state();
        let mut line = self.terminal.paint(state_color(state), state.as_str());
        if let Some(took) = self.took(run) {
            line += &format!(" in {took}");
        }
        let mut out = format!("{line}: {} {}\n", run.metadata.name, human::run(run));
        if !iterations.is_empty() {
            out += &format!("\n{}", self.iterations(run, iterations, Some(ROWS)));
        }
        self.results(run, &mut out);
        notes(run, &mut out);
        out
    }

    /// Why a run did not end well, for stderr.
    pub(crate) fn failure(&self, run: &Run) -> Option<String> {
        let mut out = self.cause(run)?;
        out += &format!("  log: runtimes logs {}\n", human::run(run));
        Some(out)
    }

    fn cause(&self, run: &Run) -> Option<String> {
        let cause = run.status.cause.as_ref();
        let message = cause.map(|cause| cause.message.as_str()).or(run.status.error.as_deref())?;
        let label = match run.state() {
            RunState::Aborted => "aborted:",
            state if state.is_terminal() => "error:",
            _ => "trouble:",
        };
        let mut out = format!("{} {}\n", self.terminal.paint_stderr(Color::Red, label), indent(message));
        if let Some(help) = cause.and_then(|cause| cause.help.as_deref()) {
            out += &format!("  help: {}\n", indent(help));
        }
        Some(out)
    }

    /// Everything about a run.
    pub(crate) fn details(&self, record: &RunRecord) -> String {
        let run = &record.run;
        let (metadata, spec, status) = (&run.metadata, &run.spec, &run.status);
        let mut rows = Vec::new();
        let mut put = |name: &str, value: String| {
            if !value.is_empty() {
                rows.push(vec![text(name), text(value)]);
            }
        };
        put("run", metadata.name.clone());
        put("uid", run.key().to_string());
        put("project", metadata.project.clone());
        put("function", spec.function.clone());
        put("handler", spec.handler.clone());
        let code = status.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
        put("state", format!("{}{code}", status.state));
        put("target", record.target.clone());
        put("attempt", if record.attempt > 0 { (record.attempt + 1).to_string() } else { String::new() });
        let time =
            |time: Option<Timestamp>| time.map(|time| human::time(time, &self.zone)).unwrap_or_default();
        put("next attempt", time(status.retry_at));
        let count = run.status.iterations.len().saturating_sub(1);
        put("iterations", if count > 0 { count.to_string() } else { String::new() });
        put("addresses", addresses(run));
        put("uses", metadata.annotations.get(labels::USES).cloned().unwrap_or_default());
        put("started", time(started(run)));
        put("ended", time(status.end_time));
        put("duration", self.took(run).unwrap_or_default());
        let labels: Vec<_> = metadata.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        put("labels", labels.join(" "));
        let mut out = table::render(&[], rows, Long::Wrap, self.terminal);
        self.values(["PARAMETER", "VALUE"], &spec.parameters, &mut out);
        let inputs =
            spec.inputs.iter().map(|(name, path)| (name.clone(), Value::from(human::path(path, self.here))));
        self.values(["INPUT", "PATH"], &inputs.collect(), &mut out);
        self.results(run, &mut out);
        self.attempts(run, &mut out);
        self.notifications(run, &mut out);
        notes(run, &mut out);
        if let Some(cause) = self.cause(run) {
            out += &format!("\n{cause}");
        }
        out
    }

    /// A list of runs.
    pub(crate) fn list(&self, records: &[RunRecord]) -> String {
        let header = ["UID", "NAME", "FUNCTION", "STATE", "AGE", "DURATION", "RESULTS"];
        let row = |record: &RunRecord| {
            let run = &record.run;
            let since = run.status.start_time.or(run.status.last_update);
            vec![
                text(human::run(run)),
                text(human::shorten(&run.metadata.name, 32)),
                text(human::shorten(&human::function(&run.spec.function), 32)),
                table::state(run.state()),
                text(since.map(|since| human::age(since, self.now)).unwrap_or_default()),
                text(self.took(run).unwrap_or_default()),
                text(brief(run)),
            ]
        };
        table::render(&header, records.iter().map(row).collect(), Long::Cut, self.terminal)
    }

    /// What is deployed, and where it is.
    pub(crate) fn deployments(&self, records: &[RunRecord]) -> String {
        let header = ["FUNCTION", "STATE", "AGE", "UID", "ON", "ADDRESSES"];
        let row = |record: &RunRecord| {
            let run = &record.run;
            let since = run.status.start_time.or(run.status.last_update);
            vec![
                text(human::shorten(&human::function(&run.spec.function), 64)),
                table::state(run.state()),
                text(since.map(|since| human::age(since, self.now)).unwrap_or_default()),
                text(human::run(run)),
                text(record.target.as_str()),
                text(addresses(run)),
            ]
        };
        table::render(&header, records.iter().map(row).collect(), Long::Wrap, self.terminal)
    }

    fn results(&self, run: &Run, out: &mut String) {
        self.values(["RESULT", "VALUE"], &run.status.results, out);
        if !run.status.artifacts.is_empty() {
            out.push('\n');
            let rows = run.status.artifacts.iter().map(|artifact| self.artifact(artifact)).collect();
            *out += &table::render(&["ARTIFACT", "KIND", "SIZE", "PATH"], rows, Long::Wrap, self.terminal);
        }
    }

    fn artifact(&self, artifact: &Artifact) -> Vec<Cell> {
        let kind = if artifact.kind.is_empty() { "artifact" } else { &artifact.kind };
        vec![
            text(human::shorten(&artifact.metadata.key, VALUE)),
            text(human::shorten(kind, VALUE)),
            text(artifact.size().map(human::size).unwrap_or_default()),
            text(human::shorten(&human::path(artifact.target_path(), self.here), 4096)),
        ]
    }

    fn values(&self, header: [&str; 2], values: &Map<String, Value>, out: &mut String) {
        if values.is_empty() {
            return;
        }
        let row = |(key, value): (&String, &Value)| {
            vec![text(human::shorten(key, VALUE)), text(human::value(value, VALUE))]
        };
        out.push('\n');
        *out += &table::render(&header, values.iter().map(row).collect(), Long::Wrap, self.terminal);
    }

    /// How long it took, or takes by now.
    pub(super) fn took(&self, run: &Run) -> Option<String> {
        let end = run.status.end_time.unwrap_or(self.now);
        started(run).map(|start| human::duration(end.duration_since(start)))
    }

    /// Who was told of it.
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
        out.push('\n');
        let header = ["NOTIFICATION", "STATUS", "ATTEMPTS", "WHEN, OR WHY NOT"];
        let rows = run.status.notifications.iter().map(row).collect();
        *out += &table::render(&header, rows, Long::Wrap, self.terminal);
    }

    /// What became of each attempt, where there were several.
    fn attempts(&self, run: &Run, out: &mut String) {
        if run.status.attempts.is_empty() {
            return;
        }
        let row = |attempt: &Attempt| {
            let took =
                attempt.start_time.map(|start| human::duration(attempt.end_time.duration_since(start)));
            let why = attempt.cause.as_ref().map(|cause| human::shorten(&cause.message, VALUE));
            vec![
                text(attempt.attempt.to_string()),
                table::state(attempt.state),
                text(took.unwrap_or_default()),
                text(why.unwrap_or_default()),
            ]
        };
        out.push('\n');
        let rows = run.status.attempts.iter().map(row).collect();
        *out += &table::render(&["ATTEMPT", "STATE", "DURATION", "CAUSE"], rows, Long::Wrap, self.terminal);
    }
}

/// When its first attempt began.
fn started(run: &Run) -> Option<Timestamp> {
    run.status.attempts.first().and_then(|attempt| attempt.start_time).or(run.status.start_time)
}

/// The colour of a state.
fn state_color(state: RunState) -> Color {
    match state {
        RunState::Completed => Color::Green,
        RunState::Error => Color::Red,
        _ => Color::Yellow,
    }
}

/// Where others find it.
fn addresses(run: &Run) -> String {
    let all = run.status.addresses.iter().map(|(name, address)| format!("{name}={address}"));
    all.collect::<Vec<_>>().join(" ")
}

/// Results in a list's last column; of a failed run, why it failed.
fn brief(run: &Run) -> String {
    const WIDTH: usize = 48;
    if run.state() == RunState::Error
        && let Some(cause) = &run.status.cause
    {
        return human::shorten(&cause.message, WIDTH);
    }
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", human::brief(value, 16));
    human::shorten(&run.status.results.iter().take(8).map(pair).collect::<Vec<_>>().join(" "), WIDTH)
}

fn notes(run: &Run, out: &mut String) {
    if !run.status.notes.is_empty() {
        out.push('\n');
    }
    for note in &run.status.notes {
        *out += &format!("note: {}\n", indent(note));
    }
}

fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

#[cfg(test)]
mod tests;
