//! Lists of runs: each filter alone, filters together, the newest first.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{advance, create, ok, record, uid};
use crate::{
    RunState, Store,
    store::{RunFilter, RunRecord},
};

/// The numbers of the runs that a filter lets through, in the order of the list.
async fn list(store: &dyn Store, filter: &RunFilter) -> Vec<RunRecord> {
    ok(format!("list_runs with {filter:?}"), store.list_runs(filter).await)
}

async fn expect(store: &dyn Store, what: &str, filter: RunFilter, expected: &[u32]) {
    let listed: Vec<String> =
        list(store, &filter).await.into_iter().map(|record| record.run.key().uid).collect();
    let expected: Vec<String> = expected.iter().copied().map(uid).collect();
    assert_eq!(listed, expected, "list_runs {what}, newest first");
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) async fn newest_first_and_limited(store: &dyn Store) {
    expect(store, "of an empty store", RunFilter::default(), &[]).await;
    // The uids go down while time goes on: the order must come from the time.
    for n in [5, 4, 3, 2, 1] {
        create(store, record(n)).await;
    }
    expect(store, "without a filter", RunFilter::default(), &[1, 2, 3, 4, 5]).await;
    expect(store, "with limit 2", RunFilter { limit: 2, ..RunFilter::default() }, &[1, 2]).await;
    expect(store, "with limit 5", RunFilter { limit: 5, ..RunFilter::default() }, &[1, 2, 3, 4, 5]).await;
    expect(
        store,
        "with a limit above what there is",
        RunFilter { limit: 99, ..RunFilter::default() },
        &[1, 2, 3, 4, 5],
    )
    .await;
    let of_others = RunFilter { project: Some("other".to_owned()), limit: 2, ..RunFilter::default() };
    expect(store, "of another project", of_others, &[]).await;
}

/// Four runs that differ in every field by which runs are found. Gives the instant before the last was created.
async fn four(store: &dyn Store) -> Timestamp {
    let mut one = record(1);
    one.run_mut().metadata.labels = labels(&[("team", "blue"), ("tier", "gold")]);
    create(store, one).await;
    let mut two = record(2);
    two.run_mut().metadata.project = "other".to_owned();
    two.run_mut().metadata.labels = labels(&[("team", "red"), ("tier", "gold")]);
    advance(store, create(store, two).await, RunState::Running).await;
    let mut three = record(3);
    three.run_mut().metadata.name = "test".to_owned();
    three.run_mut().spec.function = "demo/score@99".to_owned();
    advance(store, create(store, three).await, RunState::Completed).await;
    let before = Timestamp::now();
    // Stores keep microseconds: the next run must be in a later one.
    while Timestamp::now().as_microsecond() <= before.as_microsecond() + 1 {
        std::hint::spin_loop();
    }
    let mut four = record(0xf00);
    four.owner = "two".to_owned();
    create(store, four).await;
    before
}

pub(super) async fn by_each_field(store: &dyn Store) {
    let before = four(store).await;
    let all = RunFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        ("by project", RunFilter { project: text("other"), ..all() }, &[2][..]),
        ("by name", RunFilter { name: text("test"), ..all() }, &[3]),
        ("by function", RunFilter { function: text("train"), ..all() }, &[0xf00, 2, 1]),
        ("by a part of a function's name", RunFilter { function: text("trai"), ..all() }, &[]),
        ("by one state", RunFilter { states: vec![RunState::Created], ..all() }, &[0xf00, 1]),
        (
            "by two states",
            RunFilter { states: vec![RunState::Completed, RunState::Running], ..all() },
            &[3, 2],
        ),
        (
            "by a state given twice",
            RunFilter { states: vec![RunState::Running, RunState::Running], ..all() },
            &[2],
        ),
        ("of active runs", RunFilter::active(), &[0xf00, 2, 1]),
        ("by a label", RunFilter { labels: labels(&[("tier", "gold")]), ..all() }, &[2, 1]),
        ("by two labels", RunFilter { labels: labels(&[("tier", "gold"), ("team", "red")]), ..all() }, &[2]),
        ("by labels of different runs", RunFilter { labels: labels(&[("team", "gold")]), ..all() }, &[]),
        ("by the beginning of a uid", RunFilter { uid_prefix: text(&uid(0xf00)[..30]), ..all() }, &[0xf00]),
        ("by a whole uid", RunFilter { uid_prefix: text(&uid(2)), ..all() }, &[2]),
        ("by an empty beginning", RunFilter { uid_prefix: text(""), ..all() }, &[0xf00, 3, 2, 1]),
        ("by a pattern, which a beginning is not", RunFilter { uid_prefix: text("a%"), ..all() }, &[]),
        ("since an instant", RunFilter { since: Some(before), ..all() }, &[0xf00]),
        ("by owner", RunFilter { owner: text("two"), ..all() }, &[0xf00]),
        ("by an unknown owner", RunFilter { owner: text("three"), ..all() }, &[]),
    ];
    for (what, filter, expected) in cases {
        expect(store, what, filter, expected).await;
    }
    let mut child = record(1);
    child.run_mut().metadata.iteration = 2;
    create(store, child).await;
    expect(store, "of iteration 2", RunFilter { iteration: Some(2), ..all() }, &[1]).await;
    expect(store, "of no iteration", RunFilter { iteration: Some(0), ..all() }, &[0xf00, 3, 2, 1]).await;
}

pub(super) async fn by_fields_together(store: &dyn Store) {
    let before = four(store).await;
    let text = |text: &str| Some(text.to_owned());
    let everything = RunFilter {
        project: text("other"),
        name: text("train-fit"),
        function: text("train"),
        states: vec![RunState::Running, RunState::Pending],
        labels: labels(&[("team", "red"), ("tier", "gold")]),
        uid_prefix: text(&uid(2)[..8]),
        iteration: Some(0),
        since: Some(before - jiff::SignedDuration::from_hours(1)),
        owner: text("one"),
        limit: 10,
    };
    expect(store, "by all fields at once", everything.clone(), &[2]).await;
    // Each field counts: with any one of them changed, nothing is found.
    let changes: [fn(&mut RunFilter); 8] = [
        |filter| filter.project = Some("demo".to_owned()),
        |filter| filter.name = Some("test".to_owned()),
        |filter| filter.function = Some("score".to_owned()),
        |filter| filter.states = vec![RunState::Completed],
        |filter| drop(filter.labels.insert("team".to_owned(), "blue".to_owned())),
        |filter| filter.uid_prefix = Some(uid(3)),
        |filter| filter.since = Some(Timestamp::now() + jiff::SignedDuration::from_hours(1)),
        |filter| filter.owner = Some("two".to_owned()),
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut filter = everything.clone();
        change(&mut filter);
        expect(store, &format!("by all fields, field {n} changed"), filter, &[]).await;
    }
    let first = RunFilter { project: text("demo"), limit: 1, ..RunFilter::active() };
    expect(store, "the newest active of a project", first, &[0xf00]).await;
    let first = RunFilter { labels: labels(&[("tier", "gold")]), limit: 1, ..RunFilter::active() };
    expect(store, "the newest active with a label", first, &[2]).await;
}

pub(super) async fn follows_changes(store: &dyn Store) {
    let mut run = create(store, record(1)).await;
    run.run_mut().metadata.labels = labels(&[("team", "blue")]);
    let mut run = advance(store, run, RunState::Running).await;
    let blue = RunFilter { labels: labels(&[("team", "blue")]), ..RunFilter::default() };
    expect(store, "by a label that came with an update", blue.clone(), &[1]).await;
    run.run_mut().metadata.labels = labels(&[("team", "red")]);
    run.owner = String::new();
    let run = advance(store, run, RunState::Completed).await;
    expect(store, "by a label that was replaced", blue, &[]).await;
    expect(store, "of active runs after the end", RunFilter::active(), &[]).await;
    let owned = RunFilter { owner: Some("one".to_owned()), ..RunFilter::default() };
    expect(store, "by an owner that let go", owned, &[]).await;
    let ownerless = RunFilter { owner: Some(String::new()), ..RunFilter::default() };
    expect(store, "by no owner", ownerless, &[1]).await;
    assert_eq!(
        list(store, &RunFilter::default()).await,
        vec![run.clone()],
        "list_runs must give the whole records"
    );
    ok("delete_run", store.delete_run(&run.run.key()).await);
    // What a run is called may change too, though it hardly ever does.
    let renamed = create(store, record(2)).await;
    let mut renamed = advance(store, renamed, RunState::Running).await;
    renamed.run_mut().metadata.name = "renamed".to_owned();
    renamed.run_mut().metadata.project = "moved".to_owned();
    renamed.run_mut().spec.function = "moved/other@1".to_owned();
    let renamed = advance(store, renamed, RunState::Completed).await;
    let by_name = RunFilter { name: Some("renamed".to_owned()), ..RunFilter::default() };
    let by_project = RunFilter { project: Some("moved".to_owned()), ..RunFilter::default() };
    let by_function = RunFilter { function: Some("other".to_owned()), ..RunFilter::default() };
    for filter in [by_name, by_project, by_function] {
        assert_eq!(
            list(store, &filter).await,
            vec![renamed.clone()],
            "list_runs by what a run is called now"
        );
    }
    let red = RunFilter { labels: labels(&[("team", "red")]), ..RunFilter::default() };
    expect(store, "by a label of a deleted run", red, &[]).await;
}
