//! A run is started once, whoever asks, however often, and whoever dies meanwhile.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Suite, Witness, follow::Follow, resumed};
use crate::{
    ErrorKind, RunState,
    logs::{LogPosition, Stream},
    target::Exit,
};

/// A program that counts its starts, prints, and waits for a file before it ends with 5.
struct Counted {
    starts: PathBuf,
    go: PathBuf,
}

impl Counted {
    fn new(suite: &Suite<'_>) -> Self {
        Self { starts: suite.path("starts"), go: suite.path("go") }
    }

    fn script(&self) -> String {
        format!(
            "echo start >>'{}'; echo one; echo two; until [ -e '{}' ]; do sleep 0.02; done; echo three; printf four; exit 5",
            self.starts.display(),
            self.go.display()
        )
    }

    fn go(&self) {
        let written = std::fs::write(&self.go, "");
        assert!(written.is_ok(), "{written:?}");
    }

    fn started_once(&self, what: &str) {
        assert_eq!(lines(&self.starts), 1, "{what}: it must have been started exactly once");
    }
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Asked twice at the same time, by one orchestrator and by two.
pub(super) async fn applied_while_it_runs(suite: &Suite<'_>) {
    let program = Counted::new(suite);
    let job = suite.job(&program.script());
    let target = suite.fixture.open();
    let mut first = suite.apply(&*target, job.clone()).await;
    first.line("two").await;
    let own = target.apply(job.clone()).await;
    let other = suite.fixture.open();
    let others = other.apply(job).await;
    program.go();
    let mut followed = vec![first.end().await];
    for again in [own, others] {
        match again {
            Ok(events) => followed.push(Follow::new(events).end().await),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict),
                "what runs is followed, or refused as `AlreadyExists` or `Conflict`: {error:?}"
            ),
        }
    }
    for ended in followed {
        assert_eq!(*ended.exit(), Exit::Code(5), "whoever follows sees the same end");
        assert_eq!(
            ended.texts(Stream::Stdout),
            ["one", "two", "three", "four"],
            "whoever follows sees the same log"
        );
    }
    program.started_once("applied while it runs");
}

/// Asked again after the end, before it was released: the end is told again, from where the log is stored.
pub(super) async fn applied_after_the_end(suite: &Suite<'_>) {
    let program = Counted::new(suite);
    program.go();
    let job = suite.job(&program.script());
    let target = suite.fixture.open();
    let mut first = suite.apply(&*target, job.clone()).await;
    first.line("two").await;
    let position = first.position.clone();
    let ended = first.end().await;
    assert_eq!(*ended.exit(), Exit::Code(5));
    for (what, job, expected) in [
        ("from the beginning", job.clone(), vec!["one", "two", "three", "four"]),
        (
            "from its second line",
            resumed(&job, &position, RunState::Running, Timestamp::now()),
            vec!["three", "four"],
        ),
    ] {
        let ended = suite.apply(&*target, job).await.end().await;
        assert_eq!(*ended.exit(), Exit::Code(5), "applied after the end, {what}");
        assert_eq!(ended.texts(Stream::Stdout), expected, "applied after the end, {what}");
    }
    program.started_once("applied after the end");
}

/// Another attempt, and another iteration, are other runs.
pub(super) async fn attempts_are_apart(suite: &Suite<'_>) {
    let program = Counted::new(suite);
    program.go();
    let job = suite.job(&program.script());
    let target = suite.fixture.open();
    suite.apply(&*target, job.clone()).await.end().await;
    let second = suite.other(&job, 0, 1, &program.script());
    let second = suite.apply(&*target, second).await.end().await;
    assert_eq!(second.texts(Stream::Stdout).len(), 4, "an attempt has a log of its own");
    let third = suite.other(&job, 3, 1, &program.script());
    suite.apply(&*target, third).await.end().await;
    assert_eq!(lines(&program.starts), 3, "each attempt and each iteration is started");
}

/// The orchestrator goes, another one comes, and the run knows nothing of it.
pub(super) async fn taken_up_by_another(suite: &Suite<'_>) {
    let program = Counted::new(suite);
    let mut job = suite.job(&program.script());
    job.detached = true;
    let target = suite.fixture.open();
    let mut first = suite.apply(&*target, job.clone()).await;
    first.line("two").await;
    let (began, position) = (Timestamp::now(), first.position.clone());
    drop((first, target));

    let target = suite.fixture.open();
    let mut second = suite.apply(&*target, resumed(&job, &position, RunState::Running, began)).await;
    program.go();
    second.line("four").await;
    let ended = second.end().await;
    assert_eq!(*ended.exit(), Exit::Code(5), "the true exit is seen by whoever comes later");
    assert_eq!(ended.texts(Stream::Stdout), ["three", "four"], "the log goes on where it was stored");
    program.started_once("taken up by another orchestrator");
}

/// It ended between two orchestrators: its exit and its output were kept.
pub(super) async fn ended_while_nobody_looked(suite: &Suite<'_>) {
    let program = Counted::new(suite);
    let witness = Witness::new(suite);
    let mut job = suite.job(&format!("{}{}", witness.held(), program.script()));
    job.detached = true;
    let target = suite.fixture.open();
    let mut first = suite.apply(&*target, job.clone()).await;
    first.line("one").await;
    drop((first, target));
    program.go();
    witness.deserted("a program that ended by itself").await;

    let target = suite.fixture.open();
    let job = resumed(&job, &LogPosition::default(), RunState::Running, Timestamp::now());
    let ended = suite.apply(&*target, job).await.end().await;
    assert_eq!(*ended.exit(), Exit::Code(5), "the true exit is kept while nobody looks");
    assert_eq!(ended.texts(Stream::Stdout), ["one", "two", "three", "four"], "so is what it printed");
    program.started_once("ended while nobody looked");
}
