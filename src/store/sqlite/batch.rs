//! One transaction for many changes.

use runtime_core::Result;
use sqlx::{SqliteConnection, query};

use super::{
    documents,
    statement::{
        BEGIN, MAX_ROWS, Statements, delete_function, delete_run, delete_version, put_function, tag_function,
    },
};
use crate::store::{
    row::{DocumentRow, RunRow},
    writer::{Counts, Request, Write},
};

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

/// The quick way: many runs or documents in a statement. `None`, and nothing done, where not each could be written.
async fn together(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Request],
) -> sqlx::Result<Option<Counts>> {
    let work = Work::of(batch);
    if let ([row], []) | ([], [row]) = (&work.creates[..], &work.updates[..])
        && batch.len() == 1
        && work.upserts.is_empty()
    {
        // A statement alone is a transaction, and saves two round trips.
        let written = if work.updates.is_empty() {
            statements.create(connection, &[row]).await?
        } else {
            statements.update(connection, &[row]).await?
        };
        return Ok((written == 1).then(|| vec![Ok(1)]));
    }
    if let [Request { write: alone @ (Write::PutDocument(_) | Write::DeleteDocument(_)), .. }] = batch {
        return Ok(Some(vec![one(connection, statements, alone).await?]));
    }
    let done = work.write(connection, statements, batch.len()).await;
    end(connection, done).await
}

/// The sure way: a statement for each, in one transaction still, and the count of each.
async fn one_by_one(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Request],
) -> sqlx::Result<Counts> {
    query(BEGIN).execute(&mut *connection).await?;
    let write_each = async {
        let mut counts = Vec::with_capacity(batch.len());
        for request in batch {
            counts.push(one(&mut *connection, statements, &request.write).await?);
        }
        Ok(Some(counts))
    };
    let done = write_each.await;
    end(connection, done).await.map(Option::unwrap_or_default)
}

/// Makes a transaction durable where its work is done; otherwise nothing of it was. By hand: SQLite ends a transaction
/// by itself when the disk is full, and a guard that does not know that would begin no other.
async fn end(
    connection: &mut SqliteConnection,
    done: sqlx::Result<Option<Counts>>,
) -> sqlx::Result<Option<Counts>> {
    let done = match done {
        Ok(Some(counts)) => query("COMMIT").execute(&mut *connection).await.map(|_| Some(counts)),
        undone => undone,
    };
    if !matches!(done, Ok(Some(_))) {
        // That there is no transaction any more is as well.
        let _ = query("ROLLBACK").execute(connection).await;
    }
    done
}

async fn one(on: &mut SqliteConnection, statements: &Statements, write: &Write) -> sqlx::Result<Result<u64>> {
    Ok(match write {
        Write::CreateRun(row) => Ok(statements.create(on, &[row]).await?),
        Write::UpdateRun(row) => Ok(statements.rename(on, row).await?),
        Write::UpdateRunWith(row, with) => match statements.rename(&mut *on, row).await? {
            0 => Ok(0),
            written => {
                statements.documents.upsert(on, &with.iter().collect::<Vec<_>>()).await?;
                Ok(written)
            }
        },
        Write::PutDocument(row) => Ok(statements.documents.put(on, &[row]).await?),
        Write::DeleteDocument(which) => Ok(documents::delete(on, which).await?),
        Write::DeleteRun(key) => Ok(delete_run(on, key).await?),
        Write::PutFunction(row) => Ok(put_function(on, row).await?),
        Write::TagFunction(row) => Ok(tag_function(on, row).await?),
        Write::DeleteFunction { project, name } => delete_function(on, project, name).await?,
        Write::DeleteVersion { project, name, version } => delete_version(on, project, name, version).await?,
        Write::Close => Ok(0),
    })
}

/// A batch, sorted by statement; the others with their positions in the batch.
#[derive(Default)]
struct Work<'a> {
    creates: Vec<&'a RunRow>,
    updates: Vec<&'a RunRow>,
    puts: Vec<&'a DocumentRow>,
    /// Those that come with updates.
    upserts: Vec<&'a DocumentRow>,
    others: Vec<(usize, &'a Write)>,
}

impl<'a> Work<'a> {
    /// Begins a transaction and does the work in it; `None` where not each could be written.
    async fn write(
        self,
        on: &mut SqliteConnection,
        statements: &Statements,
        size: usize,
    ) -> sqlx::Result<Option<Counts>> {
        let (creates, more_creates) = self.creates.split_at(self.creates.len().min(MAX_ROWS));
        let (updates, more_updates) = self.updates.split_at(self.updates.len().min(MAX_ROWS));
        let mut written = statements.begin(on, creates, updates).await?;
        for chunk in more_creates.chunks(MAX_ROWS) {
            written += statements.create(on, chunk).await?;
        }
        for chunk in more_updates.chunks(MAX_ROWS) {
            written += statements.update(on, chunk).await?;
        }
        written += statements.documents.put(on, &self.puts).await?;
        if written != (self.creates.len() + self.updates.len() + self.puts.len()) as u64 {
            return Ok(None);
        }
        statements.documents.upsert(on, &self.upserts).await?;
        let mut counts: Counts = (0..size).map(|_| Ok(1)).collect();
        for (position, write) in self.others {
            counts[position] = one(on, statements, write).await?;
        }
        Ok(Some(counts))
    }

    fn of(batch: &'a [Request]) -> Self {
        let mut work = Self::default();
        for (position, request) in batch.iter().enumerate() {
            match &request.write {
                Write::CreateRun(row) => work.creates.push(row),
                Write::UpdateRun(row) => work.updates.push(row),
                Write::UpdateRunWith(row, documents) => {
                    work.updates.push(row);
                    work.upserts.extend(documents);
                }
                Write::PutDocument(row) => work.puts.push(row),
                other => work.others.push((position, other)),
            }
        }
        work
    }
}
