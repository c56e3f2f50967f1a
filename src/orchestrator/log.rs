//! The log of a run: a file to which its follower appends, and that anybody reads.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind as Io, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use runtime_core::{
    Error, Result,
    logs::{LogLine, LogPosition},
};

use super::follow::Follow;

/// How long a log that cannot be written is tried again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Appends to a run's log. The file comes into being with the first line.
pub(super) struct LogWriter {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    /// What is stored, by process and stream.
    pub(super) position: LogPosition,
    /// Bytes in the file.
    pub(super) length: u64,
    given_up: bool,
}

impl LogWriter {
    /// A log of a new run.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            buffer: Vec::new(),
            position: LogPosition::default(),
            length: 0,
            given_up: false,
        }
    }

    /// A log that an earlier orchestrator wrote; a line that it had begun is cut off, to be written again. The current
    /// attempt's lines begin at `begin`.
    pub(super) fn resume(path: PathBuf, begin: u64) -> Result<Self> {
        let mut log = Self::new(path);
        let file = match OpenOptions::new().read(true).append(true).open(&log.path) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Ok(log),
            Err(error) => return Err(Error::io("open", &log.path, error)),
        };
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read =
                reader.read_until(b'\n', &mut line).map_err(|error| Error::io("read", &log.path, error))?;
            if line.pop() != Some(b'\n') {
                break;
            }
            if log.length >= begin
                && let Ok(line) = LogLine::decode(&line)
            {
                log.position.advance(&line);
            }
            log.length += read as u64;
        }
        file.set_len(log.length).map_err(|error| Error::io("cut", &log.path, error))?;
        log.file = Some(file);
        Ok(log)
    }

    /// Takes a line; [`Self::flush`] writes it.
    pub(super) fn push(&mut self, line: &LogLine) {
        if !self.given_up {
            line.encode(&mut self.buffer);
            self.position.advance(line);
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Writes the lines taken so far. Where that fails, nothing of them is in the file, and it can be tried again.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        if let Err(error) = file.write_all(&self.buffer) {
            let _ = file.set_len(self.length);
            return Err(Error::io("write", &self.path, error));
        }
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Closes the file until there is more: there may be more runs than a process may have files.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Takes no more lines: with a gap, nobody could tell later what is missing.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.buffer = Vec::new();
    }
}

impl Follow {
    /// Says in the log of the run what kept it from starting, or from its end.
    pub(super) async fn log_error(&mut self, error: &Error) {
        self.log.push(&LogLine::system(format!("error: {error}")));
        self.write_log().await;
        let length = self.log.length;
        self.live.send_modify(|live| live.log_length = length);
    }

    /// Writes the lines that were taken. A log that cannot be written must not keep the run from its end: it ends
    /// early then, and the run says so.
    pub(super) async fn write_log(&mut self) {
        let begin = Instant::now();
        while let Err(error) = self.log.flush() {
            if begin.elapsed() > PATIENCE {
                tracing::warn!(run = %self.record.run.key(), %error, "a log cannot be written");
                self.log.give_up();
                self.notes.push(format!("the log ends early: {}", error.message()));
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn create(path: &Path) -> Result<File> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    match open() {
        Err(error) if error.kind() == Io::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
            open()
        }
        other => other,
    }
    .map_err(|error| Error::io("open", path, error))
}

/// Reads a run's log from its start, as far as it is written.
pub(super) struct LogReader {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    offset: u64,
}

impl LogReader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, reader: None, offset: 0 }
    }

    /// The part that begins at this byte.
    pub(super) fn part(path: PathBuf, begin: u64) -> Self {
        Self { path, reader: None, offset: begin }
    }

    /// How much was read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next whole line; `None` where there is none yet.
    pub(super) fn next(&mut self) -> Result<Option<LogLine>> {
        let fail = |error| Error::io("read", &self.path, error);
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => match File::open(&self.path) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(self.offset)).map_err(fail)?;
                    none.insert(BufReader::new(file))
                }
                Err(error) if error.kind() == Io::NotFound => return Ok(None),
                Err(error) => return Err(fail(error)),
            },
        };
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).map_err(fail)?;
        if line.pop() == Some(b'\n') {
            self.offset += read as u64;
            return LogLine::decode(&line)
                .map(Some)
                .map_err(|error| error.at(self.path.display().to_string()));
        }
        // Half a line, or none: to be read again when there is more.
        reader.seek(SeekFrom::Start(self.offset)).map_err(fail)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_is_cut_off_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/log");
        let mut writer = LogWriter::new(path.clone());
        let mut reader = LogReader::new(path.clone());
        assert!(reader.next().unwrap().is_none());
        writer.push(&LogLine::system("one"));
        writer.flush().unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"2026-01-01T00:00:00Z half").unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"one");
        assert!(reader.next().unwrap().is_none());

        let mut again = LogWriter::resume(path.clone(), 0).unwrap();
        assert_eq!(again.position, writer.position);
        again.push(&LogLine::system("two"));
        again.flush().unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"two");
        assert_eq!(reader.offset(), again.length);
    }
}
