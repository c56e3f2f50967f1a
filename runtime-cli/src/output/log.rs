//! Log lines as they are shown.

use runtimes::core::logs::{LogLine, Stream};

/// Turns log lines into bytes for one output: the program's own bytes, marked where they are not its stdout.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogPrinter {
    /// Whether lines of stderr and of the runtime are dimmed.
    pub(crate) color: bool,
    /// Whether each line begins with its time.
    pub(crate) timestamps: bool,
    /// The process and stream whose line is not ended yet.
    unfinished: Option<(String, Stream)>,
}

impl LogPrinter {
    pub(crate) fn new(color: bool, timestamps: bool) -> Self {
        Self { color, timestamps, unfinished: None }
    }

    /// Appends a line, or a piece of one.
    pub(crate) fn print(&mut self, line: &LogLine, out: &mut Vec<u8>) {
        let goes_on = self
            .unfinished
            .as_ref()
            .is_some_and(|(source, stream)| *source == line.source && *stream == line.stream);
        if !goes_on {
            self.finish(out);
            self.prefix(line, out);
        }
        let dimmed = self.color && line.stream != Stream::Stdout;
        if dimmed {
            out.extend_from_slice(b"\x1b[2m");
        }
        out.extend_from_slice(&line.bytes);
        if dimmed {
            out.extend_from_slice(b"\x1b[0m");
        }
        self.unfinished = line.partial.then(|| (line.source.clone(), line.stream));
        if !line.partial {
            out.push(b'\n');
        }
    }

    /// Ends a line of which only pieces came.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.unfinished.take().is_some() {
            out.push(b'\n');
        }
    }

    fn prefix(&self, line: &LogLine, out: &mut Vec<u8>) {
        if self.timestamps {
            out.extend_from_slice(format!("{:.3} ", line.time).as_bytes());
        }
        match line.stream {
            Stream::System => out.extend_from_slice(b"-- "),
            // The run itself needs no name; its helpers do.
            _ if line.source != "main" => out.extend_from_slice(format!("{} | ", line.source).as_bytes()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: Stream, source: &str, partial: bool, bytes: &[u8]) -> LogLine {
        let time = "2026-05-01T10:00:00.5Z".parse().unwrap();
        LogLine { time, stream, source: source.into(), partial, bytes: bytes.to_vec() }
    }

    fn lines() -> Vec<LogLine> {
        vec![
            line(Stream::System, "runtimes", false, b"installing packages"),
            line(Stream::Stdout, "main", false, b"\xff raw"),
            line(Stream::Stdout, "main", true, b"long "),
            line(Stream::Stdout, "main", false, b"line"),
            line(Stream::Stdout, "main", true, b"cut"),
            line(Stream::Stderr, "worker-0", false, b"oops"),
        ]
    }

    fn print(mut printer: LogPrinter) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines() {
            printer.print(&line, &mut out);
        }
        out
    }

    #[test]
    fn plain() {
        let expected = b"-- installing packages\n\xff raw\nlong line\ncut\nworker-0 | oops\n";
        assert_eq!(print(LogPrinter::default()), expected);
    }

    #[test]
    fn with_times_and_marks() {
        let text = String::from_utf8_lossy(&print(LogPrinter::new(true, true))).into_owned();
        assert!(
            text.starts_with("2026-05-01T10:00:00.500Z -- \x1b[2minstalling packages\x1b[0m\n"),
            "{text}"
        );
        assert!(text.ends_with("\n2026-05-01T10:00:00.500Z worker-0 | \x1b[2moops\x1b[0m\n"), "{text}");
    }
}
