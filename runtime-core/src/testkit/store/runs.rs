//! Runs: created once, changed by revision, final when they have ended.

use serde_json::json;

use super::{advance, create, ok, record, refused, uid};
use crate::{ErrorKind, RunState, Store, run::RunKey, store::RunRecord};

pub(super) async fn created_and_read(store: &dyn Store) {
    let stored = create(store, RunRecord { revision: 77, ..record(1) }).await;
    let key = stored.run.key();
    let read = ok("get_run", store.get_run(&key).await);
    assert_eq!(read.as_ref(), Some(&stored), "get_run must give what create_run stored, with revision 1");
    let again = store.create_run(&record(1)).await;
    refused("create_run of a run that exists", ErrorKind::AlreadyExists, &uid(1), again);
    let read = ok("get_run", store.get_run(&key).await);
    assert_eq!(read, Some(stored), "a refused create_run must leave the stored run alone");
    let none = ok("get_run of an unknown run", store.get_run(&RunKey::new(uid(2))).await);
    assert_eq!(none, None, "get_run of a run that was never created");
}

pub(super) async fn changed_by_revision(store: &dyn Store) {
    let first = create(store, record(1)).await;
    let key = first.run.key();
    let mut second = advance(store, first.clone(), RunState::Running).await;
    assert_eq!(second.revision, 2, "the first update makes revision 2");
    refused("update_run on an old revision", ErrorKind::Conflict, &uid(1), store.update_run(&first).await);
    let ahead = RunRecord { revision: 9, ..second.clone() };
    refused("update_run on a future revision", ErrorKind::Conflict, &uid(1), store.update_run(&ahead).await);
    assert_eq!(
        ok("get_run", store.get_run(&key).await).as_ref(),
        Some(&second),
        "a refused update_run must leave the stored run alone"
    );
    second.owner = "two".to_owned();
    second.target = "elsewhere".to_owned();
    second.attempt = 3;
    second.run_mut().metadata.labels.insert("team".to_owned(), "blue".to_owned());
    second.revision = ok("update_run", store.update_run(&second).await);
    assert_eq!(
        ok("get_run", store.get_run(&key).await),
        Some(second),
        "update_run must keep owner, target, attempt and labels"
    );
    let unknown = RunRecord { revision: 1, ..record(2) };
    refused("update_run of an unknown run", ErrorKind::NotFound, &uid(2), store.update_run(&unknown).await);
    let none = ok("get_run", store.get_run(&unknown.run.key()).await);
    assert_eq!(none, None, "a refused update_run must not create the run");
}

pub(super) async fn final_when_ended(store: &dyn Store) {
    let ends = [RunState::Completed, RunState::Error, RunState::Aborted, RunState::Skipped];
    for (n, end) in (1..).zip(ends) {
        let ended = advance(store, create(store, record(n)).await, end).await;
        let mut changed = ended.clone();
        changed.run_mut().status.error = Some("said too late".to_owned());
        let what = format!("update_run of a run that is {end}");
        refused(what, ErrorKind::Conflict, end.as_str(), store.update_run(&changed).await);
        let read = ok("get_run", store.get_run(&ended.run.key()).await);
        assert_eq!(read, Some(ended), "a run that is {end} must stay as it is");
    }
}

pub(super) async fn deleted_when_ended(store: &dyn Store) {
    let active = create(store, record(1)).await;
    let key = active.run.key();
    let early = store.delete_run(&key).await;
    refused("delete_run of a run that has not ended", ErrorKind::Conflict, &uid(1), early);
    assert!(
        ok("get_run", store.get_run(&key).await).is_some(),
        "a refused delete_run must leave the run alone"
    );
    let ended = advance(store, active, RunState::Completed).await;
    assert!(ok("delete_run", store.delete_run(&key).await), "delete_run must say that there was a run");
    assert_eq!(ok("get_run", store.get_run(&key).await), None, "a deleted run must be gone");
    assert!(!ok("delete_run", store.delete_run(&key).await), "delete_run must say that there was no run");
    refused("update_run of a deleted run", ErrorKind::NotFound, &uid(1), store.update_run(&ended).await);
    let reborn = create(store, record(1)).await;
    assert_eq!(reborn.revision, 1, "a run may be created again after it was deleted");
}

pub(super) async fn iterations_are_runs(store: &dyn Store) {
    let parent = create(store, record(1)).await;
    let mut child = record(1);
    child.run_mut().metadata.iteration = 2;
    let child = advance(store, create(store, child).await, RunState::Completed).await;
    for expected in [parent, child] {
        let read = ok("get_run", store.get_run(&expected.run.key()).await);
        assert_eq!(read, Some(expected), "a parent and its iteration are different runs");
    }
}

/// Whatever a run carries comes back as it was: fields that nobody here knows, text in any script, long text.
pub(super) async fn kept_without_loss(store: &dyn Store) {
    let mut odd = record(1);
    let run = odd.run_mut();
    run.metadata.labels.insert("quote'\"\\ \u{1F980}".to_owned(), "null \u{0} and {\"a\": 1}".to_owned());
    run.metadata.extra.insert("later".to_owned(), json!({ "deep": [1, 2.5, null, true] }));
    run.spec.parameters.insert("large".to_owned(), json!("x".repeat(300_000)));
    run.spec.parameters.insert("exact".to_owned(), json!(9_007_199_254_740_993_i64));
    run.status.results.insert("loss".to_owned(), json!(0.1));
    let stored = create(store, odd).await;
    let read = ok("get_run", store.get_run(&stored.run.key()).await);
    assert!(read == Some(stored), "an unusual run must come back exactly as it was stored");
}
