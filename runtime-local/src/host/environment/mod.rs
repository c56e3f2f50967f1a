//! Python interpreters and virtual environments of this machine.
//!
//! An environment is made once from an interpreter and a list of requirements, and found again by the hash of both:
//!
//! ```text
//! HOME/envs/HASH/                   the virtual environment
//! HOME/envs/HASH/environment.json   written last: without it the folder is half-made, and rubbish
//! HOME/envs/HASH/used               touched when it is used
//! HOME/envs/HASH.lock               held by whoever builds or removes it, and by the installer itself
//! HOME/envs/HASH.failed            why the last build failed, for those that waited for it
//! HOME/cache/interpreters.json      what interpreters said about themselves
//! ```

mod build;
mod child;
mod failure;
mod interpreter;
mod known;
mod lock;
mod packages;
mod requirements;
mod shelf;
mod tool;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use runtime_core::{Result, plan::PythonEnvironment};

use self::requirements::Requirements;
pub use self::{
    failure::mask,
    interpreter::Interpreter,
    lock::Hold,
    shelf::{EnvironmentInfo, Freed},
};

/// Written last into an environment: it is complete.
const MARKER: &str = "environment.json";
/// Its modification time says when the environment was last used.
const USED: &str = "used";
/// The time of last use is kept no more exactly than this.
const USED_PRECISION: Duration = Duration::from_secs(600);

/// The environments below one home folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Environments {
    home: PathBuf,
    base: Option<PathBuf>,
}

/// A Python that has what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The program to start.
    pub python: PathBuf,
    /// Its folder (`sys.prefix`).
    pub dir: PathBuf,
}

/// What a build is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A new step began.
    Step {
        /// What is being done, for people.
        what: String,
    },
    /// The installer printed a line. Credentials in addresses are masked.
    Line(String),
}

/// What stands for an environment before it is there.
struct Key {
    hash: String,
    interpreter: Interpreter,
    requirements: Requirements,
}

impl Environments {
    /// The environments below this home folder, which is made when the first one is.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), base: None }
    }

    /// The same environments; relative paths in requirements are read against this folder, instead of the current.
    #[must_use]
    pub fn relative_to(&self, base: impl Into<PathBuf>) -> Self {
        Self { home: self.home.clone(), base: Some(base.into()) }
    }

    /// Says what is wrong before anything is built: no interpreter, or a requirements file that is not there.
    ///
    /// # Errors
    /// As [`Interpreter::find`]; `NotFound` or `Invalid` for the requirements.
    pub fn check(&self, wanted: &PythonEnvironment) -> Result<Interpreter> {
        self.key(wanted).map(|key| key.interpreter)
    }

    /// The environment, if it is ready. Costs a few `stat` calls; blocks only the first time that an interpreter
    /// is seen. Where something is wrong, [`Self::check`] and [`Self::build`] say what.
    pub fn get(&self, wanted: &PythonEnvironment) -> Option<Environment> {
        let key = self.key(wanted).ok()?;
        self.ready(&key)
    }

    /// Keeps a ready environment from being pruned until the result is dropped. `None` where it is gone or about
    /// to go: then ask for it again.
    ///
    /// # Errors
    /// When the lock cannot be opened.
    pub fn hold(&self, environment: &Environment) -> Result<Option<Hold>> {
        if environment.dir.parent() != Some(self.envs().as_path()) {
            return Ok(Some(Hold::nothing()));
        }
        let hold = Hold::shared(&lock_path(&environment.dir))?;
        Ok(hold.filter(|_| environment.dir.join(MARKER).exists()))
    }

    fn envs(&self) -> PathBuf {
        // Virtual environments carry their own path in their scripts.
        std::path::absolute(&self.home).unwrap_or_else(|_| self.home.clone()).join("envs")
    }

    fn key(&self, wanted: &PythonEnvironment) -> Result<Key> {
        let interpreter = Interpreter::find(&self.home, wanted.interpreter.as_deref())?;
        let requirements = Requirements::read(&wanted.requirements, self.base.as_deref())?;
        let hash = requirements.hash(&interpreter);
        Ok(Key { hash, interpreter, requirements })
    }

    fn ready(&self, key: &Key) -> Option<Environment> {
        if key.requirements.is_empty() {
            let Interpreter { path, prefix, .. } = key.interpreter.clone();
            return Some(Environment { python: path, dir: prefix });
        }
        let dir = self.envs().join(&key.hash);
        fs::metadata(dir.join(MARKER)).ok()?;
        touch(&dir.join(USED));
        Some(Environment { python: python_in(&dir), dir })
    }
}

fn python_in(dir: &Path) -> PathBuf {
    dir.join("bin").join("python")
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.with_extension("lock")
}

fn verdict_path(dir: &Path) -> PathBuf {
    dir.with_extension("failed")
}

/// Notes the use; not more often than is of use, and without it where the disk is read-only.
fn touch(path: &Path) {
    let recent = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < USED_PRECISION));
    if !recent && let Ok(file) = fs::File::create(path) {
        drop(file.set_modified(SystemTime::now()));
    }
}
