//! Trying again: an attempt that failed is kept on the run, and the next one begins when its time has come.

use std::time::Duration;

use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use runtime_core::{
    Error, Function, Result, Run, RunState,
    logs::{LogLine, LogPosition},
    run::{Attempt, Cause, Reason, Retry, RunKey, Thresholds, Verdict, can_help},
};

use super::{Orchestrator, follow::Follow, log::LogReader};

/// Puts on the run what its function says of thresholds and retries, where the run says nothing of its own.
pub(super) fn take_policy(function: &Function, run: &mut Run) -> Result<()> {
    for (state, threshold) in &function.spec.pod.state_thresholds {
        run.spec.state_thresholds.entry(state.clone()).or_insert_with(|| threshold.clone());
    }
    if run.spec.retry.is_none() {
        run.spec.retry = Retry::of_function(function)?;
    }
    run.spec.validate()
}

/// Where the log of the attempt that goes on begins.
pub(super) fn log_begin(run: &Run) -> u64 {
    run.status.attempts.last().map_or(0, |attempt| attempt.log_end)
}

/// Where the part of an attempt, from 1, begins and ends in the run's log.
pub(super) fn log_of(run: &Run, attempt: u32) -> Result<(u64, u64)> {
    let attempts = &run.status.attempts;
    let index = attempt.saturating_sub(1) as usize;
    let going_on = !run.state().is_terminal() || attempts.is_empty();
    let count = attempts.len() + usize::from(going_on && run.state() != RunState::PendingRetry);
    if attempt == 0 || index >= count {
        return Err(Error::not_found(format!("run {} has no attempt {attempt}", run.key()))
            .help(format!("1 to {count}")));
    }
    let begin =
        index.checked_sub(1).and_then(|before| attempts.get(before)).map_or(0, |before| before.log_end);
    Ok((begin, attempts.get(index).map_or(u64::MAX, |attempt| attempt.log_end)))
}

/// Lets a run that failed wait for its next attempt, if it may have one. Returns whether it does.
pub(super) fn again(
    run: &mut Run,
    verdict: &Verdict,
    log_end: u64,
    started: Timestamp,
    now: Timestamp,
) -> bool {
    let Some(retry) = run.spec.retry.clone() else { return false };
    let done = u32::try_from(run.status.attempts.len()).unwrap_or(u32::MAX);
    // What was asked to stop is not tried again, and a run of iterations is not: they are.
    if done >= retry.count || !can_help(verdict) || run.spec.is_hyper() {
        return false;
    }
    if !run.transition(RunState::PendingRetry, now).unwrap_or(false) {
        return false;
    }
    let wait = SignedDuration::try_from(retry.wait(done + 1, &run.key().to_string())).unwrap_or_default();
    run.status.attempts.push(Attempt {
        attempt: done + 1,
        state: RunState::Error,
        cause: verdict.cause.clone(),
        exit_code: verdict.exit_code,
        start_time: run.status.start_time.take().or(Some(started)),
        end_time: now,
        log_end,
    });
    run.status.cause = None;
    run.status.retry_at = Some(now.saturating_add(wait).unwrap_or(now));
    // What an attempt that failed said on its way is not what the run came to.
    run.status.results.clear();
    run.status.artifacts.clear();
    run.status.iterations.clear();
    true
}

/// Adds the last attempt of a run that has ended after several.
pub(super) fn close(run: &mut Run, log_end: u64, now: Timestamp) {
    run.status.retry_at = None;
    let Some(last) = run.status.attempts.last() else { return };
    let attempt = Attempt {
        attempt: last.attempt + 1,
        state: run.state(),
        cause: run.status.cause.clone(),
        exit_code: run.status.exit_code,
        start_time: run.status.start_time,
        end_time: now,
        log_end,
    };
    run.status.attempts.push(attempt);
}

impl Orchestrator {
    /// The lines that one attempt of a run logged, from 1.
    ///
    /// # Errors
    /// `NotFound` where there is no such run, or it had fewer attempts.
    pub async fn attempt_logs(
        &self,
        key: &RunKey,
        attempt: u32,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let run = self.inner.get(key).await?.run;
        let (begin, end) = log_of(&run, attempt)?;
        let mut reader = LogReader::part(self.inner.log_path(key), begin);
        let next = move || if reader.offset() < end { reader.next().transpose() } else { None };
        Ok(Box::pin(futures_util::stream::iter(std::iter::from_fn(next))))
    }
}

impl Follow {
    /// Waits until the next attempt may begin, and says so in the record: from then on it may have been started. A
    /// run that is stopped meanwhile ends here.
    pub(super) async fn wait_for_retry(&mut self) -> Result<()> {
        let said = waiting(&self.record.run);
        self.live.send_modify(|live| {
            live.progress = Some(said);
            live.settled = true;
        });
        let left = self.record.run.status.retry_at.map(|at| at.duration_since(Timestamp::now()));
        let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
        tokio::select! {
            biased;
            _ = self.aborts.next() => {
                self.change(|run, now| run.transition(RunState::Aborting, now)).await?;
            }
            () = tokio::time::sleep(left) => {
                self.change(|run, now| {
                    run.status.retry_at = None;
                    run.transition(RunState::Pending, now)
                })
                .await?;
            }
        }
        // Also where somebody else wants it stopped: nothing of it runs.
        if self.record.run.state() == RunState::Aborting {
            return self.end(Verdict { state: RunState::Aborted, ..Verdict::default() }).await;
        }
        self.begin_attempt().await;
        Ok(())
    }

    /// The log goes on with a line of our own; the target counts the lines of the new attempt from the start.
    async fn begin_attempt(&mut self) {
        let run = &self.record.run;
        let count = run.spec.retry.as_ref().map_or(0, |retry| retry.count) + 1;
        let line = format!("attempt {} of {count}", run.status.attempts.len() + 1);
        self.log.position = LogPosition::default();
        self.log.push(&LogLine::system(line));
        self.write_log().await;
        self.started = Timestamp::now();
        let length = self.log.length;
        self.live.send_modify(|live| {
            live.log_length = length;
            live.progress = None;
        });
    }

    /// How long the run may go on waiting before it runs; `None` where it does not wait, or may for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        let run = &self.record.run;
        if run.state() != RunState::Pending || self.overdue.is_some() {
            return None;
        }
        let limit = waiting_limit(run).1?;
        let waited = run.status.last_update.map(|since| Timestamp::now().duration_since(since));
        let waited = waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default();
        Some(limit.saturating_sub(waited))
    }

    /// Stops a run that waited too long.
    pub(super) async fn give_up_waiting(&mut self) -> Result<()> {
        let (name, limit) = waiting_limit(&self.record.run);
        let limit = limit.unwrap_or_default();
        let what = self.live.borrow().progress.clone();
        let what = what.map_or_else(String::new, |what| format!(" ({what})"));
        let message = format!("it was still pending after {limit:?}{what}");
        let cause = Cause::new(Reason::DeadlineExceeded, message)
            .help(format!("raise `state_thresholds.{name}`, or set it to -1 for no limit"));
        self.overdue = Some(cause);
        self.target.abort(&self.record.run.key(), self.grace).await
    }

    /// The verdict on a run that was stopped because it waited too long.
    pub(super) fn with_patience(&self, verdict: Verdict) -> Verdict {
        match &self.overdue {
            Some(cause) if matches!(verdict.state, RunState::Aborted | RunState::Error) => {
                Verdict { state: RunState::Error, cause: Some(cause.clone()), ..verdict }
            }
            _ => verdict,
        }
    }
}

/// How long a run may be pending, by what it waits for; and what that threshold is called.
fn waiting_limit(run: &Run) -> (&'static str, Option<Duration>) {
    let limits = Thresholds::of(&[&run.spec.state_thresholds]).unwrap_or_default();
    match run.status.cause.as_ref().map(|cause| cause.reason) {
        Some(Reason::Unschedulable) => ("pending_not_scheduled", limits.pending_not_scheduled),
        Some(Reason::ImagePull | Reason::InvalidImageName) => {
            ("image_pull_backoff", limits.image_pull_backoff)
        }
        _ => ("pending_scheduled", limits.pending_scheduled),
    }
}

/// What a run that waits for its next attempt is doing.
fn waiting(run: &Run) -> String {
    let Some(last) = run.status.attempts.last() else { return String::new() };
    let why = last.cause.as_ref().map_or("it failed", |cause| cause.message.as_str());
    let at = run.status.retry_at.map(|at| at.duration_since(Timestamp::now()).as_secs_f64().max(0.0));
    format!("attempt {} failed: {why}; again in {:.0}s", last.attempt, at.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::run::Backoff;

    fn failed(reason: Reason) -> Verdict {
        Verdict {
            state: RunState::Error,
            cause: Some(Cause::new(reason, "boom")),
            exit_code: Some(3),
            ..Verdict::default()
        }
    }

    fn run(count: u32) -> Run {
        let backoff = Backoff { base_delay: Some("10s".into()), ..Backoff::default() };
        let mut run = Run::default();
        run.spec.retry = Some(Retry { backoff: Some(backoff), ..Retry::new(count) });
        run.transition(RunState::Running, Timestamp::UNIX_EPOCH).unwrap();
        run
    }

    #[test]
    fn an_attempt_is_kept_and_the_next_one_waits() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(100);
        let mut run = run(1);
        assert!(again(&mut run, &failed(Reason::ExitCode), 7, now, now));
        assert_eq!(run.state(), RunState::PendingRetry);
        assert_eq!(run.status.retry_at, Some(now + Duration::from_secs(10)));
        assert_eq!((run.status.start_time, log_begin(&run)), (None, 7));
        let attempt = run.status.attempts[0].clone();
        assert_eq!((attempt.attempt, attempt.exit_code, attempt.log_end), (1, Some(3), 7));
        assert_eq!(attempt.start_time, Some(Timestamp::UNIX_EPOCH));

        run.transition(RunState::Running, now).unwrap();
        assert!(!again(&mut run, &failed(Reason::ExitCode), 9, now, now), "its one retry is used");
        run.transition(RunState::Error, now).unwrap();
        close(&mut run, 9, now);
        assert_eq!(run.status.attempts.iter().map(|attempt| attempt.log_end).collect::<Vec<_>>(), [7, 9]);
    }

    #[test]
    fn what_cannot_help_or_is_not_wanted_is_not_tried() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(!again(&mut Run::default(), &failed(Reason::ExitCode), 0, now, now));
        assert!(!again(&mut run(3), &failed(Reason::OutOfMemory), 0, now, now));
        let mut stopping = run(3);
        stopping.transition(RunState::Aborting, now).unwrap();
        assert!(!again(&mut stopping, &failed(Reason::Signal), 0, now, now));
        assert!(stopping.status.attempts.is_empty());
    }

    #[test]
    fn what_a_run_waits_for_says_how_long_it_may() {
        let mut run = Run::default();
        run.spec.state_thresholds.insert("image_pull_backoff".to_owned(), "2m".to_owned());
        assert_eq!(waiting_limit(&run), ("pending_scheduled", Some(Duration::from_secs(3600))));
        run.status.cause = Some(Cause::new(Reason::ImagePull, ""));
        assert_eq!(waiting_limit(&run), ("image_pull_backoff", Some(Duration::from_secs(120))));
        run.status.cause = Some(Cause::new(Reason::Unschedulable, ""));
        assert_eq!(waiting_limit(&run), ("pending_not_scheduled", None));
    }
}
