//! Pure: what was seen -> state, cause.

use runtime_core::{
    run::{Cause, Reason, Verdict, observe_main},
    target::Observation,
};

/// What is true of the run: its driver is its main process, and says how the application went.
pub(crate) fn observe(seen: &Observation) -> Verdict {
    let mut verdict = observe_main(seen);
    let error = verdict.report.as_ref().and_then(|report| report.error.as_ref());
    let known = error.and_then(|error| {
        let (reason, help) = reason(&error.class)?;
        let message = match reason {
            Reason::OutOfMemory => format!("{}: {}", error.class, error.message),
            _ => error.message.clone(),
        };
        Some(Cause { reason, message, help: help.map(str::to_owned) })
    });
    // Where it was stopped, or had too much memory, that is why it ended.
    let of_code =
        |cause: &&mut Cause| matches!(cause.reason, Reason::Exception | Reason::ExitCode | Reason::Signal);
    if let Some(cause) = verdict.cause.as_mut().filter(of_code)
        && let Some(known) = known
    {
        *cause = known;
    }
    verdict
}

/// The reason that an error is, by its class, and what to do: for those that are not the code's own.
fn reason(class: &str) -> Option<(Reason, Option<&'static str>)> {
    Some(match class {
        "spark.Refused" => (Reason::StartFailed, None),
        "spark.Signal" => (
            Reason::Signal,
            Some("nobody here sent it: often the kernel's out-of-memory killer; see `dmesg`"),
        ),
        "java.lang.OutOfMemoryError" => (
            Reason::OutOfMemory,
            Some(
                "raise `driver_resources.requests.memory`, or that of `executor_resources`; collect less in the driver",
            ),
        ),
        _ => return None,
    })
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
    fn what_the_engine_says_is_no_exception_of_the_code() {
        let of = |class: &str| {
            let verdict = observe(&seen(Exit::Code(1), class, "why"));
            assert_eq!(verdict.state, RunState::Error);
            verdict.cause.unwrap()
        };
        assert_eq!(
            (of("spark.Refused").reason, of("spark.Refused").message),
            (Reason::StartFailed, "why".into())
        );
        assert_eq!(of("spark.Signal").reason, Reason::Signal);
        assert_eq!(of("java.lang.OutOfMemoryError").reason, Reason::OutOfMemory);
        assert!(of("java.lang.OutOfMemoryError").help.unwrap().contains("driver_resources"));
        assert_eq!(of("ZeroDivisionError").message, "ZeroDivisionError: why");
    }

    #[test]
    fn what_ended_all_of_it_counts_more() {
        let of = |exit| observe(&seen(exit, "spark.Signal", "it")).cause.unwrap().reason;
        assert_eq!(of(Exit::Stopped), Reason::Aborted);
        assert_eq!(of(Exit::OutOfMemory { limit: None }), Reason::OutOfMemory);
    }
}
