//! What every store must do. Each check gets an empty store of its own and says in words what failed.
#![allow(clippy::panic, reason = "a conformance suite reports by panicking")]

mod concurrency;
mod documents;
mod functions;
mod listing;
mod runs;

use std::{fmt::Display, sync::Arc};

use jiff::Timestamp;

use crate::{Error, ErrorKind, Function, Run, RunState, Store, store::RunRecord};

/// Runs every check against stores that `make` opens: each call must give an empty one.
///
/// # Panics
/// With the behaviour that the store does not have.
pub async fn store_conformance<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    runs::created_and_read(&*make().await).await;
    runs::changed_by_revision(&*make().await).await;
    runs::final_when_ended(&*make().await).await;
    runs::deleted_when_ended(&*make().await).await;
    runs::iterations_are_runs(&*make().await).await;
    runs::kept_without_loss(&*make().await).await;
    listing::newest_first_and_limited(&*make().await).await;
    listing::by_each_field(&*make().await).await;
    listing::by_fields_together(&*make().await).await;
    listing::follows_changes(&*make().await).await;
    functions::versions_and_tags(&*make().await).await;
    functions::found_by_hash(&*make().await).await;
    functions::listed(&*make().await).await;
    functions::deleted_unless_needed(&*make().await).await;
    functions::versions_deleted(&*make().await).await;
    concurrency::changes_are_told(&*make().await).await;
    concurrency::many_writers(make().await).await;
    concurrency::one_winner(make().await).await;
    documents::changed_by_revision(&*make().await).await;
    documents::listed(&*make().await).await;
    documents::written_with_a_run(&*make().await).await;
    documents::deleted_with_their_run(&*make().await).await;
    documents::claimed_once(make().await).await;
}

/// A uid as runs have them: 32 hexadecimal digits.
fn uid(n: u32) -> String {
    format!("{:032x}", u128::from(n) + 0xa000_0000_0000_0000_0000_0000_0000_0000)
}

fn record(n: u32) -> RunRecord {
    let mut run = Run::default();
    run.metadata.uid = uid(n);
    run.metadata.name = "train-fit".to_owned();
    run.metadata.project = "demo".to_owned();
    run.spec.function = "demo/train@0123abc".to_owned();
    RunRecord { run: run.into(), revision: 0, owner: "one".to_owned(), target: "host".to_owned(), attempt: 0 }
}

fn function(project: &str, name: &str, command: &str) -> Function {
    let mut function = Function { kind: "local".to_owned(), ..Function::default() };
    function.metadata.project = project.to_owned();
    function.metadata.name = name.to_owned();
    function.spec.command = command.to_owned();
    function
}

/// Creates the run and gives it back as it must be stored.
async fn create(store: &dyn Store, record: RunRecord) -> RunRecord {
    ok("create_run of a new run", store.create_run(&record).await);
    RunRecord { revision: 1, ..record }
}

/// Moves a run as an orchestrator does, and gives it back as it must be stored.
async fn advance(store: &dyn Store, mut record: RunRecord, to: RunState) -> RunRecord {
    ok("a legal transition", record.run_mut().transition(to, Timestamp::now()));
    let revision = ok(format!("update_run to {to}"), store.update_run(&record).await);
    assert_eq!(revision, record.revision + 1, "update_run must count the revision up by one");
    record.revision = revision;
    record
}

fn ok<T>(what: impl Display, result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} must succeed, and failed: {error:?}"),
    }
}

/// The error must be of this kind, and name what it is about.
fn refused<T>(what: impl Display, kind: ErrorKind, names: &str, result: Result<T, Error>) {
    match result {
        Ok(_) => panic!("{what} must be refused with {kind:?}, and succeeded"),
        Err(error) if error.kind() != kind => {
            panic!("{what} must be refused with {kind:?}, and was with {error:?}")
        }
        Err(error) => {
            assert!(error.to_string().contains(names), "{what}: the error must name {names:?}: {error}")
        }
    }
}
