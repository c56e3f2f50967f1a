//! Pure: what was seen -> state, cause.

use runtime_core::{
    run::{Cause, Reason, Verdict, observe_main},
    target::Observation,
};

/// What the agent calls an end that a rank could not report, and the reason that it is.
const ENDS: [(&str, Reason); 3] = [
    ("mpirun.Signal", Reason::Signal),
    ("mpirun.ExitCode", Reason::ExitCode),
    ("mpirun.Refused", Reason::StartFailed),
];

/// What is true of the run: what starts the ranks is its main process, and says which of them failed, and how.
pub(crate) fn observe(seen: &Observation) -> Verdict {
    let mut verdict = observe_main(seen);
    let error = verdict.report.as_ref().and_then(|report| report.error.as_ref());
    let known = error.and_then(|error| {
        let (_, reason) = ENDS.iter().find(|(class, _)| *class == error.class)?;
        Some(Cause { reason: *reason, message: error.message.clone(), help: help(*reason, &error.message) })
    });
    // Where it was stopped, or had too much memory, that is why ranks ended.
    let of_rank =
        |cause: &&mut Cause| matches!(cause.reason, Reason::Exception | Reason::ExitCode | Reason::Signal);
    if let Some(cause) = verdict.cause.as_mut().filter(of_rank)
        && let Some(known) = known
    {
        *cause = known;
    }
    verdict
}

fn help(reason: Reason, message: &str) -> Option<String> {
    let help = match reason {
        Reason::Signal if message.contains("SIGKILL") => {
            "nobody here sent it: often the kernel's out-of-memory killer; see `dmesg`"
        }
        Reason::StartFailed if message.contains("started no rank") => {
            "see `spec.mpi_args`: mpirun is told `-n RANKS`, then these, then the program"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::{
        RunState,
        plan::Role,
        run::{CodeError, Report},
        target::{Exit, Part, Phase},
    };

    fn seen(exit: Exit, class: &str, message: &str) -> Observation {
        let error = CodeError { class: class.into(), message: message.into(), ..CodeError::default() };
        let report = Report { state: "error".into(), error: Some(error), ..Report::default() };
        let part = Part { name: "main".into(), role: Role::Main, phase: Phase::Ended(exit) };
        Observation { parts: vec![part], report: Some(report), ended: true, ..Observation::default() }
    }

    #[test]
    fn the_end_of_a_rank_is_named() {
        let message = "rank 1 of 2 was ended by signal 9 (SIGKILL)";
        // A shell calls it 137, and so does mpirun.
        for exit in [Exit::Code(137), Exit::Signal(9)] {
            let verdict = observe(&seen(exit, "mpirun.Signal", message));
            assert_eq!((verdict.state, verdict.exit_code), (RunState::Error, Some(137)));
            let cause = verdict.cause.unwrap();
            assert_eq!((cause.reason, cause.message.as_str()), (Reason::Signal, message));
            assert!(cause.help.unwrap().contains("out-of-memory"));
        }
        let refused = observe(&seen(Exit::Code(213), "mpirun.Refused", "mpirun started no rank: -y"));
        assert_eq!(refused.cause.unwrap().reason, Reason::StartFailed);
    }

    #[test]
    fn what_ended_all_of_it_counts_more() {
        let of = |exit| observe(&seen(exit, "mpirun.Signal", "rank 0")).cause.unwrap().reason;
        assert_eq!(of(Exit::OutOfMemory { limit: None }), Reason::OutOfMemory);
        assert_eq!(of(Exit::Stopped), Reason::Aborted);
        let raised = observe(&seen(Exit::Code(1), "ValueError", "boom (rank 1 of 2)"));
        assert_eq!(raised.cause.unwrap().message, "ValueError: boom (rank 1 of 2)");
    }
}
