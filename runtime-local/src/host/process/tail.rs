//! Reading what a process prints, line by line, from the files to which it prints.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use runtime_core::logs::{LogLine, MAX_LINE, Stream};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// One of the two files of a process, and how far it was read.
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<File>,
    source: String,
    stream: Stream,
    /// Up to here it was read.
    offset: u64,
    /// The beginning of a line whose end has not come yet.
    pending: Vec<u8>,
    buffer: Vec<u8>,
}

impl Tail {
    /// Reads this file from `offset` on. It need not exist yet.
    pub(crate) fn new(path: &Path, source: &str, stream: Stream, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            source: source.to_owned(),
            stream,
            offset,
            pending: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Reads at most one chunk and appends its lines to `lines`. Returns whether there was anything.
    pub(crate) fn read(&mut self, lines: &mut Vec<LogLine>) -> io::Result<bool> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match File::open(&self.path) {
                Ok(file) => none.insert(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        if self.buffer.is_empty() {
            // An empty file is the common case: no buffer for it.
            if file.metadata()?.len() <= self.offset {
                return Ok(false);
            }
            self.buffer.resize(CHUNK, 0);
        }
        let count = file.read_at(&mut self.buffer, self.offset)?;
        if count == 0 {
            return Ok(false);
        }
        self.offset += count as u64;
        let buffer = std::mem::take(&mut self.buffer);
        let time = Timestamp::now();
        for piece in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.pending.extend_from_slice(end);
                    self.cut(time, lines);
                    let bytes = std::mem::take(&mut self.pending);
                    lines.push(self.line(time, false, bytes));
                }
                None => {
                    self.pending.extend_from_slice(piece);
                    self.cut(time, lines);
                }
            }
        }
        self.buffer = buffer;
        Ok(true)
    }

    /// The last line, where its end never came.
    pub(crate) fn finish(&mut self, lines: &mut Vec<LogLine>) {
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            lines.push(self.line(Timestamp::now(), false, bytes));
        }
    }

    /// Takes whole pieces off a line that is too long.
    fn cut(&mut self, time: Timestamp, lines: &mut Vec<LogLine>) {
        while self.pending.len() > MAX_LINE {
            let rest = self.pending.split_off(MAX_LINE);
            let bytes = std::mem::replace(&mut self.pending, rest);
            lines.push(self.line(time, true, bytes));
        }
    }

    fn line(&self, time: Timestamp, partial: bool, bytes: Vec<u8>) -> LogLine {
        LogLine { time, stream: self.stream, source: self.source.clone(), partial, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(tail: &mut Tail) -> Vec<LogLine> {
        let mut lines = Vec::new();
        while tail.read(&mut lines).unwrap() {}
        lines
    }

    #[test]
    fn lines_come_when_they_end_and_long_ones_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut tail = Tail::new(&path, "main", Stream::Stdout, 0);
        assert!(read_all(&mut tail).is_empty());
        std::fs::write(&path, b"one\ntw").unwrap();
        assert_eq!(read_all(&mut tail)[0].bytes, b"one");
        std::fs::write(&path, [&b"one\ntwo\n"[..], &vec![b'x'; MAX_LINE * 2 + 5], b"\xff"].concat()).unwrap();
        let lines = read_all(&mut tail);
        assert_eq!(lines[0].bytes, b"two");
        assert_eq!(lines.iter().filter(|line| line.partial).count(), 2);
        let mut last = Vec::new();
        tail.finish(&mut last);
        assert_eq!((last[0].bytes.len(), last[0].partial), (6, false));

        // Going on where the stored lines end gives the rest, and nothing twice.
        let mut position = runtime_core::logs::LogPosition::default();
        position.advance(&lines[0]);
        let mut again = Tail::new(&path, "main", Stream::Stdout, 4 + position.of("main", Stream::Stdout));
        assert_eq!(read_all(&mut again).len(), 2);
    }
}
