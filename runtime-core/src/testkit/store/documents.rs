//! Documents: changed by revision, listed by what is due, written together with a run, gone with it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;

use super::{advance, concurrency::join, create, ok, record, refused};
use crate::{
    ErrorKind, RunState, Store,
    run::RunKey,
    store::{Document, DocumentFilter},
};

const CLAIMERS: u32 = 32;

fn document(name: &str) -> Document {
    Document::new("schedule", "demo", name, json!({ "cron": "*/10 * * * *", "odd": "nul \u{0} \u{1F980}" }))
}

async fn get(store: &dyn Store, document: &Document) -> Option<Document> {
    let Document { kind, project, name, .. } = document;
    ok("get_document", store.get_document(kind, project, name).await)
}

/// Puts it, and gives it as it must be stored.
async fn put(store: &dyn Store, document: Document) -> Document {
    let before = Timestamp::now();
    let revision = ok(format!("put_document of {}", document.name), store.put_document(&document).await);
    assert_eq!(revision, document.revision + 1, "put_document must count the revision up by one");
    let stored = get(store, &document).await;
    let updated = stored.as_ref().map(|stored| stored.updated).unwrap_or_default();
    assert!(
        updated.as_second() >= before.as_second() && updated <= Timestamp::now(),
        "put_document sets `updated`: {updated} is not between {before} and now"
    );
    let expected = Document { revision, updated, ..document };
    assert_eq!(stored, Some(expected.clone()), "get_document must give what put_document stored");
    expected
}

async fn expect(store: &dyn Store, what: &str, filter: DocumentFilter, expected: &[&str]) {
    let listed = ok(format!("list_documents {what}"), store.list_documents(&filter).await);
    let names: Vec<&str> = listed.iter().map(|document| document.name.as_str()).collect();
    assert_eq!(names, expected, "list_documents {what}");
    for document in &listed {
        assert_eq!(
            get(store, document).await.as_ref(),
            Some(document),
            "list_documents gives whole documents"
        );
    }
}

pub(super) async fn changed_by_revision(store: &dyn Store) {
    assert_eq!(get(store, &document("a")).await, None, "an unknown document is None, not an error");
    let run = create(store, record(1)).await;
    let due = Timestamp::from_microsecond(1_900_000_000_123_456).ok();
    let first = put(store, Document { parent: Some(run.run.key()), due, ..document("a") }).await;
    let again = store.put_document(&document("a")).await;
    refused("put_document of a new document that exists", ErrorKind::AlreadyExists, "\"a\"", again);
    let ahead = Document { revision: 7, ..first.clone() };
    refused(
        "put_document on another revision",
        ErrorKind::Conflict,
        "\"a\"",
        store.put_document(&ahead).await,
    );
    assert_eq!(
        get(store, &first).await.as_ref(),
        Some(&first),
        "a refused put_document leaves what is stored"
    );

    let changed = Document {
        topic: Some("new".to_owned()),
        parent: None,
        due: None,
        body: json!([1, 2.5, null]),
        ..first.clone()
    };
    let second = put(store, changed).await;
    assert_eq!(second.revision, 2, "the first change makes revision 2");
    refused(
        "put_document on an old revision",
        ErrorKind::Conflict,
        "\"a\"",
        store.put_document(&first).await,
    );
    let unknown = Document { revision: 1, ..document("b") };
    refused(
        "put_document of a deleted one",
        ErrorKind::NotFound,
        "\"b\"",
        store.put_document(&unknown).await,
    );
    assert_eq!(get(store, &unknown).await, None, "a refused put_document creates nothing");
    let nameless = store.put_document(&document("")).await;
    refused("put_document without a name", ErrorKind::Invalid, "name", nameless);
    let orphan = Document { parent: Some(RunKey::new("gone")), ..document("c") };
    refused("put_document of an unknown run", ErrorKind::NotFound, "gone", store.put_document(&orphan).await);
    assert_eq!(get(store, &orphan).await, None, "a refused put_document creates nothing");

    let delete = async |revision| store.delete_document("schedule", "demo", "a", revision).await;
    refused("delete_document at an old revision", ErrorKind::Conflict, "\"a\"", delete(Some(1)).await);
    assert!(get(store, &second).await.is_some(), "a refused delete_document deletes nothing");
    assert!(ok("delete_document", delete(Some(2)).await), "delete_document says that there was one");
    assert_eq!(get(store, &second).await, None, "a deleted document is gone");
    assert!(!ok("delete_document", delete(Some(2)).await), "delete_document says that there was none");
    put(store, document("a")).await;
    assert!(ok("delete_document", delete(None).await), "delete_document of any revision");
}

pub(super) async fn listed(store: &dyn Store) {
    let run = create(store, record(1)).await.run.key();
    let at = |seconds: i64| Timestamp::from_second(1_900_000_000 + seconds).ok();
    for (name, due, parent) in
        [("a", at(30), None), ("b", at(10), Some(run.clone())), ("c", None, None), ("d", at(20), None)]
    {
        put(store, Document { due, parent, ..document(name) }).await;
        next_microsecond();
    }
    put(store, Document { project: "other".to_owned(), ..document("a") }).await;
    put(store, Document { kind: "artifact".to_owned(), due: at(0), ..document("a") }).await;
    let topic = || Some("model".to_owned());
    for (name, project) in [("x", "demo"), ("y", "other"), ("z", "demo")] {
        let about = Document { kind: "artifact".to_owned(), topic: topic(), ..document(name) };
        put(store, Document { project: project.to_owned(), ..about }).await;
        next_microsecond();
    }
    let all = || DocumentFilter::of("schedule");
    let demo = || DocumentFilter { project: Some("demo".to_owned()), ..all() };
    expect(store, "of an unknown kind", DocumentFilter::of("sched"), &[]).await;
    expect(store, "of a kind", all(), &["a", "d", "c", "b", "a"]).await;
    expect(store, "of a project", demo(), &["d", "c", "b", "a"]).await;
    expect(store, "with a limit", DocumentFilter { limit: 2, ..demo() }, &["d", "c"]).await;
    expect(store, "by name", DocumentFilter { name: Some("a".to_owned()), ..all() }, &["a", "a"]).await;
    let about = || DocumentFilter { topic: topic(), ..DocumentFilter::of("artifact") };
    let about_in = |project: &str| DocumentFilter { project: Some(project.to_owned()), ..about() };
    expect(store, "by topic", about(), &["z", "y", "x"]).await;
    expect(
        store,
        "by topic and project, with a limit",
        DocumentFilter { limit: 1, ..about_in("demo") },
        &["z"],
    )
    .await;
    expect(store, "by a topic that nothing is about", DocumentFilter { topic: topic(), ..all() }, &[]).await;
    expect(store, "by project and name", DocumentFilter { name: Some("a".to_owned()), ..demo() }, &["a"])
        .await;
    expect(store, "by run", DocumentFilter { parent: Some(run.clone()), ..all() }, &["b"]).await;
    let iteration = RunKey { iteration: 1, ..run.clone() };
    expect(store, "by an iteration of the run", DocumentFilter { parent: Some(iteration), ..all() }, &[])
        .await;
    let before = |seconds| DocumentFilter { due_before: at(seconds), ..all() };
    expect(store, "that are due", before(20), &["b", "d"]).await;
    expect(store, "that were due a moment earlier", before(19), &["b"]).await;
    expect(store, "by due time", before(99), &["b", "d", "a"]).await;
    expect(store, "the first that is due", DocumentFilter { limit: 1, ..before(99) }, &["b"]).await;
    let together =
        DocumentFilter { project: Some("demo".to_owned()), parent: Some(run), limit: 9, ..before(99) };
    expect(store, "by all fields", together, &["b"]).await;
    // A change makes it the newest, and moves it to where it is due now.
    if let Some(a) = get(store, &document("a")).await {
        put(store, Document { due: at(5), ..a }).await;
    }
    expect(store, "after a change", demo(), &["a", "d", "c", "b"]).await;
    expect(store, "by due time after a change", before(99), &["a", "b", "d"]).await;
}

/// Stores keep microseconds: what comes next is in a later one.
fn next_microsecond() {
    let now = Timestamp::now().as_microsecond();
    while Timestamp::now().as_microsecond() <= now + 1 {
        std::hint::spin_loop();
    }
}

pub(super) async fn written_with_a_run(store: &dyn Store) {
    let mut run = create(store, record(1)).await;
    let key = run.run.key();
    let mine = |name: &str| Document { parent: Some(key.clone()), ..document(name) };
    put(store, document("old")).await;
    ok("a legal transition", run.run_mut().transition(RunState::Running, Timestamp::now()));
    let topic = Some("t".to_owned());
    let both = [mine("new"), Document { topic, body: json!(2), revision: 77, ..mine("old") }];
    let revision = ok("update_run_with", store.update_run_with(&run, &both).await);
    assert_eq!(revision, 2, "update_run_with gives the revision of the run");
    let stored = ok("get_run", store.get_run(&key).await);
    assert_eq!(stored.map(|stored| stored.run), Some(run.run.clone()), "update_run_with writes the run");
    for (document, revision) in both.iter().zip([1, 2]) {
        let stored = get(store, document).await;
        let updated = stored.as_ref().map(|stored| stored.updated).unwrap_or_default();
        let expected = Document { revision, updated, ..document.clone() };
        assert_eq!(stored, Some(expected), "update_run_with writes the documents, whatever is there");
    }

    // The revision is that of before: nothing of it may be written.
    let late = [mine("late"), Document { body: json!(3), ..mine("old") }];
    let result = store.update_run_with(&run, &late).await;
    refused("update_run_with on an old revision", ErrorKind::Conflict, &key.uid, result);
    run.revision = revision;
    let orphan = [mine("late"), Document { parent: Some(RunKey::new("gone")), ..document("orphan") }];
    let result = store.update_run_with(&run, &orphan).await;
    refused("update_run_with a document of an unknown run", ErrorKind::NotFound, "gone", result);
    assert_eq!(get(store, &mine("late")).await, None, "a refused update_run_with writes no document");
    assert_eq!(
        get(store, &mine("old")).await.map(|old| old.body),
        Some(json!(2)),
        "a refused update_run_with changes no document"
    );
    let stored = ok("get_run", store.get_run(&key).await);
    assert_eq!(stored.map(|stored| stored.revision), Some(2), "a refused update_run_with leaves the run");

    let ended = advance(store, run, RunState::Completed).await;
    let result = store.update_run_with(&ended, &late).await;
    refused("update_run_with of a run that has ended", ErrorKind::Conflict, "completed", result);
    assert_eq!(get(store, &mine("late")).await, None, "a refused update_run_with writes no document");
}

pub(super) async fn deleted_with_their_run(store: &dyn Store) {
    let (one, two) = (create(store, record(1)).await, create(store, record(2)).await);
    let of = |run: &RunKey, name: &str| Document { parent: Some(run.clone()), ..document(name) };
    let one = advance(store, one, RunState::Completed).await.run.key();
    for document in [of(&one, "a"), of(&one, "b"), of(&two.run.key(), "c"), document("d")] {
        put(store, document).await;
    }
    ok("delete_run", store.delete_run(&one).await);
    expect(store, "after the run was deleted", DocumentFilter::of("schedule"), &["d", "c"]).await;
    put(store, document("a")).await;
}

/// Of many that claim the same document, one succeeds; whoever holds it can hand it on.
pub(super) async fn claimed_once(store: Arc<dyn Store>) {
    let mut current = put(&*store, document("lease")).await;
    let start = Timestamp::now();
    for round in 0_u32..10 {
        let mut claimers = JoinSet::new();
        for claimer in 0..CLAIMERS {
            let (store, current) = (Arc::clone(&store), current.clone());
            let due = start.checked_add(SignedDuration::from_secs(i64::from(round))).ok();
            claimers.spawn(async move {
                let claim = Document { due, body: json!(claimer), ..current };
                match store.put_document(&claim).await {
                    Ok(_) => {
                        let stored = get(&*store, &claim).await.map(|stored| stored.body);
                        assert_eq!(stored, Some(json!(claimer)), "the winner's claim is kept");
                        1
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "a loser's error: {error}");
                        0
                    }
                }
            });
        }
        assert_eq!(join(claimers).await, 1, "of {CLAIMERS} that claim the same document, one succeeds");
        current = get(&*store, &current).await.unwrap_or_default();
        assert_eq!(current.revision, u64::from(round) + 2, "each round is one change");
    }
    let mut creators = JoinSet::new();
    for _ in 0..CLAIMERS {
        let store = Arc::clone(&store);
        creators.spawn(async move { u32::from(store.put_document(&document("new")).await.is_ok()) });
    }
    assert_eq!(join(creators).await, 1, "of {CLAIMERS} that create the same document, one succeeds");
}
