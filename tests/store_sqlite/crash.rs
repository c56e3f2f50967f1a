//! kill -9 at any moment: what was acknowledged is there, and nothing is half there.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
};

use runtime_core::{
    RunState, Store,
    jiff::Timestamp,
    store::{RunFilter, RunRecord},
};
use runtimes::store::SqliteStore;

use super::{another_process, ask, my_file, record};

const ROUNDS: u32 = 20;
const WRITERS: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    for round in 0..ROUNDS {
        // Early, in the middle, late: another place in the stream of writes each time.
        let after = 1 + (round * 97) % 400;
        write_until_killed(&file, round, after as usize, &mut acknowledged);
        check(&file, &acknowledged).await;
    }
    assert!(acknowledged.len() > ROUNDS as usize, "the children did write");
}

/// Starts a writer, kills it after so many acknowledgements, and notes all that it gave.
fn write_until_killed(file: &Path, round: u32, after: usize, acknowledged: &mut HashMap<String, u64>) {
    let mut child = another_process("crash::write", file).env("ROUND", round.to_string()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    // What it said before it died counts as well, so this reads to the end.
    for line in lines.map_while(Result::ok) {
        // The first line may come behind what the test harness says.
        let Some((_, said)) = line.split_once("stored ") else { continue };
        let (uid, revision) = said.split_once(' ').unwrap();
        acknowledged.insert(uid.to_owned(), revision.parse().unwrap());
        seen += 1;
        if seen == after {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(seen >= after && !status.success(), "the writer ended by itself: {status}, after {seen}");
}

async fn check(file: &Path, acknowledged: &HashMap<String, u64>) {
    let store = SqliteStore::open(file).await.unwrap();
    let all = store.list_runs(&RunFilter::default()).await.unwrap();
    let stored: HashMap<&str, &RunRecord> =
        all.iter().map(|record| (record.run.metadata.uid.as_str(), record)).collect();
    for (uid, revision) in acknowledged {
        let record =
            stored.get(uid.as_str()).unwrap_or_else(|| panic!("run {uid} was acknowledged and is lost"));
        assert!(
            record.revision >= *revision,
            "revision {revision} of run {uid} was acknowledged and is lost"
        );
    }
    for record in &all {
        let expected = match record.revision {
            1 => RunState::Created,
            2 => RunState::Running,
            _ => RunState::Completed,
        };
        assert_eq!(record.run.state(), expected, "a run is whole: its state is that of its revision");
    }
    let torn = "SELECT count(*) FROM runs WHERE state <> body ->> '$.status.state' \
                OR (SELECT count(*) FROM run_labels WHERE key = 'me' AND value = runs.uid AND run = runs.id) <> 1 \
                OR (SELECT count(*) FROM run_labels) <> (SELECT count(*) FROM runs)";
    assert_eq!(ask::<i64>(file, torn).await, 0, "columns and labels are those of the record");
    assert_eq!(ask::<String>(file, "PRAGMA integrity_check").await, "ok");
    store.close().await.unwrap();
}

#[ignore = "the work of a process of `killed_at_any_moment`"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write() {
    let Some(file) = my_file() else { return };
    let round = std::env::var("ROUND").unwrap();
    let store = Arc::new(SqliteStore::open(file).await.unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, round) = (Arc::clone(&store), round.clone());
        writers.spawn(async move {
            // Far more than any round reads: the end is the kill.
            for n in 0..100_000 {
                let uid = format!("{round}-{writer}-{n}");
                let mut record = record(uid.clone());
                record.run.metadata.labels.insert("me".to_owned(), uid.clone());
                store.create_run(&record).await.unwrap();
                println!("stored {uid} 1");
                record.revision = 1;
                for state in [RunState::Running, RunState::Completed] {
                    record.run.transition(state, Timestamp::now()).unwrap();
                    record.revision = store.update_run(&record).await.unwrap();
                    println!("stored {uid} {}", record.revision);
                }
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
}
