//! Before a run and after it: what cannot be is said without touching anything, what is over leaves nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{LONG, PATIENCE, Program, Suite, ok};
use crate::{ErrorKind, Run, run::RunKey, target::Job};

/// `check` names what is missing, and is no more than a look.
pub(super) async fn checked_and_untouched(suite: &Suite<'_>) {
    let target = suite.fixture.open();
    let fine = suite.job("exit 0");
    ok("check of a plan that can be started", target.check(&fine).await);
    untouched(suite, &fine);
    for (plan, names) in suite.fixture.impossible() {
        let job = Job { plan: Arc::new(plan), ..suite.job("") };
        let error = match target.check(&job).await {
            Ok(notes) => panic!("check must refuse a plan without its {names}: {notes:?}, {:?}", job.plan),
            Err(error) => error,
        };
        let kinds =
            [ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::Unsupported, ErrorKind::PermissionDenied];
        assert!(kinds.contains(&error.kind()), "what is missing is no accident: {error:?}");
        assert!(error.to_string().contains(names), "the error must name {names:?}: {error}");
        assert!(error.help_text().is_some(), "the error must say what to do about {names:?}: {error}");
        untouched(suite, &job);
    }
}

fn untouched(suite: &Suite<'_>, job: &Job) {
    assert_eq!(suite.fixture.remains(&job.key), Vec::<String>::new(), "check must not touch anything");
}

/// Nothing is left of a released run: of no attempt, and of no other run anything is missing.
pub(super) async fn released(suite: &Suite<'_>) {
    let target = suite.fixture.open();
    let (first, other) = (suite.job("echo printed"), suite.job("echo other"));
    let third = suite.other(&first, 0, 2, "echo printed");
    let late = suite.other(&suite.job(""), 0, 1, "echo late");
    let iteration = suite.other(&first, 1, 0, "echo printed");
    for job in [&first, &other, &third, &late, &iteration] {
        suite.apply(&*target, job.clone()).await.end().await;
    }
    for job in [&first, &late] {
        let kept = suite.fixture.remains(&job.key);
        ok("release", target.release(&job.run).await);
        let mut left = suite.fixture.remains(&job.key);
        let patience = Instant::now() + PATIENCE;
        while !left.is_empty() && !suite.fixture.nature().bound && Instant::now() < patience {
            // What was deleted goes by and by, and a fixture tells only what there is.
            tokio::time::sleep(Duration::from_millis(50)).await;
            left = suite.fixture.remains(&job.key);
        }
        assert!(left.is_empty(), "nothing may be left of a released run: {left:?}, of {kept:?}");
        ok("release again", target.release(&job.run).await);
    }
    for job in [&other, &iteration] {
        let again = suite.apply(&*target, job.clone()).await.end().await;
        assert_eq!(again.texts(crate::logs::Stream::Stdout).len(), 1, "what was not released is still there");
    }
}

/// Nobody needs to know whether a run is still there.
pub(super) async fn unknown_runs(suite: &Suite<'_>) {
    let target = suite.fixture.open();
    let nobody = RunKey::new(super::uid());
    let mut unknown = Run::default();
    unknown.metadata.uid.clone_from(&nobody.uid);
    ok("abort of an unknown run", target.abort(&nobody, Duration::ZERO).await);
    ok("release of an unknown run", target.release(&unknown).await);
    let ended = suite.job_of(&Program { script: "exit 0".to_owned(), deadline: None, grace: LONG });
    suite.apply(&*target, ended.clone()).await.end().await;
    ok("abort of a run that ended", target.abort(&ended.key, LONG).await);
}
