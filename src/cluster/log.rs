//! The log of a container, followed through restarts of what is between it and us: each line once.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use kube::{Api, api::LogParams};
use runtime_core::{
    jiff::{SignedDuration, Timestamp},
    k8s_openapi::api::core::v1::Pod,
    logs::{LogLine, MAX_LINE, Stream},
    target::Event,
};
use tokio::sync::{mpsc, watch};

use super::{
    Link,
    error::chain,
    turns::{Turn, Turns},
};

/// The pause before a log that broke off is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What the lines of the pod are said to be of that is the run.
pub(super) const MAIN: &str = "main";

/// How often the log of a container that has ended is asked for in vain.
const VAIN: u32 = 10;

/// How long ago the end of a followed stream may be to be taken as the end of its container.
const RECENT: Duration = Duration::from_secs(10);

/// A node that says so only after this time had the log before.
const FOLLOWED: Duration = Duration::from_millis(500);

/// For how many of these counts that the node says it has none: what is removed does not come back.
const REMOVED: u32 = 4;

/// What is followed, and from where.
pub(super) struct Follow {
    pub(super) link: Arc<Link>,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    /// What its lines are said to be of.
    pub(super) source: String,
    /// The last line that is stored: its time, and how many lines before it have the same.
    pub(super) last: Option<(Timestamp, u32)>,
    pub(super) lines: mpsc::Sender<Event>,
    /// Whether the container has ended: then its log has an end.
    pub(super) ended: watch::Receiver<bool>,
}

/// How often the log of a container that has ended did not come to its end, and why.
#[derive(Default)]
struct Vain {
    count: u32,
    why: String,
    /// When a stream that was followed came to its end, as it does when the container ends.
    whole: Option<Instant>,
}

/// How the reading of a stream came to its end.
enum Read {
    /// There is no more.
    Whole,
    Broken,
    /// The node cannot read it, and says why.
    Refused(String),
    /// It is another's turn.
    Over,
}

impl Follow {
    /// Sends the lines until there are no more.
    pub(super) async fn run(mut self) {
        let mut vain = Vain::default();
        let link = Arc::clone(&self.link);
        loop {
            let turn = self.turn(&link.turns).await;
            // On the heap: most of many wait for their turn.
            if Box::pin(self.read_once(turn, &mut vain)).await.is_break() {
                return;
            }
        }
    }

    /// Reads for one turn; whether that was all.
    async fn read_once(&mut self, turn: Turn<'_>, vain: &mut Vain) -> ControlFlow<()> {
        let ended = *self.ended.borrow();
        let params = LogParams {
            container: Some(self.container.clone()),
            follow: true,
            timestamps: true,
            // It is rounded to seconds on the way, and what is known is left out here anyway.
            since_time: self.last.and_then(|(time, _)| time.checked_sub(SECOND).ok()),
            ..LogParams::default()
        };
        let api: Api<Pod> = Api::namespaced(self.link.client.clone(), &self.namespace);
        let (begun, mut refused) = (Instant::now(), false);
        let failed = match api.log_stream(&self.pod, &params).await {
            Ok(stream) => match self.read(stream, &turn, ended).await {
                Read::Whole => {
                    vain.whole = Some(Instant::now());
                    false
                }
                Read::Broken => true,
                Read::Refused(word) => {
                    tracing::debug!(pod = %self.pod, word, "a log cannot be read");
                    // What it had followed for a while is lost to it with its container.
                    if begun.elapsed() > FOLLOWED {
                        vain.whole = Some(Instant::now());
                    }
                    vain.why = format!(": {word}");
                    refused = true;
                    true
                }
                Read::Over => return ControlFlow::Continue(()),
            },
            Err(kube::Error::Api(status)) if status.code == 404 => return ControlFlow::Break(()),
            Err(error) => {
                tracing::debug!(pod = %self.pod, %error, "a log cannot be read");
                vain.why = format!(": {}", chain(&error));
                true
            }
        };
        drop(turn);
        // What was asked for after the end, and came to its end, is whole.
        if ended && !failed {
            return ControlFlow::Break(());
        }
        // All of it was read just before its node took it away.
        if ended && refused && vain.whole.is_some_and(|whole| whole.elapsed() < RECENT) {
            return ControlFlow::Break(());
        }
        vain.count += match (ended, refused) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => REMOVED,
        };
        if vain.count > VAIN || self.lines.is_closed() {
            let (pod, why) = (&self.pod, &vain.why);
            let note = format!("the log of pod {pod} ends early: it could not be read to its end{why}");
            // Other pods come and go, and their logs with them.
            if self.source == MAIN {
                let _ = self.lines.send(Event::Note(note)).await;
            }
            return ControlFlow::Break(());
        }
        if !ended || failed {
            let _ = tokio::time::timeout(PAUSE, self.ended.changed()).await;
        }
        ControlFlow::Continue(())
    }

    /// Waits for its turn, which comes sooner when the container has ended.
    async fn turn<'a>(&mut self, turns: &'a Turns) -> Turn<'a> {
        if !*self.ended.borrow() {
            tokio::select! {
                biased;
                turn = turns.live() => return turn,
                _ = self.ended.wait_for(|ended| *ended) => {}
                () = self.lines.closed() => {}
            }
        }
        turns.ended().await
    }

    /// Sends the lines of a stream. Of a container that has `ended`, the last line needs no end.
    async fn read(&mut self, stream: impl AsyncBufRead, turn: &Turn<'_>, ended: bool) -> Read {
        let mut over = std::pin::pin!(turn.over());
        let mut stream = std::pin::pin!(stream);
        let source = self.source.clone();
        let mut pieces = Pieces { source, stored: self.last, ..Pieces::default() };
        loop {
            let more = tokio::select! {
                // Also where there is always more.
                biased;
                () = &mut over => return Read::Over,
                more = stream.fill_buf() => more,
            };
            let used = match more {
                Ok([]) => {
                    if let Some(word) = pieces.word() {
                        return Read::Refused(word);
                    }
                    if ended {
                        pieces.finish();
                    }
                    0
                }
                Ok(buffer) => {
                    pieces.take(buffer);
                    buffer.len()
                }
                Err(error) => {
                    tracing::debug!(pod = %self.pod, %error, "a log breaks off");
                    return Read::Broken;
                }
            };
            stream.as_mut().consume(used);
            for line in pieces.ready.drain(..) {
                if self.lines.send(Event::Log(Box::new(line))).await.is_err() {
                    return Read::Whole;
                }
            }
            self.last = pieces.last.or(self.last);
            if used == 0 {
                return Read::Whole;
            }
        }
    }
}

/// Cuts a stream into lines, each with its time in front: `2026-05-01T10:00:00.123456789Z text`.
#[derive(Default)]
struct Pieces {
    source: String,
    /// What came since the last end of a line.
    buffer: Vec<u8>,
    /// The time of the line that has begun.
    time: Option<Timestamp>,
    /// The last piece: its time, and how many have it.
    last: Option<(Timestamp, u32)>,
    /// What is stored already.
    stored: Option<(Timestamp, u32)>,
    ready: Vec<LogLine>,
}

impl Pieces {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.buffer.extend_from_slice(&bytes[..end]);
            self.cut(true);
            bytes = &bytes[end + 1..];
        }
        self.buffer.extend_from_slice(bytes);
        self.cut(false);
    }

    /// Nothing comes any more: what is left is a line.
    fn finish(&mut self) {
        if self.time.is_some() || !self.buffer.is_empty() {
            self.cut(true);
        }
    }

    /// What the kubelet says when it cannot read the log: its answer has begun as a success by then, so the error is the
    /// rest of it, with no time in front and no end of line.
    fn word(&self) -> Option<String> {
        let rest = self.time.is_none() && !self.buffer.is_empty();
        rest.then(|| String::from_utf8_lossy(&self.buffer).into_owned())
    }

    /// Takes lines out of the buffer, and pieces of one that is too long.
    fn cut(&mut self, ends: bool) {
        let time = match self.time {
            Some(time) => time,
            None => match self.begin(ends) {
                Some(time) => time,
                None => return,
            },
        };
        self.time = Some(time);
        while self.buffer.len() > MAX_LINE {
            let rest = self.buffer.split_off(MAX_LINE);
            let piece = std::mem::replace(&mut self.buffer, rest);
            self.keep(time, piece, true);
        }
        if ends {
            let line = std::mem::take(&mut self.buffer);
            self.keep(time, line, false);
            self.time = None;
        }
    }

    /// The time in front of a line; of a line that has none and `ends`, or is very long, the present.
    fn begin(&mut self, ends: bool) -> Option<Timestamp> {
        let space = self.buffer.iter().position(|byte| *byte == b' ').unwrap_or(self.buffer.len());
        let text = std::str::from_utf8(&self.buffer[..space]).ok();
        if (ends || space < self.buffer.len())
            && let Some(time) = text.and_then(|text| text.parse().ok())
        {
            self.buffer.drain(..(space + 1).min(self.buffer.len()));
            return Some(time);
        }
        (ends || self.buffer.len() > MAX_LINE).then(Timestamp::now)
    }

    fn keep(&mut self, time: Timestamp, bytes: Vec<u8>, partial: bool) {
        let count = match self.last {
            Some((last, count)) if last == time => count + 1,
            _ => 1,
        };
        self.last = Some((time, count));
        let known = self.stored.is_some_and(|(last, stored)| time < last || time == last && count <= stored);
        if !known {
            let source = self.source.clone();
            self.ready.push(LogLine { time, stream: Stream::Stdout, source, partial, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &mut Pieces) -> Vec<String> {
        pieces.ready.drain(..).map(|line| line.text().into_owned()).collect()
    }

    #[test]
    fn lines_are_cut_wherever_the_stream_is() {
        let log = b"2026-05-01T10:00:00.1Z one\n2026-05-01T10:00:00.1Z \n2026-05-01T10:00:02Z a b\n";
        for size in 1..log.len() {
            let mut pieces = Pieces::default();
            log.chunks(size).for_each(|chunk| pieces.take(chunk));
            assert_eq!(texts(&mut pieces), ["one", "", "a b"], "in pieces of {size}");
        }
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let mut pieces = Pieces::default();
        pieces.take(b"2026-05-01T10:00:00Z one\n2026-05-01T10:00:01Z tw");
        assert_eq!(texts(&mut pieces), ["one"]);
        pieces.take(b"o");
        pieces.finish();
        assert_eq!(texts(&mut pieces), ["two"]);
        pieces.finish();
        assert!(pieces.ready.is_empty());
    }

    #[test]
    fn what_the_kubelet_says_is_no_line() {
        let said = "unable to retrieve container logs for containerd://5f9f";
        for size in 1..20 {
            let mut pieces = Pieces::default();
            let log = format!("2026-05-01T10:00:00Z one\n{said}");
            log.as_bytes().chunks(size).for_each(|chunk| pieces.take(chunk));
            assert_eq!((texts(&mut pieces), pieces.word().as_deref()), (vec!["one".to_owned()], Some(said)));
        }
        let mut pieces = Pieces::default();
        pieces.take(b"2026-05-01T10:00:00Z one\n2026-05-01T10:00:01Z t");
        assert_eq!(pieces.word(), None);
        // Where the server gives no times.
        let mut pieces = Pieces::default();
        pieces.take(b"unable to\n");
        assert_eq!((texts(&mut pieces), pieces.word()), (vec!["unable to".to_owned()], None));
    }

    #[test]
    fn what_is_stored_is_not_sent_again() {
        let mut pieces = Pieces::default();
        pieces.take(b"2026-05-01T10:00:00Z a\n2026-05-01T10:00:01Z b\n2026-05-01T10:00:01Z c\n");
        let line = pieces.ready[1].clone();
        let mut again = Pieces { stored: Some((line.time, 1)), ..Pieces::default() };
        again.take(b"2026-05-01T10:00:00Z a\n2026-05-01T10:00:01Z b\n2026-05-01T10:00:01Z c\n");
        assert_eq!(texts(&mut again), ["c"]);
    }

    #[test]
    fn a_very_long_line_comes_in_pieces() {
        let mut pieces = Pieces::default();
        pieces.take(b"2026-05-01T10:00:00Z ");
        (0..3).for_each(|_| pieces.take(&[b'x'; MAX_LINE / 2 + 1]));
        pieces.take(b"\n");
        let sizes: Vec<_> = pieces.ready.iter().map(|line| (line.bytes.len(), line.partial)).collect();
        assert_eq!(sizes, [(MAX_LINE, true), (MAX_LINE / 2 + 3, false)]);
    }
}
