//! One transaction for many changes.

use runtime_core::Result;
use rusqlite::Connection;

use super::{
    documents,
    statement::{
        create_run, delete_function, delete_run, delete_version, put_function, tag_function, update_run,
    },
};
use crate::store::writer::{Counts, Request, Write};

/// Makes all these changes durable, or none. A change whose condition does not hold counts 0 and hinders nobody.
pub(super) fn commit(on: &Connection, batch: &[Request]) -> rusqlite::Result<Counts> {
    if let [alone] = batch
        && is_one_statement(&alone.write)
    {
        // A statement alone is a transaction.
        return Ok(vec![one(on, &alone.write)?]);
    }
    // IMMEDIATE: it waits for other processes now, not half-way through.
    on.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let done = batch.iter().map(|request| one(on, &request.write)).collect::<rusqlite::Result<Counts>>();
    let done = done.and_then(|counts| on.prepare_cached("COMMIT")?.execute([]).map(|_| counts));
    // SQLite ends a transaction by itself when the disk is full, for one.
    if done.is_err() && !on.is_autocommit() {
        on.execute_batch("ROLLBACK")?;
    }
    done
}

/// Whether nothing is half done where its first statement did not do it.
fn is_one_statement(write: &Write) -> bool {
    matches!(
        write,
        Write::CreateRun(_)
            | Write::UpdateRun(_)
            | Write::DeleteRun(_)
            | Write::PutDocument(_)
            | Write::DeleteDocument(_)
    )
}

/// Gives how much it changed.
fn one(on: &Connection, write: &Write) -> rusqlite::Result<Result<u64>> {
    let changed = match write {
        Write::CreateRun(row) => create_run(on, row)?,
        Write::UpdateRun(row) => update_run(on, row)?,
        Write::UpdateRunWith(row, with) => match update_run(on, row)? {
            0 => 0,
            changed => {
                documents::upsert(on, with)?;
                changed
            }
        },
        Write::PutDocument(row) => documents::put(on, row)?,
        Write::DeleteDocument(which) => documents::delete(on, which)?,
        Write::DeleteRun(key) => delete_run(on, key)?,
        Write::PutFunction(row) => put_function(on, row)?,
        Write::TagFunction(row) => tag_function(on, row)?,
        Write::DeleteFunction { project, name } => return delete_function(on, project, name),
        Write::DeleteVersion { project, name, version } => return delete_version(on, project, name, version),
        Write::Close => 0,
    };
    Ok(Ok(changed as u64))
}
