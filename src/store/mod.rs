//! What remembers: functions and runs in one SQLite file.

mod sqlite;

pub use sqlite::SqliteStore;
