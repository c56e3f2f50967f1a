//! What the SQLite store costs: a durable write beside SQLite's own floor, many writers, lists of a large store.
//!
//! `cargo bench --bench store` prints, beside criterion's figures, the two ratios that matter.

use std::{
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use runtime_core::{
    Run, RunState, Store,
    jiff::Timestamp,
    serde_json::{self, json},
    store::{RunFilter, RunRecord},
};
use runtimes::store::SqliteStore;
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{runtime::Runtime, task::JoinSet};

const WRITERS: u32 = 32;
const LISTED: u32 = 100_000;

/// Spreads uids over the whole space, as random ones are.
fn uid(n: u32) -> String {
    let high = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{high:016x}{:016x}", n)
}

fn record(n: u32) -> RunRecord {
    let mut run = Run::default();
    run.metadata.uid = uid(n);
    run.metadata.name = "train-fit".to_owned();
    run.metadata.project = format!("project-{}", n % 10);
    run.metadata.labels =
        [("kind", "local".to_owned()), ("team", format!("t{}", n % 100)), ("owner", "somebody".to_owned())]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
    run.spec.function = format!("project-{}/train@2b5e1d7c44a1f0a1b2c3d4e5f60718293a4b5c6d", n % 10);
    run.spec.handler = "fit".to_owned();
    run.spec.parameters.insert("rate".to_owned(), json!(0.001));
    run.spec.parameters.insert("epochs".to_owned(), json!(20));
    run.status.results.insert("accuracy".to_owned(), json!(0.973));
    RunRecord { run, revision: 0, owner: "one".to_owned(), target: "host".to_owned(), attempt: 0 }
}

/// SQLite alone, with the same promises: one connection, one table with a key, INSERT and COMMIT.
async fn floor(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4096");
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let create = "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, body TEXT)";
    sqlx::query(create).execute(&mut connection).await.unwrap();
    connection
}

async fn floor_write(connection: &mut SqliteConnection, record: &RunRecord) {
    let body = serde_json::to_string(&record.run).unwrap();
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO runs (uid, body) VALUES (?, ?)")
        .bind(record.run.metadata.uid.as_str())
        .bind(body)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

/// The fsync of the disk under the file: below this nothing durable can be.
fn fsyncs(path: &Path, count: u32) -> Duration {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    started.elapsed() / count
}

/// `writers` that each create runs and take them to their end; gives the writes per second.
async fn concurrent(store: &Arc<SqliteStore>, next: &Arc<AtomicU32>, writers: u32, runs: u32) -> f64 {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        let (store, next) = (Arc::clone(store), Arc::clone(next));
        tasks.spawn(async move {
            for _ in 0..runs / writers {
                let mut run = record(next.fetch_add(1, Ordering::Relaxed));
                store.create_run(&run).await.unwrap();
                run.revision = 1;
                for state in [RunState::Running, RunState::Completed] {
                    run.run.transition(state, Timestamp::now()).unwrap();
                    run.revision = store.update_run(&run).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    f64::from(runs / writers * writers * 3) / started.elapsed().as_secs_f64()
}

/// The two ratios, measured side by side so that a busy machine hurts both alike.
async fn ratios(folder: &Path) {
    const ROUNDS: u32 = 20;
    const EACH: u32 = 50;
    let mut connection = floor(&folder.join("floor.db")).await;
    let store = Arc::new(SqliteStore::open(folder.join("ratio.db")).await.unwrap());
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for n in 0..EACH {
            let record = record(round * EACH + n);
            let started = Instant::now();
            floor_write(&mut connection, &record).await;
            bare.push(started.elapsed());
            let started = Instant::now();
            store.create_run(&record).await.unwrap();
            ours.push(started.elapsed());
        }
    }
    let (bare, ours) = (median(bare), median(ours));
    println!(
        "one write at a time: SQLite alone {bare:?}, the store {ours:?}: {:.2}x",
        seconds(ours) / seconds(bare)
    );
    println!("one fsync of this disk: {:?}", fsyncs(&folder.join("fsync"), 500));
    let next = Arc::new(AtomicU32::new(ROUNDS * EACH));
    let mut rates = Vec::new();
    for _ in 0..5 {
        rates.push(concurrent(&store, &next, WRITERS, 9_600).await);
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{WRITERS} writers: {:.0} durable writes/s (median; {:.0} to {:.0})",
        rates[2], rates[0], rates[4]
    );
    store.close().await.unwrap();
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn writes(criterion: &mut Criterion, runtime: &Runtime, folder: &Path) {
    let mut group = criterion.benchmark_group("write");
    let next = Arc::new(AtomicU32::new(0));
    let connection = runtime.block_on(floor(&folder.join("bench-floor.db")));
    let connection = tokio::sync::Mutex::new(connection);
    group.bench_function("sqlite alone, one at a time", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let record = record(next.fetch_add(1, Ordering::Relaxed));
            floor_write(&mut *connection.lock().await, &record).await;
        });
    });
    let store = Arc::new(runtime.block_on(SqliteStore::open(folder.join("bench.db"))).unwrap());
    group.bench_function("store, one at a time", |bencher| {
        bencher.to_async(runtime).iter(async || {
            store.create_run(&record(next.fetch_add(1, Ordering::Relaxed))).await.unwrap();
        });
    });
    for writers in [8, WRITERS, 128] {
        group.throughput(Throughput::Elements(u64::from(writers) * 3));
        group.bench_function(BenchmarkId::new("store, writers", writers), |bencher| {
            bencher.to_async(runtime).iter(|| concurrent(&store, &next, writers, writers));
        });
    }
    group.finish();
}

async fn fill(store: &Arc<SqliteStore>) {
    const TASKS: u32 = 64;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for n in (task..LISTED).step_by(TASKS as usize) {
                let mut record = record(n);
                // Most have ended; few have failed, and fewer are active.
                let state = match n {
                    n if n % 1000 == 0 => RunState::Running,
                    n if n % 100 == 0 => RunState::Error,
                    _ => RunState::Completed,
                };
                record.run.transition(state, Timestamp::now()).unwrap();
                if state.is_terminal() {
                    record.owner.clear();
                }
                store.create_run(&record).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

fn reads(criterion: &mut Criterion, runtime: &Runtime, folder: &Path) {
    let store = Arc::new(runtime.block_on(SqliteStore::open(folder.join("large.db"))).unwrap());
    runtime.block_on(fill(&store));
    let middle = runtime.block_on(store.list_runs(&RunFilter::active())).unwrap()[50].run.status.last_update;
    let base = RunFilter { limit: 50, ..RunFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let cases = [
        ("newest", base.clone()),
        ("project", RunFilter { project: text("project-3"), ..base.clone() }),
        ("state error", RunFilter { states: vec![RunState::Error], ..base.clone() }),
        ("active", RunFilter { limit: 50, ..RunFilter::active() }),
        ("project, active", RunFilter { project: text("project-0"), limit: 50, ..RunFilter::active() }),
        ("owner", RunFilter { owner: text("one"), ..base.clone() }),
        ("name", RunFilter { name: text("train-fit"), ..base.clone() }),
        ("function", RunFilter { function: text("train"), ..base.clone() }),
        ("label, rare", RunFilter { labels: label("team", "t7"), ..base.clone() }),
        ("label, on all", RunFilter { labels: label("kind", "local"), ..base.clone() }),
        (
            "label and project",
            RunFilter { labels: label("kind", "local"), project: text("project-3"), ..base.clone() },
        ),
        ("time", RunFilter { since: middle, ..base.clone() }),
        ("uid", RunFilter { uid_prefix: Some(uid(4711)[..8].to_owned()), ..base.clone() }),
        // The worst: what leads is on every run, and what follows lets almost none through.
        (
            "label on all, active",
            RunFilter { labels: label("kind", "local"), ..RunFilter { limit: 50, ..RunFilter::active() } },
        ),
    ];
    let mut group = criterion.benchmark_group("list 50 of 100,000");
    for (name, filter) in cases {
        group.bench_function(name, |bencher| {
            bencher.to_async(runtime).iter(async || black_box(store.list_runs(&filter).await.unwrap()));
        });
    }
    group.finish();
    let key = record(4711).run.key();
    criterion.bench_function("get 1 of 100,000", |bencher| {
        bencher.to_async(runtime).iter(async || black_box(store.get_run(&key).await.unwrap()));
    });
}

fn main() {
    // Beside the build, not in /tmp, which may be memory and would flatter the figures.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(ratios(folder.path()));
    let mut criterion =
        Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).configure_from_args();
    writes(&mut criterion, &runtime, folder.path());
    reads(&mut criterion, &runtime, folder.path());
    criterion.final_summary();
}
