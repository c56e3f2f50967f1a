//! How runs end.

use super::Suite;
use crate::{
    plan::Role,
    target::{Exit, Phase},
};

pub(super) async fn codes_and_signals(suite: &Suite<'_>) {
    for code in [0, 1, 3, 126, 127, 200, 255] {
        let ended = suite.run(&format!("exit {code}")).await;
        assert_eq!(*ended.exit(), Exit::Code(code), "a program that ends with {code}");
        assert_eq!(ended.last().start_error, None, "a program that was started was started");
        assert_eq!(ended.last().deadline, None, "a program without a deadline meets none");
    }
    for signal in [6, 9, 11, 15] {
        let ended = suite.run(&format!("kill -{signal} $$")).await;
        assert_eq!(*ended.exit(), Exit::Signal(signal), "a program that ends by the signal {signal}");
    }
}

/// The process is seen to run before it is seen to end, by its name and role.
pub(super) async fn observed_on_the_way(suite: &Suite<'_>) {
    let file = suite.path("go");
    let target = suite.fixture.open();
    let job = suite.job(&format!("echo up; until [ -e '{}' ]; do sleep 0.02; done", file.display()));
    let mut follow = suite.apply(&*target, job).await;
    follow.line("up").await;
    let written = std::fs::write(&file, "");
    assert!(written.is_ok(), "{written:?}");
    let ended = follow.end().await;
    let main = |phase: fn(&Phase) -> bool| {
        ended.seen.iter().position(|seen| {
            let mut parts = seen.parts.iter().filter(|part| part.name == "main" && part.role == Role::Main);
            parts.any(|part| phase(&part.phase))
        })
    };
    let ran = main(|phase| matches!(phase, Phase::Running | Phase::Ready));
    let over = main(|phase| matches!(phase, Phase::Ended(_)));
    assert!(ran.is_some() && ran < over, "a process runs, then ends: {:?}", ended.seen);
}
