//! Functions that were checked already: a function that is run again as it was is not checked, and hashed, again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use runtime_core::{Function, Runtime};

/// More functions than this are not remembered.
const KEPT: usize = 256;

/// A function as its runs need it.
pub(super) struct Checked {
    /// Named, with its code and its hash.
    pub(super) function: Arc<Function>,
    /// Its kind.
    pub(super) runtime: Arc<dyn Runtime>,
    /// What the user should know about its fields.
    pub(super) notes: Vec<String>,
}

/// The functions that were checked last, by kind and name.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<(String, String), Entry>>);

struct Entry {
    given: Function,
    project: String,
    base_dir: PathBuf,
    checked: Arc<Checked>,
}

impl Known {
    /// What was found of this function, given just so.
    pub(super) fn get(&self, given: &Function, project: &str, base_dir: &Path) -> Option<Arc<Checked>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(&key(given))?;
        let same = entry.given == *given && entry.project == project && entry.base_dir == base_dir;
        same.then(|| Arc::clone(&entry.checked))
    }

    /// Remembers it, unless that depends on more than the function: a name that follows from the run, a file's content.
    pub(super) fn put(&self, given: &Function, project: &str, base_dir: &Path, checked: &Arc<Checked>) {
        let code = &checked.function.spec.build.function_source_code;
        if given.metadata.name.is_empty() || given.spec.build.function_source_code != *code {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        let entry = Entry {
            given: given.clone(),
            project: project.to_owned(),
            base_dir: base_dir.to_owned(),
            checked: Arc::clone(checked),
        };
        known.insert(key(given), entry);
    }
}

fn key(function: &Function) -> (String, String) {
    (function.kind.clone(), function.metadata.name.clone())
}
