//! Log lines, and how they are kept: one line of text each, as Kubernetes' container runtimes write them, with one
//! more column for the process.
//!
//! `2026-05-01T10:00:00.123456789Z stdout F main the line itself`
//!
//! `F` ends a line, `P` is a piece of one that was too long ([`MAX_LINE`]). The bytes are the program's own.

use std::{collections::HashMap, fmt, str::FromStr};

use jiff::Timestamp;

use crate::{Error, Result};

/// Longer lines are kept in pieces of this many bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Said by the runtime, not by the code: a build, a note.
    System,
}

impl Stream {
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::System => "system",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stream {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Stdout, Self::Stderr, Self::System]
            .into_iter()
            .find(|stream| stream.as_str() == text)
            .ok_or_else(|| Error::invalid("stream", format!("{text:?} is none of stdout, stderr, system")))
    }
}

/// One line that was printed, or a piece of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was seen.
    pub time: Timestamp,
    /// Where it was printed.
    pub stream: Stream,
    /// The process that printed it, by its name in the plan.
    pub source: String,
    /// Whether the line goes on in the next one of the same source and stream.
    pub partial: bool,
    /// The bytes, without the line's end.
    pub bytes: Vec<u8>,
}

impl LogLine {
    /// A line said by the runtime itself.
    pub fn system(text: impl Into<String>) -> Self {
        Self {
            time: Timestamp::now(),
            stream: Stream::System,
            source: "runtimes".to_owned(),
            partial: false,
            bytes: text.into().into_bytes(),
        }
    }

    /// The line as text; bytes that are not UTF-8 become `U+FFFD`.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Appends the line to `out` in the form in which it is kept. A text of several lines is kept as several.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut lines = self.bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let tag = if self.partial && lines.peek().is_none() { 'P' } else { 'F' };
            out.extend_from_slice(
                format!("{:.9} {} {tag} {} ", self.time, self.stream, self.source).as_bytes(),
            );
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }

    /// Reads one kept line (without its end).
    ///
    /// # Errors
    /// `Invalid` where it is not of that form.
    pub fn decode(line: &[u8]) -> Result<Self> {
        let wrong = || Error::invalid("log", "a line is not of the form TIME STREAM F|P SOURCE TEXT");
        let mut fields = line.splitn(5, |byte| *byte == b' ');
        let mut field = || fields.next().ok_or_else(wrong);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| wrong());
        Ok(Self {
            time: text(field()?)?.parse().map_err(|_| wrong())?,
            stream: text(field()?)?.parse()?,
            partial: match field()? {
                b"P" => true,
                b"F" => false,
                _ => return Err(wrong()),
            },
            source: text(field()?)?.to_owned(),
            bytes: field()?.to_vec(),
        })
    }
}

/// How much of each process and stream is stored: where to go on reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPosition(HashMap<(String, Stream), Stored>);

/// How much of one stream is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stored {
    bytes: u64,
    /// The time of the last line, and how many have it.
    last: Option<(Timestamp, u32)>,
}

impl LogPosition {
    /// Counts a stored line.
    pub fn advance(&mut self, line: &LogLine) {
        let stored = self.0.entry((line.source.clone(), line.stream)).or_default();
        stored.bytes += line.bytes.len() as u64 + u64::from(!line.partial);
        stored.last = match stored.last {
            Some((time, count)) if time == line.time => Some((time, count + 1)),
            _ => Some((line.time, 1)),
        };
    }

    /// How many bytes of this stream are stored.
    pub fn of(&self, source: &str, stream: Stream) -> u64 {
        self.0.get(&(source.to_owned(), stream)).map(|stored| stored.bytes).unwrap_or_default()
    }

    /// The time of the last stored line of this stream, and how many stored lines in a row have it.
    pub fn last(&self, source: &str, stream: Stream) -> Option<(Timestamp, u32)> {
        self.0.get(&(source.to_owned(), stream)).and_then(|stored| stored.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_lines_read_back() {
        let mut position = LogPosition::default();
        for (partial, bytes) in [(false, &b"a  b"[..]), (true, b"\xff\x00"), (false, b"")] {
            let line = LogLine {
                time: "2026-05-01T10:00:00.5Z".parse().unwrap(),
                stream: Stream::Stderr,
                source: "main".into(),
                partial,
                bytes: bytes.to_vec(),
            };
            let mut kept = Vec::new();
            line.encode(&mut kept);
            assert_eq!(kept.pop(), Some(b'\n'));
            assert_eq!(LogLine::decode(&kept).unwrap(), line);
            position.advance(&line);
        }
        assert_eq!(position.of("main", Stream::Stderr), 5 + 2 + 1);
        assert!(LogLine::decode(b"nonsense").is_err());

        let mut kept = Vec::new();
        LogLine::system("two\nlines").encode(&mut kept);
        let lines: Vec<_> = kept.split(|byte| *byte == b'\n').collect();
        assert_eq!(LogLine::decode(lines[1]).unwrap().bytes, b"lines");
        assert_eq!((lines.len(), lines[2]), (3, &b""[..]));
    }
}
