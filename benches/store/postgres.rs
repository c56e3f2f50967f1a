//! The PostgreSQL store, on a server of the benchmark's own, through its socket.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Instant,
};

use runtime_core::Store;
use runtimes::store::PostgresStore;
use sqlx::{ConnectOptions, Executor, postgres::PgConnectOptions};

use super::{
    RUNS_A_ROUND, RUNS_ALONE, WRITERS, concurrent, lists, median, print_writers, record, server::Server,
};

/// Prints what writes and lists cost.
pub(crate) async fn ratios() {
    const RUNS: u32 = 500;
    let Some(server) = Server::start("") else { return };
    let store = Arc::new(PostgresStore::connect(&server.fresh()).await.unwrap());
    let mut times = Vec::new();
    for n in 0..RUNS {
        let started = Instant::now();
        store.create_run(&record(n)).await.unwrap();
        times.push(started.elapsed());
    }
    let one = median(times);
    println!("PostgreSQL, one write at a time: {one:?}");
    let next = Arc::new(AtomicU32::new(RUNS));
    let alone = concurrent(&store, &next, 1, RUNS_ALONE).await;
    let many = concurrent(&store, &next, WRITERS, RUNS_A_ROUND).await;
    print_writers("PostgreSQL, ", vec![(alone, many)]);
    store.close().await.unwrap();

    let url = server.fresh();
    let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(&url).await.unwrap());
    lists::fill(&store).await;
    // The server does that by itself, a minute later.
    let options: PgConnectOptions =
        url.split_once("&schema=").map_or(url.as_str(), |(url, _)| url).parse().unwrap();
    options.connect().await.unwrap().execute("ANALYZE").await.unwrap();
    for (name, filter) in lists::cases(lists::middle(&*store).await) {
        let mut times = Vec::new();
        for _ in 0..20 {
            let started = Instant::now();
            store.list_runs(&filter).await.unwrap();
            times.push(started.elapsed());
        }
        println!("PostgreSQL, list 50 of 100,000, {name}: {:?}", median(times));
    }
    store.close().await.unwrap();
}
