//! What is shown of a run while it goes on.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runtimes::{
    Error, Run, Update,
    core::logs::{LogLine, Stream},
};

use crate::output::{Format, Terminal, human, log::LogPrinter, stdio, stdio::Reader};

/// Shows a run: on a terminal a line at the bottom says what it is doing, and the log runs above it; in a pipe
/// there is the log alone.
pub(crate) struct Live {
    stdout: LogPrinter,
    stderr: LogPrinter,
    /// Whether stdout is kept for the run's record.
    data: bool,
    bar: Option<ProgressBar>,
    title: String,
    step: String,
    /// Each of its iterations has a line in its log, too.
    hyper: bool,
    reader: Reader,
    failure: Option<Error>,
}

impl Live {
    pub(crate) fn new(format: Format, terminal: &Terminal) -> Self {
        Self {
            stdout: LogPrinter::new(terminal.colored(), false),
            stderr: LogPrinter::new(terminal.color && terminal.stderr, false),
            data: format != Format::Table,
            bar: (terminal.stderr && !terminal.dumb).then(spinner),
            title: String::new(),
            step: String::new(),
            hyper: false,
            reader: Reader::There,
            failure: None,
        }
    }

    /// Shows what happened; returns the run as it is now, where that changed.
    pub(crate) fn show(&mut self, updates: Vec<Update>) -> Option<Run> {
        let mut out = Chunks::default();
        let mut last = None;
        for update in updates {
            match update {
                Update::Run(run) => {
                    self.title =
                        format!("{} {} {}", run.metadata.name, human::uid(&run.metadata.uid), run.state());
                    self.step.clear();
                    self.hyper = run.spec.is_hyper();
                    last = Some(*run);
                }
                Update::Log(line) => self.log(&line, &mut out),
                Update::Progress(step) => self.progress(step, &mut out),
            }
        }
        if let Some(bar) = &self.bar {
            let colon = if self.step.is_empty() { "" } else { ": " };
            bar.set_message(human::shorten(&format!("{}{colon}{}", self.title, self.step), 200));
        }
        self.write(out);
        last
    }

    /// Says something to the user, above the line at the bottom.
    pub(crate) fn say(&mut self, text: &str) {
        let mut out = Chunks::default();
        out.to(true).extend_from_slice(format!("{text}\n").as_bytes());
        self.write(out);
    }

    /// Takes the line at the bottom away. Returns what went wrong with stdout, if anything did.
    pub(crate) fn finish(mut self) -> Option<Error> {
        let mut out = Chunks::default();
        self.stdout.finish(out.to(false));
        self.stderr.finish(out.to(true));
        self.write(out);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.failure
    }

    fn log(&mut self, line: &LogLine, out: &mut Chunks) {
        if self.data || line.stream != Stream::Stdout {
            self.stderr.print(line, out.to(true));
        } else {
            self.stdout.print(line, out.to(false));
        }
    }

    fn progress(&mut self, step: String, out: &mut Chunks) {
        // Without a terminal, what is being done is said, not how far that is.
        let what = |step: &str| step.split(": ").next().map(str::to_owned);
        if self.bar.is_none() && what(&step) != what(&self.step) && !self.hyper {
            self.stderr.print(&LogLine::system(step.as_str()), out.to(true));
        }
        self.step = step;
    }

    fn write(&mut self, out: Chunks) {
        if out.0.is_empty() {
            return;
        }
        match self.bar.clone() {
            Some(bar) => bar.suspend(|| self.write_all(&out)),
            None => self.write_all(&out),
        }
    }

    /// The run goes on whoever reads: a reader that is gone, or a full disk behind stdout, is no reason to end it.
    fn write_all(&mut self, out: &Chunks) {
        for (to_stderr, bytes) in &out.0 {
            if *to_stderr {
                stdio::stderr(bytes);
            } else if self.reader == Reader::There {
                self.reader = stdio::stdout(bytes).unwrap_or_else(|error| {
                    self.failure = Some(error);
                    Reader::Gone
                });
            }
        }
    }
}

/// Bytes for stdout (`false`) and stderr (`true`), in the order in which they came.
#[derive(Default)]
struct Chunks(Vec<(bool, Vec<u8>)>);

impl Chunks {
    fn to(&mut self, stderr: bool) -> &mut Vec<u8> {
        let same = self.0.last().is_some_and(|(to, _)| *to == stderr);
        if !same {
            self.0.push((stderr, Vec::new()));
        }
        let last = self.0.len() - 1;
        &mut self.0[last].1
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_streams_is_kept() {
        let mut live = Live::new(Format::Table, &Terminal::default());
        let mut out = Chunks::default();
        for (stream, text) in
            [(Stream::Stdout, "a"), (Stream::Stdout, "b"), (Stream::Stderr, "c"), (Stream::Stdout, "d")]
        {
            live.log(&LogLine { stream, source: "main".into(), ..LogLine::system(text) }, &mut out);
        }
        let expected: [(bool, &[u8]); 3] = [(false, b"a\nb\n"), (true, b"c\n"), (false, b"d\n")];
        assert_eq!(out.0, expected.map(|(to, bytes)| (to, bytes.to_vec())));
    }

    #[test]
    fn stdout_is_for_the_record_where_data_is_asked_for() {
        let mut live = Live::new(Format::Json, &Terminal::default());
        let mut out = Chunks::default();
        live.log(
            &LogLine { stream: Stream::Stdout, source: "main".into(), ..LogLine::system("a") },
            &mut out,
        );
        assert_eq!(out.0, [(true, b"a\n".to_vec())]);
    }

    #[test]
    fn a_step_is_said_once_in_a_pipe() {
        let mut live = Live::new(Format::Table, &Terminal::default());
        let mut out = Chunks::default();
        for step in ["installing numpy", "installing numpy", "installing pandas"] {
            live.progress(step.to_owned(), &mut out);
        }
        assert_eq!(out.0, [(true, b"-- installing numpy\n-- installing pandas\n".to_vec())]);
    }
}
