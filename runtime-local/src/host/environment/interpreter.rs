//! Finding a Python, and asking it what it is.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    io::Read,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use runtime_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::known::Known;

/// Names the default interpreter.
const VARIABLE: &str = "RUNTIMES_PYTHON";
/// The oldest Python that the agent runs on.
const OLDEST: (u32, u32) = (3, 9);
/// Marks the answer, whatever a site's start-up files print before it.
const ANSWER: &str = "runtimes-interpreter:";

/// A Python of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The program itself (`sys.executable`), never one that only forwards to it.
    pub path: PathBuf,
    /// Its version: `(3, 11, 7)`.
    pub version: (u32, u32, u32),
    /// Where it is installed (`sys.prefix`).
    pub prefix: PathBuf,
}

impl Interpreter {
    /// Finds the requested interpreter (a name on `PATH`, or a path), else what `RUNTIMES_PYTHON` says, else
    /// `python3`. What it says of itself is remembered below `home`, for as long as the program is the same.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Unsupported` where it is older than 3.9; `Invalid` where it is no Python.
    pub fn find(home: &Path, requested: Option<&str>) -> Result<Self> {
        let (wanted, origin) =
            match (requested.map(str::trim).filter(|name| !name.is_empty()), env::var_os(VARIABLE)) {
                (Some(name), _) => (OsString::from(name), Origin::Function),
                (None, Some(name)) if !name.is_empty() => (name, Origin::Variable),
                _ => (OsString::from("python3"), Origin::Default),
            };
        Self::find_on(home, &wanted, origin, env::var_os("PATH").as_deref())
    }

    fn find_on(home: &Path, wanted: &OsStr, origin: Origin, path: Option<&OsStr>) -> Result<Self> {
        let candidates = on_path(wanted, path);
        if candidates.is_empty() {
            return Err(not_found(wanted, origin));
        }
        let mut known = Known::load(home);
        let mut first_error = None;
        for candidate in &candidates {
            let interpreter = match known.get(candidate) {
                Some(interpreter) => Ok(interpreter),
                None => ask(candidate).inspect(|interpreter| known.put(candidate, interpreter)),
            };
            match interpreter.and_then(|interpreter| interpreter.new_enough(candidate)) {
                Ok(interpreter) => return Ok(interpreter),
                // A forwarding program may know no Python of that name while a later one on PATH is one.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| not_found(wanted, origin)))
    }

    fn new_enough(self, found: &Path) -> Result<Self> {
        if (self.version.0, self.version.1) >= OLDEST {
            return Ok(self);
        }
        let message =
            format!("{} is Python {self}; at least {}.{} is needed", found.display(), OLDEST.0, OLDEST.1);
        Err(Error::new(ErrorKind::Unsupported, message).help(how_to_get_one()))
    }
}

/// The version: `3.11.7`.
impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.version.0, self.version.1, self.version.2)
    }
}

/// Who asked for the interpreter.
#[derive(Clone, Copy)]
enum Origin {
    Function,
    Variable,
    Default,
}

fn not_found(wanted: &OsStr, origin: Origin) -> Error {
    let name = wanted.display();
    let message = match origin {
        Origin::Function => format!("there is no Python `{name}` on this machine"),
        Origin::Variable => format!("{VARIABLE} is `{name}`, and there is no such program"),
        Origin::Default => format!("there is no Python on this machine: no `{name}` on PATH"),
    };
    Error::not_found(message).help(how_to_get_one())
}

fn how_to_get_one() -> String {
    let install = if cfg!(target_os = "macos") {
        "brew install python"
    } else {
        "apt install python3 python3-venv, dnf install python3, or apk add python3"
    };
    format!(
        "install Python {}.{} or newer ({install}), or set {VARIABLE} to the path of one",
        OLDEST.0, OLDEST.1
    )
}

/// The programs of this name on `PATH`, in its order; a path is taken as it is.
pub(super) fn on_path(wanted: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    let executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if wanted.as_bytes().contains(&b'/') {
        return std::path::absolute(wanted).ok().filter(executable).into_iter().collect();
    }
    let folders = path.map(env::split_paths).into_iter().flatten();
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(wanted))
        .filter(executable)
        .collect()
}

/// Runs it once. The code imports nothing but `sys`, so that no file of the current folder gets in the way, and is
/// Python 2 as well, so that an old one can say that it is old.
fn ask(program: &Path) -> Result<Interpreter> {
    let code = format!(
        "import sys; sys.stdout.write('\\n{ANSWER}' + '\\0'.join([sys.executable, '%d.%d.%d' % sys.version_info[:3], sys.prefix]) + '\\n')"
    );
    let mut child = Command::new(program)
        .args(["-E", "-s", "-c", &code])
        .env("PYTHONIOENCODING", "utf-8:surrogateescape")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::io("start", program, source).help(how_to_get_one()))?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // No Python says more than this; a program that prints for ever is not waited for.
        let read = stdout.take(1 << 16).read_to_end(&mut output);
        if read.is_err() || output.len() == 1 << 16 {
            drop(child.kill());
        }
    }
    drop(child.wait());
    parse(&output).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("{} does not answer as a Python does", program.display()))
            .help(how_to_get_one())
    })
}

fn parse(output: &[u8]) -> Option<Interpreter> {
    let line = output.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(ANSWER.as_bytes()))?;
    let mut parts = line.split(|byte| *byte == 0);
    let mut path = || parts.next().filter(|part| !part.is_empty()).map(<[u8]>::to_vec);
    let (executable, version, prefix) = (path()?, path()?, path()?);
    let version = String::from_utf8(version).ok()?;
    let mut numbers = version.split('.').map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some(Interpreter {
        path: OsString::from_vec(executable).into(),
        version: (number()?, number()?, number()?),
        prefix: OsString::from_vec(prefix).into(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;

    /// A program that says it is a Python of this version, and counts how often it was asked.
    fn fake(folder: &Path, name: &str, version: &str) -> PathBuf {
        let file = folder.join(name);
        let script = format!(
            "#!/bin/sh\necho x >> {0}/asked\necho noise\nprintf '{ANSWER}{0}/real\\000{version}\\000/usr\\n'\n",
            folder.display()
        );
        fs::write(folder.join("real"), "").unwrap();
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    fn find(home: &Path, wanted: &Path) -> Result<Interpreter> {
        Interpreter::find_on(home, wanted.as_os_str(), Origin::Function, None)
    }

    #[test]
    fn asks_once_and_again_when_the_program_changed() {
        let dir = tempfile::tempdir().unwrap();
        let asked = || fs::read_to_string(dir.path().join("asked")).unwrap().lines().count();
        let python = fake(dir.path(), "python3", "3.11.7");
        let first = find(dir.path(), &python).unwrap();
        assert_eq!((first.version, first.path.as_path()), ((3, 11, 7), dir.path().join("real").as_path()));
        assert_eq!(find(dir.path(), &python).unwrap(), first);
        assert_eq!(asked(), 1);
        fake(dir.path(), "python3", "3.12.10");
        assert_eq!(find(dir.path(), &python).unwrap().version, (3, 12, 10));
        assert_eq!(asked(), 2);
        fs::write(dir.path().join("cache/interpreters.json"), "{ broken").unwrap();
        assert_eq!(find(dir.path(), &python).unwrap().version, (3, 12, 10));
        assert_eq!(asked(), 3);
    }

    #[test]
    fn a_known_one_costs_next_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Interpreter::find(dir.path(), None).unwrap();
        let best = (0..50)
            .map(|_| {
                let start = Instant::now();
                Interpreter::find(dir.path(), None).unwrap();
                start.elapsed()
            })
            .min();
        assert!(best.is_some_and(|best| best.as_micros() < 1000), "{best:?}");
    }

    #[test]
    fn old_missing_and_other_programs_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let old = find(dir.path(), &fake(dir.path(), "old", "2.7.18")).unwrap_err();
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        assert!(old.to_string().contains("is Python 2.7.18; at least 3.9 is needed"), "{old}");
        let missing = find(dir.path(), &dir.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("RUNTIMES_PYTHON"), "{missing}");
        let other = find(dir.path(), Path::new("/bin/ls")).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Invalid);
        let empty = Interpreter::find_on(
            dir.path(),
            OsStr::new("python3"),
            Origin::Default,
            Some(OsStr::new("/none")),
        );
        assert!(empty.unwrap_err().to_string().contains("no `python3` on PATH"));
    }

    #[test]
    fn a_later_one_on_path_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(&a).unwrap();
        fs::create_dir_all(&b).unwrap();
        fake(&a, "python3", "3.6.1");
        fake(&b, "python3", "3.10.2");
        let path = env::join_paths([&a, &b]).unwrap();
        let found =
            Interpreter::find_on(dir.path(), OsStr::new("python3"), Origin::Default, Some(&path)).unwrap();
        assert_eq!(found.to_string(), "3.10.2");
    }
}
