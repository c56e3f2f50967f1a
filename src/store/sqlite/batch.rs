//! One transaction for many changes.

use std::collections::HashSet;

use runtime_core::{Result, run::RunKey};
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
    let work = Work::of(batch);
    if work.is_one_statement() {
        // A statement alone is a transaction, and saves two round trips.
        return work.run(connection, statements, batch.len()).await;
    }
    // IMMEDIATE: wait for other processes now, not half-way through.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let counts = work.run(&mut transaction, statements, batch.len()).await?;
    transaction.commit().await?;
    Ok(counts)
}

/// The count of a batch of one.
pub(super) fn first_count(counts: Counts) -> Result<u64> {
    counts.into_iter().next().unwrap_or(Ok(0))
}

/// A batch, sorted by statement; the numbers are positions in the batch.
#[derive(Default)]
struct Work<'a> {
    creates: Vec<(usize, &'a RunRow)>,
    updates: Vec<(usize, &'a RunRow)>,
    others: Vec<(usize, &'a Write)>,
}

impl<'a> Work<'a> {
    fn of(batch: &'a [Request]) -> Self {
        let mut work = Self::default();
        for (position, request) in batch.iter().enumerate() {
            match &request.write {
                Write::CreateRun(row) => work.creates.push((position, row)),
                Write::UpdateRun(row) => work.updates.push((position, row)),
                other => work.others.push((position, other)),
            }
        }
        work
    }

    fn is_one_statement(&self) -> bool {
        match (&self.creates[..], &self.updates[..], &self.others[..]) {
            (rows, [], []) | ([], rows, []) => rows.len() <= MAX_ROWS,
            ([], [], [(_, Write::DeleteRun(_))]) => true,
            _ => false,
        }
    }

    async fn run(
        self,
        on: &mut SqliteConnection,
        statements: &Statements,
        size: usize,
    ) -> sqlx::Result<Counts> {
        let mut counts: Counts = (0..size).map(|_| Ok(0)).collect();
        for chunk in self.creates.chunks(MAX_ROWS) {
            let done = statements.create(on, &rows(chunk)).await?;
            count(&mut counts, chunk, done);
        }
        for chunk in self.updates.chunks(MAX_ROWS) {
            let done = statements.update(on, &rows(chunk)).await?;
            count(&mut counts, chunk, done);
        }
        for (position, write) in self.others {
            counts[position] = match write {
                Write::DeleteRun(key) => Ok(delete_run(on, key).await?),
                Write::PutFunction(row) => Ok(put_function(on, row).await?),
                Write::DeleteFunction { project, name } => delete_function(on, project, name).await?,
                Write::CreateRun(_) | Write::UpdateRun(_) | Write::Close => Ok(0),
            };
        }
        Ok(counts)
    }
}

fn rows<'a>(chunk: &[(usize, &'a RunRow)]) -> Vec<&'a RunRow> {
    chunk.iter().map(|(_, row)| *row).collect()
}

fn count(counts: &mut Counts, chunk: &[(usize, &RunRow)], done: Vec<RunKey>) {
    let all = done.len() == chunk.len();
    let done: HashSet<RunKey> = if all { HashSet::new() } else { done.into_iter().collect() };
    for (position, row) in chunk {
        counts[*position] = Ok(u64::from(all || done.contains(&row.key)));
    }
}
