//! Every input that fuzzing found worth keeping, and those that once went wrong: what must hold of any input holds.
#![cfg(all(feature = "hub", feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "fuzz/mod.rs"]
mod checks;

use std::{fs, path::Path};

/// Asks `check` of all inputs of a target in `fuzz/seeds` and `fuzz/corpus`.
fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut count = 0;
    for folder in [fuzz.join("seeds").join(target), fuzz.join("corpus").join(target)] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            // Where one fails, its name is what is printed last.
            println!("{}", path.display());
            check(&fs::read(&path).unwrap());
            count += 1;
        }
    }
    assert!(count >= 5, "{target} has {count} inputs");
}

macro_rules! targets {
    ($($target:ident)*) => { $(
        #[test]
        fn $target() {
            replay(stringify!($target), checks::$target::check);
        }
    )* };
}

targets!(archive code function_yaml hub_catalogue param_file quantity stop_condition);
