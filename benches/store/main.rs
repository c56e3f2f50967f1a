//! What the SQLite store costs: a durable write beside SQLite's own floor, many writers, lists of a large store.
//!
//! `cargo bench -p runtimes --bench store` prints, beside criterion's figures, the ratios that matter.
//! `STORE_BENCH_DIR` says on which disk.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop where it stands")]

mod documents;
mod lists;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
#[path = "../../tests/server/mod.rs"]
mod server;

use std::{
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
    store::RunRecord,
};
use runtimes::store::SqliteStore;
use rusqlite::Connection;
use tokio::{runtime::Runtime, task::JoinSet};

const WRITERS: u32 = 32;
/// Runs in one round of the many writers, and of one alone; each is three writes.
const RUNS_A_ROUND: u32 = 9_600;
const RUNS_ALONE: u32 = 960;
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
    RunRecord { run: run.into(), revision: 0, owner: "one".to_owned(), target: "host".to_owned(), attempt: 0 }
}

/// SQLite alone, with the same promises, in the thread of whoever writes: BEGIN, INSERT, COMMIT.
struct Floor {
    connection: Connection,
    insert: &'static str,
}

impl Floor {
    fn connect(path: &Path, insert: &'static str) -> Self {
        let connection = Connection::open(path).unwrap();
        for (name, value) in
            [("journal_mode", "WAL"), ("synchronous", "FULL"), ("wal_autocheckpoint", "4096")]
        {
            connection.pragma_update(None, name, value).unwrap();
        }
        Self { connection, insert }
    }

    /// A table with a key and no other index: the least that a store could do.
    fn bare(path: &Path) -> Self {
        let insert = "INSERT INTO runs (uid, body, labels) VALUES (?, ?, ?)";
        let floor = Self::connect(path, insert);
        let create = "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, labels TEXT, body TEXT)";
        floor.connection.execute_batch(create).unwrap();
        floor
    }

    /// The store's own tables, with their indexes and labels.
    async fn same_tables(path: &Path) -> Self {
        SqliteStore::open(path).await.unwrap().close().await.unwrap();
        let insert = "INSERT INTO runs (uid, body, labels, iteration, revision, project, name, function, function_uri, \
                      state, terminal, owner, target, attempt, created, updated) VALUES (?, ?, ?, 0, 1, 'project-1', \
                      'train-fit', 'train', 'project-1/train@2b5e1d7c44a1f0a1b2c3d4e5f60718293a4b5c6d', 'created', 0, \
                      'one', 'host', 0, unixepoch() * 1000000, unixepoch() * 1000000)";
        Self::connect(path, insert)
    }

    fn write(&self, record: &RunRecord) {
        let body = serde_json::to_string(&record.run).unwrap();
        let labels = serde_json::to_string(&record.run.metadata.labels).unwrap();
        let execute = |sql| self.connection.prepare_cached(sql).unwrap().execute([]).unwrap();
        execute("BEGIN");
        let mut insert = self.connection.prepare_cached(self.insert).unwrap();
        insert.execute([record.run.metadata.uid.as_str(), &body, &labels]).unwrap();
        execute("COMMIT");
    }
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
async fn concurrent<S: Store + 'static>(
    store: &Arc<S>,
    next: &Arc<AtomicU32>,
    writers: u32,
    runs: u32,
) -> f64 {
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
                    run.run_mut().transition(state, Timestamp::now()).unwrap();
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

/// The ratios, measured side by side so that a busy machine hurts all alike.
async fn ratios(folder: &Path) {
    const RUNS: u32 = 1000;
    let bare = Floor::bare(&folder.join("bare.db"));
    let same = Floor::same_tables(&folder.join("same.db")).await;
    let store = Arc::new(SqliteStore::open(folder.join("ratio.db")).await.unwrap());
    let mut times = [const { Vec::new() }; 3];
    for n in 0..RUNS {
        let record = record(n);
        let started = Instant::now();
        bare.write(&record);
        times[0].push(started.elapsed());
        let started = Instant::now();
        same.write(&record);
        times[1].push(started.elapsed());
        let started = Instant::now();
        store.create_run(&record).await.unwrap();
        times[2].push(started.elapsed());
    }
    let [bare, same, ours] = times.map(median);
    println!("one write at a time: {ours:?}");
    println!("  beside one connection and the same tables: {same:?}, {:.2}x", seconds(ours) / seconds(same));
    println!("  beside one connection and a bare table: {bare:?}, {:.2}x", seconds(ours) / seconds(bare));
    println!("one fsync of this disk: {:?}", fsyncs(&folder.join("fsync"), 500));
    let next = Arc::new(AtomicU32::new(RUNS));
    let (mut pairs, mut used) = (Vec::new(), 0.0);
    for _ in 0..5 {
        let alone = concurrent(&store, &next, 1, RUNS_ALONE).await;
        let before = cpu_seconds();
        pairs.push((alone, concurrent(&store, &next, WRITERS, RUNS_A_ROUND).await));
        used += cpu_seconds() - before;
    }
    print_writers("", pairs);
    let used = used / f64::from(5 * RUNS_A_ROUND * 3);
    println!("  processor time of a write, all threads: {:.1} us", used * 1e6);
    store.close().await.unwrap();
}

/// The same work done by one writer and by many, in writes per second, round by round.
fn print_writers(database: &str, mut pairs: Vec<(f64, f64)>) {
    pairs.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
    let (alone, many) = pairs[pairs.len() / 2];
    println!("{database}{WRITERS} writers: {many:.0} durable writes/s, one writer: {alone:.0}/s");
    let ratios: Vec<_> = pairs.iter().map(|(alone, many)| format!("{:.1}x", many / alone)).collect();
    println!("  beside the same work of one writer: {} (at least 5x)", ratios.join(" "));
}

/// What this process used of all processors, where the system says so; in steps of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory that this process had, in bytes, where the system says so.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
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
    let floor = runtime.block_on(Floor::same_tables(&folder.join("bench-floor.db")));
    group.bench_function("sqlite alone, one at a time", |bencher| {
        bencher.to_async(runtime).iter(async || {
            let record = record(next.fetch_add(1, Ordering::Relaxed));
            floor.write(&record);
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

fn main() {
    // Beside the build, not in /tmp, which may be memory and would flatter the figures. On purpose, it may: what is
    // left then is the cost of the program alone.
    let on = std::env::var("STORE_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let folder = tempfile::tempdir_in(on).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(ratios(folder.path()));
    runtime.block_on(documents::ratios(folder.path()));
    #[cfg(feature = "postgres")]
    runtime.block_on(postgres::ratios());
    let mut criterion =
        Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).configure_from_args();
    writes(&mut criterion, &runtime, folder.path());
    lists::reads(&mut criterion, &runtime, folder.path());
    criterion.final_summary();
    println!("the most memory of all this: {} MiB", peak() >> 20);
}
