//! Schedules, with times that are given: fired once, by whoever is first; missed, skipped, suspended.

use std::{path::Path, time::Duration};

use runtimes::{
    ErrorKind, Orchestrator, Request, RunState, Served,
    core::{
        jiff::{SignedDuration, Timestamp},
        run::{RunKey, SecretSources},
        secret::Secret,
        serde_json::json,
        store::{Document, RunFilter, RunRecord},
    },
    schedule::{Concurrency, Schedule, ScheduleRecord},
};

use crate::{open, shell, within};

fn minutely(name: &str) -> Schedule {
    Schedule { name: name.to_owned(), ..Schedule::new("* * * * *") }
}

/// Runs that go on until the FIFO `go` is written to, where there is one.
fn waiting(folder: &Path) -> Request {
    shell(folder, "echo ready; [ ! -p go ] || read line <go")
}

fn hold(folder: &Path) -> std::path::PathBuf {
    let go = folder.join("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    go
}

async fn runs(orchestrator: &Orchestrator) -> Vec<RunRecord> {
    orchestrator.list(&RunFilter::default()).await.unwrap()
}

async fn ended(orchestrator: &Orchestrator, key: &RunKey) -> RunState {
    within(orchestrator.watch(key).await.unwrap().wait()).await.unwrap().state()
}

async fn get(orchestrator: &Orchestrator, name: &str) -> ScheduleRecord {
    orchestrator.get_schedule(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_is_fired_once_whoever_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    let (two, three) = (open(folder.path()).await, open(folder.path()).await);
    let made =
        one.schedule(minutely("often"), shell(folder.path(), "echo hi").parameter("n", 3)).await.unwrap();
    let mut time = made.next.unwrap();
    assert!(one.fire_due(time - SignedDuration::from_secs(1)).await.unwrap().is_empty());
    let mut all = Vec::new();
    for round in 1..=3 {
        let (a, b, c) = tokio::join!(one.fire_due(time), two.fire_due(time), three.fire_due(time));
        let fired: Vec<_> = [a, b, c].into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(fired.len(), 1, "round {round}: {fired:?}");
        for orchestrator in [&one, &two, &three] {
            assert!(orchestrator.fire_due(time).await.unwrap().is_empty());
        }
        assert_eq!(ended(&one, &fired[0]).await, RunState::Completed);
        let record = get(&two, "often").await;
        assert_eq!(record.last.unwrap().uid, fired[0].uid);
        assert_eq!(record.next.unwrap(), time + SignedDuration::from_mins(1));
        time = record.next.unwrap();
        all.extend(fired);
    }
    let found = runs(&one).await;
    assert_eq!(found.len(), all.len());
    for record in &found {
        assert_eq!(record.run.metadata.labels["mlrun/schedule-name"], "often");
        assert_eq!(record.run.spec.parameters["n"], 3);
        assert_eq!(record.run.spec.function, made.run.function);
    }
    for orchestrator in [one, two, three] {
        orchestrator.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_is_one_version() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let made = orchestrator.schedule(minutely("old"), shell(folder.path(), "exit 0")).await.unwrap();
    // Its function goes on meanwhile; the schedule stays what it was.
    orchestrator.run(shell(folder.path(), "exit 3")).await.unwrap();
    let fired = orchestrator.fire_due(made.next.unwrap()).await.unwrap();
    assert_eq!(ended(&orchestrator, &fired[0]).await, RunState::Completed);
    // One of the same name takes its place.
    let again = orchestrator.schedule(minutely("old"), shell(folder.path(), "exit 3")).await.unwrap();
    assert_eq!(orchestrator.schedules(None).await.unwrap(), std::slice::from_ref(&again));
    let fired = orchestrator.fire_due(again.next.unwrap()).await.unwrap();
    assert_eq!(ended(&orchestrator, &fired[0]).await, RunState::Error);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_run_of_an_earlier_time_goes_on() {
    for concurrency in Concurrency::ALL {
        let folder = tempfile::tempdir().unwrap();
        let orchestrator = open(folder.path()).await;
        let go = hold(folder.path());
        let schedule = Schedule { concurrency, ..minutely("long") };
        let made = orchestrator.schedule(schedule, waiting(folder.path())).await.unwrap();
        let time = made.next.unwrap();
        let first = orchestrator.fire_due(time).await.unwrap().remove(0);
        let time = time + SignedDuration::from_mins(1);
        let second = within(orchestrator.fire_due(time)).await.unwrap();
        let state = orchestrator.find(&first.uid).await.unwrap().run.state();
        let record = get(&orchestrator, "long").await;
        match concurrency {
            Concurrency::Allow => assert!(second.len() == 1 && !state.is_terminal()),
            Concurrency::Forbid => {
                assert!(second.is_empty() && !state.is_terminal());
                let skipped = record.skipped.clone().unwrap();
                assert_eq!((skipped.time, skipped.count), (time, 1));
                assert!(skipped.reason.contains(&first.uid), "{skipped:?}");
            }
            Concurrency::Replace => {
                assert_eq!((second.len(), state), (1, RunState::Aborted));
            }
        }
        assert_eq!(record.next.unwrap(), time + SignedDuration::from_mins(1));
        // It is there no more: what waits ends, and the next time is fired.
        std::fs::remove_file(&go).unwrap();
        for record in runs(&orchestrator).await {
            match orchestrator.abort(&record.run.key()).await {
                Err(error) if error.kind() != ErrorKind::Conflict => panic!("{error}"),
                _ => {}
            }
        }
        let third = orchestrator.fire_due(record.next.unwrap()).await.unwrap();
        assert_eq!(ended(&orchestrator, &third[0]).await, RunState::Completed, "{concurrency}");
        orchestrator.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_times() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let schedule = Schedule { starting_deadline_seconds: Some(30), ..minutely("missed") };
    let made = orchestrator.schedule(schedule, shell(folder.path(), "true")).await.unwrap();
    let due = made.next.unwrap();
    // Nobody was there for five times; the last one is still within the deadline.
    let now = due + SignedDuration::from_secs(4 * 60 + 20);
    let fired = orchestrator.fire_due(now).await.unwrap();
    assert_eq!(fired.len(), 1);
    let record = get(&orchestrator, "missed").await;
    assert_eq!(record.last.unwrap().time, due + SignedDuration::from_mins(4));
    assert_eq!(record.skipped.unwrap().count, 4);
    ended(&orchestrator, &fired[0]).await;
    // Then for so long that not even the last one is.
    let now = record.next.unwrap() + SignedDuration::from_secs(45);
    assert!(orchestrator.fire_due(now).await.unwrap().is_empty());
    let record = get(&orchestrator, "missed").await;
    let skipped = record.skipped.unwrap();
    assert!(skipped.reason.contains("45s late; at most 30s"), "{skipped:?}");
    assert_eq!(record.next.unwrap(), skipped.time + SignedDuration::from_mins(1));
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_resumed_triggered_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut request = shell(folder.path(), "true");
    request.project = "fraud".to_owned();
    orchestrator.schedule(minutely("now-and-then"), request).await.unwrap();
    let name = "fraud/now-and-then";
    let record = orchestrator.suspend_schedule(name, true).await.unwrap();
    assert!(record.suspended && record.next.is_none());
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert!(orchestrator.fire_due(later).await.unwrap().is_empty());
    // It can be run all the same.
    let run = orchestrator.run(orchestrator.scheduled_request(name).await.unwrap()).await.unwrap();
    assert_eq!(run.metadata.labels["mlrun/schedule-name"], "now-and-then");
    assert_eq!(run.metadata.project, "fraud");
    let record = orchestrator.suspend_schedule(name, false).await.unwrap();
    assert!(record.next.unwrap() > Timestamp::now() && record.skipped.is_none());
    assert_eq!(orchestrator.fire_due(record.next.unwrap()).await.unwrap().len(), 1);
    orchestrator.delete_schedule(name).await.unwrap();
    assert!(orchestrator.schedules(None).await.unwrap().is_empty());
    for error in [
        orchestrator.delete_schedule(name).await.unwrap_err(),
        orchestrator.suspend_schedule("often", true).await.unwrap_err(),
        orchestrator.scheduled_request("often").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.help_text().unwrap().contains("schedule list"), "{error}");
    }
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_when_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let request = || shell(folder.path(), "true");
    let own = SecretSources::Inline([("K".to_owned(), Some(Secret::new("v")))].into());
    for (schedule, request, kind, place) in [
        (Schedule::new("61 * * * *"), request(), ErrorKind::Invalid, "schedule.cron"),
        (
            Schedule { time_zone: "Mars".into(), ..minutely("a") },
            request(),
            ErrorKind::Invalid,
            "schedule.time_zone",
        ),
        (minutely("No Name"), request(), ErrorKind::Invalid, "schedule.name"),
        (minutely("a"), request().secrets(own), ErrorKind::Unsupported, "spec.secret_sources"),
    ] {
        let error = orchestrator.schedule(schedule, request).await.unwrap_err();
        assert_eq!((error.kind(), error.location()), (kind, Some(place)), "{error}");
        assert!(error.help_text().is_some(), "{error}");
    }
    assert!(orchestrator.schedules(None).await.unwrap().is_empty());
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_gone_is_said_and_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let mut other = shell(folder.path(), "true");
    other.function.metadata.name = "other".to_owned();
    let time =
        orchestrator.schedule(minutely("gone"), shell(folder.path(), "true")).await.unwrap().next.unwrap();
    orchestrator.schedule(minutely("there"), other).await.unwrap();
    orchestrator.store().delete_function("default", "shell").await.unwrap();
    let fired = orchestrator.fire_due(time + SignedDuration::from_mins(1)).await.unwrap();
    assert_eq!(fired.len(), 1);
    let skipped = get(&orchestrator, "gone").await.skipped.unwrap();
    assert!(skipped.reason.contains("shell"), "{skipped:?}");
    assert_eq!(get(&orchestrator, "there").await.last.unwrap().uid, fired[0].uid);
    orchestrator.close().await.unwrap();
}

/// Lets the next time of a schedule be this one.
async fn due_at(orchestrator: &Orchestrator, name: &str, time: Timestamp) {
    let store = orchestrator.store();
    let document = store.get_document("schedule", "default", name).await.unwrap().unwrap();
    let mut body = document.body.clone();
    body["next"] = json!(time);
    store.put_document(&Document { due: Some(time), body, ..document }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_fires_what_is_due_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let (seen, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (end, ended_by) = tokio::sync::oneshot::channel::<()>();
    let serving = {
        let orchestrator = orchestrator.clone();
        tokio::spawn(async move {
            let cancel = async { drop(ended_by.await) };
            orchestrator.serve(cancel, move |served| drop(seen.send(served))).await;
        })
    };
    // It comes while it is served, from another one, and was due a moment ago.
    let other = open(folder.path()).await;
    let mut receiver = crate::receiver::Receiver::start(&[crate::receiver::Answer::Status(200)]);
    let notification = runtimes::core::run::Notification {
        params: json!({"url": receiver.url}).as_object().cloned(),
        ..runtimes::core::run::Notification::new(runtimes::core::run::NotificationKind::Webhook)
    };
    let yearly = Schedule { name: "due".to_owned(), ..Schedule::new("@yearly") };
    other.schedule(yearly, shell(folder.path(), "true").notify(notification)).await.unwrap();
    let time = Timestamp::now() - SignedDuration::from_secs(1);
    due_at(&other, "due", time).await;
    let fired = within(told.recv()).await.unwrap();
    let Served::Fired { schedule, fired } = fired else { panic!("{fired:?}") };
    assert_eq!((&*schedule, fired.time), ("default/due", time));
    assert_eq!(ended(&other, &RunKey::new(fired.uid)).await, RunState::Completed);
    receiver.next().await;
    assert_eq!(within(told.recv()).await.unwrap(), Served::Sent(1));
    drop(end);
    tokio::time::timeout(Duration::from_secs(60), serving).await.unwrap().unwrap();
    other.close().await.unwrap();
    orchestrator.close().await.unwrap();
}
