//! What became of a transaction whose commit was not answered: each writer's row says which was its last.
//!
//! `pg_xact_status` would ask for less, but not survive a crash: an id that was given and not yet on disk is given again,
//! and its status is then another's.

use runtime_core::jiff::Timestamp;
use sqlx::{PgConnection, query, query_scalar};

/// After how long a row of a writer that did not leave in order is deleted, in microseconds: a day. No transaction is
/// asked after for as long; a writer that is idle for longer makes its row again.
const OLD: i64 = 24 * 60 * 60 * 1_000_000;

/// Says in a writer's row that this is its last transaction, and tells the others of it once it is committed.
pub(super) async fn sign(on: &mut PgConnection, name: &str, batch: i64, channel: String) -> sqlx::Result<()> {
    let sign = query(
        "INSERT INTO writers (name, batch, written) SELECT $1, $2, $3 FROM pg_notify($4, $1) \
         ON CONFLICT (name) DO UPDATE SET batch = excluded.batch, written = excluded.written",
    );
    sign.bind(name).bind(batch).bind(now()).bind(channel).execute(on).await.map(drop)
}

/// The last transaction of a writer that was committed, 0 where none was. Waits for one that has not ended.
pub(super) async fn last(on: &mut PgConnection, name: &str) -> sqlx::Result<i64> {
    let last = query_scalar(
        "INSERT INTO writers (name, batch, written) VALUES ($1, 0, $2) \
         ON CONFLICT (name) DO UPDATE SET written = excluded.written RETURNING batch",
    );
    last.bind(name).bind(now()).fetch_one(on).await
}

/// Deletes the row of a writer that leaves.
pub(super) async fn leave(on: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    query("DELETE FROM writers WHERE name = $1").bind(name).execute(on).await.map(drop)
}

/// Deletes the rows of those that were killed.
pub(super) async fn forget_old(on: &mut PgConnection) -> sqlx::Result<()> {
    query("DELETE FROM writers WHERE written < $1").bind(now() - OLD).execute(on).await.map(drop)
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
