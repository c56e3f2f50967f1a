//! Following a run by its events.

use tokio::sync::mpsc;

use super::soon;
use crate::{
    logs::{LogLine, LogPosition, Stream},
    plan::Role,
    target::{Event, Exit, Observation, Phase},
};

/// A run, and what was seen of it so far.
pub(super) struct Follow {
    events: mpsc::Receiver<Event>,
    lines: Vec<LogLine>,
    seen: Vec<Observation>,
    /// How far the log was received: what an orchestrator has stored.
    pub(super) position: LogPosition,
}

/// A run that ended.
pub(super) struct Ended {
    /// All observations; the last one has `ended` set.
    pub(super) seen: Vec<Observation>,
    lines: Vec<LogLine>,
}

impl Follow {
    pub(super) fn new(events: mpsc::Receiver<Event>) -> Self {
        Self { events, lines: Vec::new(), seen: Vec::new(), position: LogPosition::default() }
    }

    /// Waits until a line with this text is printed.
    pub(super) async fn line(&mut self, text: &str) {
        if self.lines.iter().any(|line| line.text() == text) {
            return;
        }
        loop {
            match self.next(&format!("the line {text:?}")).await {
                Some(Event::Log(line)) if line.text() == text => return,
                Some(_) => {}
                None => panic!(
                    "the run ended without the line {text:?}; seen: {:?}, {:?}",
                    self.lines,
                    self.seen.last()
                ),
            }
        }
    }

    /// Follows to the end, and checks what holds of every end.
    pub(super) async fn end(mut self) -> Ended {
        while self.next("the end of the run").await.is_some() {}
        let ends = self.seen.iter().filter(|seen| seen.ended).count();
        assert_eq!(ends, 1, "exactly one observation says that the run ended: {:?}", self.seen);
        Ended { seen: self.seen, lines: self.lines }
    }

    async fn next(&mut self, what: &str) -> Option<Event> {
        let event = soon(what, self.events.recv()).await?;
        let over = self.seen.last().is_some_and(|seen| seen.ended);
        assert!(!over, "nothing may follow the observation that the run ended: {event:?}");
        match &event {
            Event::Log(line) => {
                self.position.advance(line);
                self.lines.push((**line).clone());
            }
            Event::Seen(seen) => self.seen.push((**seen).clone()),
            Event::Progress(_) | Event::Note(_) | Event::Packages(_) | Event::Addresses(_) => {}
        }
        Some(event)
    }
}

impl Ended {
    /// How the main process ended.
    pub(super) fn exit(&self) -> &Exit {
        let last = self.last();
        let main = last.parts.iter().find(|part| part.role == Role::Main);
        match main.map(|part| &part.phase) {
            Some(Phase::Ended(exit)) => exit,
            other => panic!("the main process must have ended: {other:?}, of {last:?}"),
        }
    }

    pub(super) fn last(&self) -> &Observation {
        match self.seen.last() {
            Some(last) => last,
            None => panic!("a run that ended was seen"),
        }
    }

    /// What the main process printed on this stream, line by line, pieces joined.
    pub(super) fn printed(&self, stream: Stream) -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut goes_on = false;
        for line in self.lines.iter().filter(|line| line.stream == stream) {
            assert_eq!(line.source, "main", "a line carries the name of its process");
            match lines.last_mut() {
                Some(last) if goes_on => last.extend_from_slice(&line.bytes),
                _ => lines.push(line.bytes.clone()),
            }
            goes_on = line.partial;
        }
        assert!(!goes_on, "the last piece of a line must say that it is the last");
        lines
    }

    /// The same as text.
    pub(super) fn texts(&self, stream: Stream) -> Vec<String> {
        self.printed(stream).iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// The length of the longest single line event.
    pub(super) fn longest_piece(&self) -> usize {
        self.lines.iter().map(|line| line.bytes.len()).max().unwrap_or(0)
    }
}
