//! One transaction for many changes.

use runtime_core::Result;
use sqlx::{Connection, SqliteConnection};

use super::{
    row::RunRow,
    statement::{MAX_ROWS, Statements, delete_function, delete_run, put_function},
    writer::{Request, Write},
};

/// What each change of a batch came to, in the batch's order.
pub(super) type Counts = Vec<Result<u64>>;

/// Makes all these changes durable, or none. A change whose condition does not hold counts 0 and hinders nobody.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Request],
) -> sqlx::Result<Counts> {
    match together(connection, statements, batch).await? {
        Some(counts) => Ok(counts),
        None => one_by_one(connection, statements, batch).await,
    }
}

/// The quick way: many runs in a statement. `None`, and nothing done, where not every run could be written.
async fn together(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Request],
) -> sqlx::Result<Option<Counts>> {
    let work = Work::of(batch);
    if let ([row], []) | ([], [row]) = (&work.creates[..], &work.updates[..])
        && work.others.is_empty()
    {
        // A statement alone is a transaction, and saves two round trips.
        let written = if work.updates.is_empty() {
            statements.create(connection, &[row]).await?
        } else {
            statements.update(connection, &[row]).await?
        };
        return Ok((written == 1).then(|| vec![Ok(1)]));
    }
    // IMMEDIATE: wait for other processes now, not half-way through.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut written = 0;
    for chunk in work.creates.chunks(MAX_ROWS) {
        written += statements.create(&mut transaction, chunk).await?;
    }
    for chunk in work.updates.chunks(MAX_ROWS) {
        written += statements.update(&mut transaction, chunk).await?;
    }
    if written != (work.creates.len() + work.updates.len()) as u64 {
        transaction.rollback().await?;
        return Ok(None);
    }
    let mut counts: Counts = batch.iter().map(|_| Ok(1)).collect();
    for (position, write) in work.others {
        counts[position] = one(&mut transaction, statements, write).await?;
    }
    transaction.commit().await?;
    Ok(Some(counts))
}

/// The sure way: a statement for each, in one transaction still, and the count of each.
async fn one_by_one(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Request],
) -> sqlx::Result<Counts> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut counts = Vec::with_capacity(batch.len());
    for request in batch {
        counts.push(one(&mut transaction, statements, &request.write).await?);
    }
    transaction.commit().await?;
    Ok(counts)
}

async fn one(on: &mut SqliteConnection, statements: &Statements, write: &Write) -> sqlx::Result<Result<u64>> {
    Ok(match write {
        Write::CreateRun(row) => Ok(statements.create(on, &[row]).await?),
        Write::UpdateRun(row) => Ok(statements.rename(on, row).await?),
        Write::DeleteRun(key) => Ok(delete_run(on, key).await?),
        Write::PutFunction(row) => Ok(put_function(on, row).await?),
        Write::DeleteFunction { project, name } => delete_function(on, project, name).await?,
        Write::Close => Ok(0),
    })
}

/// The count of a batch of one.
pub(super) fn first_count(counts: Counts) -> Result<u64> {
    counts.into_iter().next().unwrap_or(Ok(0))
}

/// A batch, sorted by statement; the others with their positions in the batch.
#[derive(Default)]
struct Work<'a> {
    creates: Vec<&'a RunRow>,
    updates: Vec<&'a RunRow>,
    others: Vec<(usize, &'a Write)>,
}

impl<'a> Work<'a> {
    fn of(batch: &'a [Request]) -> Self {
        let mut work = Self::default();
        for (position, request) in batch.iter().enumerate() {
            match &request.write {
                Write::CreateRun(row) => work.creates.push(row),
                Write::UpdateRun(row) => work.updates.push(row),
                other => work.others.push((position, other)),
            }
        }
        work
    }
}
