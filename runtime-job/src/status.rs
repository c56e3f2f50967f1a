//! Pure: what was seen -> state, cause.

use runtime_core::{
    run::{Verdict, observe_main},
    target::Observation,
};

/// What is true of the run: its one process, or its one pod, is all there is of it.
pub(crate) fn observe(seen: &Observation) -> Verdict {
    observe_main(seen)
}
