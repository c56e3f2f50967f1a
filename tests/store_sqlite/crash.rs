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
    serde_json::json,
    store::{Document, DocumentFilter, RunFilter, RunRecord},
};
use runtimes::store::SqliteStore;

use super::{another_process, ask, my_file, record};

/// How often, unless `RUNTIMES_TEST_KILLS` says otherwise.
const ROUNDS: u32 = 20;
const WRITERS: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let rounds = std::env::var("RUNTIMES_TEST_KILLS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        // Early, in the middle, late: another place in the stream of writes each time.
        let after = 1 + (round * 97) % 400;
        write_until_killed(&file, round, after as usize, &mut acknowledged);
        check(&file, &acknowledged).await;
    }
    assert!(acknowledged.len() > rounds as usize, "the children did write");
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
    let documents = store.list_documents(&DocumentFilter::of("count")).await.unwrap();
    let counts: HashMap<&str, u64> =
        documents.iter().map(|document| (document.name.as_str(), document.revision)).collect();
    for document in &documents {
        assert_eq!(
            document.body,
            json!(document.revision),
            "a document is whole: its body is that of its revision"
        );
    }
    for (name, revision) in acknowledged {
        let found =
            stored.get(name.as_str()).map(|record| record.revision).or(counts.get(name.as_str()).copied());
        let found = found.unwrap_or_else(|| panic!("{name} was acknowledged and is lost"));
        assert!(
            found >= *revision,
            "revision {revision} of {name} was acknowledged and is lost: {found} is there"
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
                OR (SELECT count(*) FROM run_labels) <> (SELECT count(*) FROM runs) \
                OR (revision = 3) <> EXISTS (SELECT 1 FROM documents WHERE kind = 'end' AND run = runs.uid)";
    assert_eq!(ask::<i64>(file, torn).await, 0, "columns, labels and documents are those of the record");
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
                record.run_mut().metadata.labels.insert("me".to_owned(), uid.clone());
                store.create_run(&record).await.unwrap();
                println!("stored {uid} 1");
                record.revision = 1;
                record.run_mut().transition(RunState::Running, Timestamp::now()).unwrap();
                record.revision = store.update_run(&record).await.unwrap();
                println!("stored {uid} {}", record.revision);
                record.run_mut().transition(RunState::Completed, Timestamp::now()).unwrap();
                let end =
                    Document { parent: Some(record.run.key()), ..Document::new("end", "", &uid, json!(n)) };
                record.revision = store.update_run_with(&record, &[end]).await.unwrap();
                println!("stored {uid} {}", record.revision);
                let name = format!("count-{round}-{writer}");
                let count = Document { revision: n, ..Document::new("count", "", &name, json!(n + 1)) };
                println!("stored {name} {}", store.put_document(&count).await.unwrap());
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
}
