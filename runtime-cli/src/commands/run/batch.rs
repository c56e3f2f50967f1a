//! Many runs of the same thing, and what came of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::SignedDuration;
use runtimes::{
    Error, ErrorKind, Orchestrator, Request, Result, Run, RunState,
    core::{
        run::RunKey,
        serde_json::{Value, json},
    },
};
use tokio::task::JoinSet;

use crate::{
    output::{
        Format, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
    signals::{Signals, Stop},
};

/// So many failed runs are named.
const NAMED: usize = 10;

/// Many runs of the same thing.
pub(super) struct Batch {
    pub(super) count: u32,
    pub(super) parallel: usize,
    pub(super) format: Format,
}

/// The runs that go on, to be stopped with the command.
#[derive(Clone, Default)]
struct Active(Arc<Mutex<(BTreeSet<RunKey>, bool)>>);

impl Active {
    fn lock(&self) -> MutexGuard<'_, (BTreeSet<RunKey>, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a run that was started; whether it is to be stopped again, as it came too late.
    fn add(&self, key: &RunKey) -> bool {
        let mut active = self.lock();
        active.0.insert(key.clone());
        active.1
    }

    /// The runs to be stopped, now that all are.
    fn stopping(&self) -> BTreeSet<RunKey> {
        let mut active = self.lock();
        active.1 = true;
        active.0.clone()
    }
}

impl Batch {
    pub(super) async fn execute(
        self,
        orchestrator: Orchestrator,
        request: Request,
        mut signals: Signals,
        terminal: &Terminal,
    ) -> Result<u8> {
        let mut summary = Summary::new(self.parallel);
        let bar = bar(self.count, terminal);
        let active = Active::default();
        let mut running = JoinSet::new();
        let mut left = self.count;
        let mut refused = None;
        let mut stopped = None;
        loop {
            while left > 0 && running.len() < self.parallel {
                left -= 1;
                running.spawn(one(orchestrator.clone(), request.clone(), active.clone()));
            }
            tokio::select! {
                ended = running.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(run))) => summary.add(&run),
                    // What was refused once is refused every time.
                    Some(Ok(Err(error))) => (left, refused) = (0, Some(error)),
                    Some(Err(error)) => (left, refused) = (0, Some(Error::internal(error.to_string()))),
                },
                stop = signals.next() => {
                    left = 0;
                    // The second request does not wait for anything.
                    let grace = stopped.is_some().then_some(Duration::ZERO);
                    if grace.is_none() {
                        stopped = Some(stop);
                        bar.suspend(|| stdio::stderr("stopping… press Ctrl-C again to kill them\n".as_bytes()));
                    }
                    active.stopping().into_iter().for_each(|key| abort(orchestrator.clone(), key, grace));
                }
            }
            bar.set_position(summary.runs() as u64);
        }
        bar.finish_and_clear();
        if summary.runs() > 0 {
            stdio::stdout(summary.render(self.format, terminal)?.as_bytes())?;
        }
        orchestrator.close().await?;
        refused.map_or(Ok(summary.exit_code(stopped)), Err)
    }
}

async fn one(orchestrator: Orchestrator, request: Request, active: Active) -> Result<Run> {
    let handle = orchestrator.submit(request).await?;
    let key = handle.key();
    if active.add(&key) {
        abort(orchestrator, key.clone(), None);
    }
    let run = handle.wait().await;
    active.lock().0.remove(&key);
    run
}

fn abort(orchestrator: Orchestrator, key: RunKey, grace: Option<Duration>) {
    tokio::spawn(async move {
        if let Err(error) = orchestrator.abort_within(&key, grace).await
            && error.kind() != ErrorKind::Conflict
        {
            stdio::stderr(format!("cannot stop {key}: {error}\n").as_bytes());
        }
    });
}

fn bar(count: u32, terminal: &Terminal) -> ProgressBar {
    if !terminal.stderr || terminal.dumb {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(u64::from(count)), ProgressDrawTarget::stderr_with_hz(5))
        .with_style(style)
}

/// What came of the runs. Its size does not grow with what they print or return.
struct Summary {
    parallel: usize,
    began: Instant,
    states: BTreeMap<&'static str, usize>,
    durations: Vec<Duration>,
    failed: Vec<Value>,
}

impl Summary {
    fn new(parallel: usize) -> Self {
        let (states, durations, failed) = Default::default();
        Self { parallel, began: Instant::now(), states, durations, failed }
    }

    fn add(&mut self, run: &Run) {
        *self.states.entry(run.state().as_str()).or_default() += 1;
        if let (Some(start), Some(end)) = (run.status.start_time, run.status.end_time) {
            self.durations.push(end.duration_since(start).unsigned_abs());
        }
        if run.state() != RunState::Completed && self.failed.len() < NAMED {
            let message = run.status.cause.as_ref().map(|cause| cause.message.as_str());
            let why = message.or(run.status.error.as_deref()).unwrap_or_default();
            self.failed.push(json!({ "uid": run.metadata.uid, "state": run.state(), "error": why }));
        }
    }

    fn runs(&self) -> usize {
        self.states.values().sum()
    }

    fn exit_code(&self, stopped: Option<Stop>) -> u8 {
        match stopped {
            Some(stop) => stop.exit_code(),
            None => u8::from(self.states.keys().any(|state| *state != RunState::Completed.as_str())),
        }
    }

    fn render(&mut self, format: Format, terminal: &Terminal) -> Result<String> {
        let took = self.began.elapsed();
        self.render_after(took, format, terminal)
    }

    fn render_after(&mut self, took: Duration, format: Format, terminal: &Terminal) -> Result<String> {
        self.durations.sort_unstable();
        let runs = self.runs();
        let rate = runs as f64 / took.as_secs_f64().max(1e-9);
        let (p50, p99) = (percentile(&self.durations, 50), percentile(&self.durations, 99));
        if format != Format::Table {
            let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
            let summary = json!({
                "runs": runs, "parallel": self.parallel, "states": self.states, "seconds": took.as_secs_f64(),
                "runs_per_second": rate, "duration_seconds": { "p50": seconds(p50), "p99": seconds(p99) },
                "failed": self.failed,
            });
            return data(&summary, format);
        }
        let time =
            |time: Duration| human::duration(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX));
        let mut rows = vec![
            vec![text("runs"), text(format!("{runs}, {} at a time", self.parallel))],
            vec![text("took"), text(format!("{} ({rate:.1} runs/s)", time(took)))],
        ];
        if let (Some(p50), Some(p99)) = (p50, p99) {
            let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
            let show = |value: Duration| if value.as_secs() < 1 { millis(value) } else { time(value) };
            rows.push(vec![text("duration"), text(format!("{} p50, {} p99", show(p50), show(p99)))]);
        }
        for (state, count) in &self.states {
            let state = state.parse().map_or_else(|_| text(*state), table::state);
            rows.push(vec![state, text(count.to_string())]);
        }
        let mut out = table::render(&[], rows, Long::Wrap, terminal);
        self.failures(&mut out, terminal);
        Ok(out)
    }

    fn failures(&self, out: &mut String, terminal: &Terminal) {
        if self.failed.is_empty() {
            return;
        }
        let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let row = |value: &Value| {
            let uid = field(value, "uid");
            vec![
                text(human::uid(&uid)),
                text(field(value, "state")),
                text(human::shorten(&field(value, "error"), 200)),
            ]
        };
        out.push('\n');
        let rows = self.failed.iter().map(row).collect();
        *out += &table::render(&["UID", "STATE", "ERROR"], rows, Long::Cut, terminal);
    }
}

/// The value below which so many of a hundred lie; of a sorted list.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::core::run::{Cause, Reason};

    fn summary() -> Summary {
        let mut summary = Summary::new(32);
        for millis in 1..=100 {
            let mut run = Run::default();
            let start = jiff::Timestamp::UNIX_EPOCH;
            run.metadata.uid = format!("{millis:032}");
            run.status.state = if millis == 7 { RunState::Error } else { RunState::Completed };
            run.status.cause =
                (millis == 7).then(|| Cause::new(Reason::ExitCode, "it ended with exit code 3"));
            run.status.start_time = Some(start);
            run.status.end_time = Some(start + Duration::from_millis(millis));
            summary.add(&run);
        }
        summary
    }

    #[test]
    fn a_summary_for_people() {
        let shown =
            summary().render_after(Duration::from_secs(2), Format::Table, &Terminal::default()).unwrap();
        insta::assert_snapshot!(shown, @r#"
        runs        100, 32 at a time
        took        2.00s (50.0 runs/s)
        duration    50.0 ms p50, 99.0 ms p99
        completed   99
        error       1

        UID        STATE   ERROR
        00000000   error   it ended with exit code 3
        "#);
    }

    #[test]
    fn a_summary_for_programs() {
        let shown =
            summary().render_after(Duration::from_secs(2), Format::Json, &Terminal::default()).unwrap();
        let shown: Value = runtimes::core::serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["states"], json!({"completed": 99, "error": 1}));
        assert_eq!(shown["duration_seconds"], json!({"p50": 0.05, "p99": 0.099}));
        assert_eq!(shown["runs_per_second"], json!(50.0));
    }

    #[test]
    fn one_failure_fails_the_command() {
        assert_eq!(summary().exit_code(None), 1);
        assert_eq!(summary().exit_code(Some(Stop::Interrupt)), 130);
        assert_eq!(percentile(&[], 50), None);
    }
}
