//! Runs are stopped: on request, at their deadline, with their orchestrator. Nothing of them is left.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{LONG, PATIENCE, Program, Suite, Witness, ok, resumed};
use crate::{
    RunState,
    logs::{LogPosition, Stream},
    target::Exit,
};

/// Waits for ever, and starts nothing that would have to be stopped.
const FOR_EVER: &str = "while :; do sleep 0.05; done";

/// Time for a shell to say that it was asked.
const GRACE: Duration = Duration::from_secs(1);

/// As much time as a shell may need on a busy machine to say what it must.
fn longer(time: Duration) -> Duration {
    let time = time * 4;
    assert!(time < PATIENCE, "a program must be up, and must hear that it is asked to end, within {time:?}");
    time
}

pub(super) async fn asked_before_it_is_killed(suite: &Suite<'_>) {
    let target = suite.fixture.open();
    let job = suite.job(&format!("trap 'echo asked; exit 7' TERM; echo up; {FOR_EVER}"));
    let mut follow = suite.apply(&*target, job.clone()).await;
    follow.line("up").await;
    let asked = Instant::now();
    ok("abort", target.abort(&job.key, LONG).await);
    assert!(asked.elapsed() < PATIENCE, "abort returns at once");
    let ended = follow.end().await;
    assert_eq!(*ended.exit(), Exit::Stopped, "what was asked to stop was stopped, however it ends");
    assert_eq!(
        ended.texts(Stream::Stdout),
        ["up", "asked"],
        "it is asked first, and its last words are kept"
    );
    assert_eq!(ended.last().deadline, None, "an abort is no deadline");
}

pub(super) async fn killed_after_the_grace(suite: &Suite<'_>) {
    let target = suite.fixture.open();
    let mut grace = GRACE;
    loop {
        let job = suite.job(&format!("trap 'echo asked' TERM; echo up; {FOR_EVER}"));
        let mut follow = suite.apply(&*target, job.clone()).await;
        follow.line("up").await;
        let asked = Instant::now();
        ok("abort", target.abort(&job.key, grace).await);
        let ended = follow.end().await;
        assert_eq!(*ended.exit(), Exit::Stopped, "what does not listen is killed");
        assert!(asked.elapsed() >= grace, "it has the whole grace: {:?}", asked.elapsed());
        if ended.texts(Stream::Stdout) == ["up", "asked"] {
            break;
        }
        grace = longer(grace);
    }

    // Impatience: a second request with less grace counts.
    let job = suite.job(&format!("trap 'echo asked' TERM; echo up; {FOR_EVER}"));
    let mut follow = suite.apply(&*target, job.clone()).await;
    follow.line("up").await;
    ok("abort", target.abort(&job.key, LONG).await);
    follow.line("asked").await;
    ok("abort again", target.abort(&job.key, Duration::ZERO).await);
    assert_eq!(*follow.end().await.exit(), Exit::Stopped, "a second request may be impatient");
}

pub(super) async fn over_its_time(suite: &Suite<'_>) {
    let target = suite.fixture.open();
    let script = format!("trap 'echo asked' TERM; echo up; {FOR_EVER}");
    let (mut limit, mut grace) = (Duration::from_millis(500), GRACE);
    loop {
        let program = Program { script: script.clone(), deadline: Some(limit), grace };
        let began = Instant::now();
        let ended = suite.apply(&*target, suite.job_of(&program)).await.end().await;
        assert_eq!(ended.last().deadline, Some(limit), "a run that took too long is known as such");
        assert_eq!(*ended.exit(), Exit::Stopped);
        match ended.texts(Stream::Stdout).len() {
            // Its time was over before it was up.
            0 => limit = longer(limit),
            1 => grace = longer(grace),
            _ => {
                assert_eq!(ended.texts(Stream::Stdout), ["up", "asked"]);
                assert!(began.elapsed() >= limit + grace, "it has its time, and its grace");
                break;
            }
        }
    }

    let program = Program { script: "exit 0".to_owned(), deadline: Some(LONG), grace: GRACE };
    let ended = suite.apply(&*target, suite.job_of(&program)).await.end().await;
    assert_eq!(
        (ended.last().deadline, ended.exit()),
        (None, &Exit::Code(0)),
        "a run in time meets no deadline"
    );
}

/// The time counts from the run's start, also where nobody was there to see it pass.
pub(super) async fn over_its_time_while_nobody_looked(suite: &Suite<'_>) {
    let script = format!("echo up; {FOR_EVER}");
    let mut job = suite.job_of(&Program { deadline: Some(LONG), grace: LONG, script: script.clone() });
    job.detached = true;
    let target = suite.fixture.open();
    let mut follow = suite.apply(&*target, job.clone()).await;
    follow.line("up").await;
    drop((follow, target));
    let target = suite.fixture.open();
    let mut job = resumed(&job, &LogPosition::default(), RunState::Running, Timestamp::UNIX_EPOCH);
    let mut deadline = LONG;
    if !suite.fixture.nature().bound {
        // It knows itself when it started the program.
        deadline = Duration::from_millis(1);
        let program = Program { deadline: Some(deadline), grace: LONG, script };
        job.plan = Arc::new(suite.fixture.plan(&program, &job.key, job.attempt));
    }
    let ended = suite.apply(&*target, job).await.end().await;
    assert_eq!(
        (ended.last().deadline, ended.exit()),
        (Some(deadline), &Exit::Stopped),
        "its time was over long ago"
    );
}

/// The request was recorded, and the orchestrator went: what was not started is not started any more.
pub(super) async fn asked_to_stop_while_nobody_looked(suite: &Suite<'_>) {
    let file = suite.path("started");
    let job = suite.job(&format!("echo start >'{}'", file.display()));
    let target = suite.fixture.open();
    let job = resumed(&job, &LogPosition::default(), RunState::Aborting, Timestamp::now());
    let ended = suite.apply(&*target, job).await.end().await;
    assert_eq!(*ended.exit(), Exit::Stopped, "a run that was to stop before it started is stopped");
    assert!(!file.exists(), "and was never started");
}

/// Processes that a run leaves behind: in the background, deaf, in a session of their own, orphaned, and with another
/// name for everything that could tell where they came from but their environment.
fn children(witness: &Witness) -> String {
    let nap = "sleep 600";
    let mut script = witness.held();
    script += &format!("{nap} &\n");
    script += &format!("(trap '' TERM INT HUP; {nap}; {nap}) &\n");
    script += &format!("(cd /; ({nap} &) &) &\n");
    if cfg!(target_os = "linux") {
        script += &format!("setsid {nap} &\n(setsid sh -c '(trap \"\" TERM; {nap}; {nap}) & exit 0' &)\n");
    }
    script + "echo ready >&9\necho ready\n"
}

pub(super) async fn nothing_outlives_an_end(suite: &Suite<'_>) {
    let witness = Witness::new(suite);
    let ended = suite.run(&format!("{}exit 4", children(&witness))).await;
    assert_eq!(*ended.exit(), Exit::Code(4), "{}", witness.path().display());
    witness.deserted("a run that ended by itself").await;
}

pub(super) async fn nothing_outlives_an_abort(suite: &Suite<'_>) {
    let witness = Witness::new(suite);
    let target = suite.fixture.open();
    let job = suite.job(&format!("{}{FOR_EVER}", children(&witness)));
    let mut follow = suite.apply(&*target, job.clone()).await;
    follow.line("ready").await;
    ok("abort", target.abort(&job.key, LONG).await);
    assert_eq!(*follow.end().await.exit(), Exit::Stopped);
    witness.deserted("a run that was aborted").await;
}

/// Without a word: the target is dropped, as it is when its program panics.
pub(super) async fn nothing_outlives_its_orchestrator(suite: &Suite<'_>) {
    let mut witness = Witness::new(suite);
    let target = suite.fixture.open();
    let job = suite.job(&format!("{}{FOR_EVER}", children(&witness)));
    let follow = suite.apply(&*target, job).await;
    witness.says("ready").await;
    drop((follow, target));
    witness.deserted("a run whose orchestrator is gone").await;
}

/// A run goes on without a word from anybody, and is found again.
pub(super) async fn a_run_outlives_its_orchestrator(suite: &Suite<'_>) {
    let mut witness = Witness::new(suite);
    let go = suite.path("go");
    let waits = format!(
        "echo ready >&9\nuntil [ -e '{}' ]; do sleep 0.02; done\necho over >&9\nexit 3",
        go.display()
    );
    let job = suite.job(&format!("{}{waits}", witness.held()));
    let target = suite.fixture.open();
    let follow = suite.apply(&*target, job.clone()).await;
    witness.says("ready").await;
    drop((follow, target));
    let written = std::fs::write(&go, "");
    assert!(written.is_ok(), "{written:?}");
    assert_eq!(witness.deserted("a run that goes on").await, ["over"], "it came to its own end");
    let target = suite.fixture.open();
    let job = resumed(&job, &LogPosition::default(), RunState::Running, Timestamp::now());
    assert_eq!(*suite.apply(&*target, job).await.end().await.exit(), Exit::Code(3), "and its end is known");
}
