//! Pure: what was seen -> state, cause.

use runtime_core::{
    run::{Reason, Verdict, observe_main},
    target::Observation,
};

/// What is true of the run: its main process is the run, and nothing of it goes on without the scheduler.
pub(crate) fn observe(seen: &Observation) -> Verdict {
    let mut verdict = observe_main(seen);
    if let Some(cause) = verdict.cause.take_if(|cause| cause.reason == Reason::ServiceEnded) {
        verdict.cause = Some(cause.help(
            "what it said is in the log; a scheduler that has nothing to do for `spec.scheduler_timeout` ends by itself",
        ));
    }
    verdict
}
