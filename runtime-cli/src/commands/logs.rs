//! `logs`: what a run printed.

use std::collections::VecDeque;

use futures_util::{FutureExt, Stream, StreamExt};
use runtimes::{
    Orchestrator, Result,
    core::{
        logs::{LogLine, Stream as Kind},
        run::RunKey,
    },
};

use crate::{
    home::Home,
    output::{Terminal, log::LogPrinter, stdio, stdio::Reader},
};

const EXAMPLES: &str = "\
Examples:
  runtimes logs 3f2a                     what the run whose uid begins so printed
  runtimes logs -f train-fit             follow the newest run of that name until it ends
  runtimes logs 3f2a-7                   its seventh iteration
  runtimes logs 3f2a --attempt 1         the first of its attempts
  runtimes logs 3f2a --stream stderr --tail 20";

/// So many bytes are written at once at most.
const BATCH: usize = 256 * 1024;

/// Show what a run printed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The beginning of a uid, or a name
    #[arg(value_name = "UID|NAME")]
    run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
    /// What this attempt printed, from 1, where there were several
    #[arg(long, value_name = "N", conflicts_with_all = ["follow", "tail"])]
    attempt: Option<u32>,
    /// Begin each line with its time (UTC)
    #[arg(long)]
    timestamps: bool,
    /// Only this stream: stdout, stderr, or system for what the runtime said
    #[arg(long, value_name = "STREAM")]
    stream: Option<Kind>,
    /// Begin with the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
}

pub(crate) async fn execute(args: Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let orchestrator = home.open_settled().await?;
    let key = orchestrator.find(&args.run).await?.run.key();
    if let Some(attempt) = args.attempt {
        return print(orchestrator.attempt_logs(&key, attempt).await?, &args, 0, terminal).await;
    }
    let mut skip = 0;
    let mut follow = args.follow;
    if let Some(tail) = args.tail {
        let mut lines = LastLines::new(tail, args.stream);
        lines.read(&orchestrator, &key).await?;
        if !follow {
            return print(futures_util::stream::iter(lines.kept.into_iter().map(Ok)), &args, 0, terminal)
                .await;
        }
        skip = lines.passed;
    }
    // A run that has ended needs no following, and its log is read the quick way.
    follow &= !orchestrator.find(&key.to_string()).await?.run.state().is_terminal();
    print(orchestrator.logs(&key, follow).await?, &args, skip, terminal).await
}

/// The last pieces of a log that make up N lines, and how many pieces went before them.
struct LastLines {
    tail: usize,
    stream: Option<Kind>,
    kept: VecDeque<LogLine>,
    ends: usize,
    passed: usize,
}

impl LastLines {
    fn new(tail: usize, stream: Option<Kind>) -> Self {
        Self { tail, stream, kept: VecDeque::new(), ends: 0, passed: 0 }
    }

    async fn read(&mut self, orchestrator: &Orchestrator, key: &RunKey) -> Result<()> {
        let mut lines = orchestrator.logs(key, false).await?;
        while let Some(line) = lines.next().await {
            self.push(line?);
        }
        Ok(())
    }

    fn push(&mut self, line: LogLine) {
        if self.stream.is_some_and(|stream| stream != line.stream) {
            return;
        }
        self.ends += usize::from(!line.partial);
        self.kept.push_back(line);
        while self.ends > self.tail {
            let Some(first) = self.kept.pop_front() else { return };
            self.ends -= usize::from(!first.partial);
            self.passed += 1;
        }
    }
}

async fn print(
    lines: impl Stream<Item = Result<LogLine>> + Unpin,
    args: &Args,
    skip: usize,
    terminal: &Terminal,
) -> Result<u8> {
    let stream = args.stream;
    let wanted = |line: &Result<LogLine>| {
        let keep = line.as_ref().map_or(true, |line| stream.is_none_or(|stream| stream == line.stream));
        std::future::ready(keep)
    };
    let mut lines = lines.filter(wanted).skip(skip).fuse();
    let mut printer = LogPrinter::new(terminal.colored(), args.timestamps);
    let mut out = Vec::new();
    while let Some(line) = lines.next().await {
        printer.print(&line?, &mut out);
        // What is there already goes out together; then what is there is shown before waiting for more.
        while out.len() < BATCH
            && let Some(Some(line)) = lines.next().now_or_never()
        {
            printer.print(&line?, &mut out);
        }
        if stdio::stdout(&out)? == Reader::Gone {
            return Ok(0);
        }
        out.clear();
    }
    printer.finish(&mut out);
    stdio::stdout(&out)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_lines() {
        let mut last = LastLines::new(2, Some(Kind::Stdout));
        for (text, partial) in
            [("a", false), ("b", true), ("b", false), ("c", true), ("c", true), ("c", false)]
        {
            last.push(LogLine { partial, stream: Kind::Stdout, ..LogLine::system(text) });
            last.push(LogLine::system("not asked for"));
        }
        let kept: Vec<_> = last.kept.iter().map(|line| line.text().into_owned()).collect();
        assert_eq!(kept, ["b", "b", "c", "c", "c"]);
        assert_eq!(last.passed, 1);
    }
}
