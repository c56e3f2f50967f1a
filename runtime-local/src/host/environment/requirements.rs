//! A list of requirements: brought into one form, with the files that it names, and hashed.

use std::{
    env, fs,
    io::Read,
    path::{Component, Path, PathBuf},
};

use runtime_core::{Error, ErrorKind, Result};
use sha1::{Digest, Sha1};

use super::Interpreter;

/// Changes when environments of an earlier version can no longer be used.
const FORMAT: &str = "runtimes-environment-1";
/// Requirement files that include each other are followed this deep.
const DEEPEST: usize = 16;
/// Larger files count by size and time, not by content.
const LARGEST: u64 = 64 << 20;
/// A local project has no more files than this that count.
const MOST_FILES: usize = 10_000;
/// Options whose value is a file or folder.
const PATH_OPTIONS: [&str; 8] =
    ["-r", "--requirement", "-c", "--constraint", "-e", "--editable", "-f", "--find-links"];

/// Requirements in one form: trimmed, without comments, sorted, each once, paths absolute.
#[derive(Clone, Debug, Default)]
pub(super) struct Requirements {
    /// As pip reads them.
    pub(super) lines: Vec<String>,
    /// What the files are that they name: a path and a hash of its content.
    contents: Vec<(PathBuf, String)>,
}

impl Requirements {
    /// Reads a list. Relative paths are read against `base`, or the current folder.
    pub(super) fn read(list: &[String], base: Option<&Path>) -> Result<Self> {
        let mut read = Self::default();
        let base = match base {
            Some(base) => std::path::absolute(base).unwrap_or_else(|_| base.to_owned()),
            None => env::current_dir().unwrap_or_default(),
        };
        for line in joined(&list.join("\n")) {
            let line = read.line(&line, &base, 0)?;
            read.lines.push(line);
        }
        read.lines.sort();
        read.lines.dedup();
        read.contents.sort();
        read.contents.dedup();
        Ok(read)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What an environment of these on this interpreter is found by.
    pub(super) fn hash(&self, interpreter: &Interpreter) -> String {
        let mut hash = Sha1::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(FORMAT.as_bytes());
        add(interpreter.path.as_os_str().as_encoded_bytes());
        add(interpreter.to_string().as_bytes());
        for line in &self.lines {
            add(line.as_bytes());
        }
        add(b"files");
        for (path, content) in &self.contents {
            add(path.as_os_str().as_encoded_bytes());
            add(content.as_bytes());
        }
        // Short, because the path of the interpreter goes into the first line of scripts.
        hex(&hash.finalize()[..8])
    }

    /// Brings one line into form, and notes the files behind it.
    fn line(&mut self, line: &str, base: &Path, depth: usize) -> Result<String> {
        if let Some((option, value)) = path_option(line) {
            return self.option(option, value, base, depth);
        }
        if line.starts_with('-') {
            return Ok(line.to_owned());
        }
        if let Some((_, address)) = line.split_once("file://") {
            let end = address.find(['#', ';', ' ']).unwrap_or(address.len());
            let path = Path::new(address[..end].trim_start_matches("localhost"));
            if path.exists() {
                self.note(path)?;
            }
            return Ok(line.to_owned());
        }
        let end = line.find(['[', ';', ' ']).unwrap_or(line.len());
        let (path, rest) = line.split_at(end);
        if !looks_like_path(path) {
            return Ok(line.to_owned());
        }
        let full = absolute(path, base);
        if !full.exists() {
            let message = format!("requirement `{line}`: there is no {}", full.display());
            return Err(Error::not_found(message).help("paths are relative to the folder of the function"));
        }
        self.note(&full)?;
        Ok(format!("{}{rest}", full.display()))
    }

    fn option(&mut self, option: &str, value: &str, base: &Path, depth: usize) -> Result<String> {
        if value.contains("://") {
            return Ok(format!("{option} {value}"));
        }
        let end = if option.ends_with('e') { value.find('[').unwrap_or(value.len()) } else { value.len() };
        let (path, rest) = value.split_at(end);
        let full = absolute(path, base);
        match option {
            "-f" | "--find-links" => {}
            "-e" | "--editable" => {
                for name in ["pyproject.toml", "setup.py", "setup.cfg"] {
                    let file = full.join(name);
                    if file.is_file() {
                        self.note(&file)?;
                    }
                }
            }
            _ => self.file(&full, depth + 1)?,
        }
        Ok(format!("{option} {}{rest}", full.display()))
    }

    /// A file of further requirements, or of constraints.
    fn file(&mut self, path: &Path, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            let message = format!("{}: requirement files include each other without end", path.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let text = fs::read_to_string(path).map_err(|source| {
            let error = Error::io("read the requirements file", path, source);
            if error.kind() == ErrorKind::NotFound {
                return error.help("paths are relative to the folder of the function");
            }
            error
        })?;
        self.contents.push((path.to_owned(), hex(&Sha1::digest(text.as_bytes()))));
        let folder = path.parent().unwrap_or(Path::new("/"));
        for line in joined(&text) {
            self.line(&line, folder, depth)?;
        }
        Ok(())
    }

    /// Notes what a file or a local project is now.
    fn note(&mut self, path: &Path) -> Result<()> {
        let mut hash = Sha1::new();
        let mut left = MOST_FILES;
        add_tree(path, &mut hash, &mut left).map_err(|source| Error::io("read", path, source))?;
        self.contents.push((path.to_owned(), hex(&hash.finalize())));
        Ok(())
    }
}

/// Files count by content, folders by the paths, sizes and times of what is in them.
fn add_tree(path: &Path, hash: &mut Sha1, left: &mut usize) -> std::io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        let time = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        if metadata.len() > LARGEST {
            hash.update(format!("{}:{time:?}", metadata.len()));
            return Ok(());
        }
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => hash.update(&buffer[..read]),
            }
        }
    }
    let mut entries = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let made = name.starts_with('.') || name.ends_with(".egg-info") || name.ends_with(".pyc");
        if made || matches!(&*name, "__pycache__" | "build" | "dist" | "node_modules") || *left == 0 {
            continue;
        }
        *left -= 1;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            hash.update(format!("{name}/"));
            add_tree(&entry.path(), hash, left)?;
        } else {
            hash.update(format!("{name}:{}:{:?}", metadata.len(), metadata.modified().ok()));
        }
    }
    Ok(())
}

/// The lines of a requirements file: continued ones joined, without comments and empty ones.
fn joined(text: &str) -> Vec<String> {
    let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let without_comment = |line: &str| {
        let cut = line
            .char_indices()
            .zip(std::iter::once(' ').chain(line.chars()))
            .find_map(|((index, c), before)| (c == '#' && before.is_whitespace()).then_some(index));
        line[..cut.unwrap_or(line.len())].trim().to_owned()
    };
    text.lines().map(without_comment).filter(|line| !line.is_empty()).collect()
}

/// Splits `-r file`, `-rfile`, `--requirement=file`.
fn path_option(line: &str) -> Option<(&'static str, &str)> {
    PATH_OPTIONS.into_iter().find_map(|option| {
        let rest = line.strip_prefix(option)?;
        let long = option.starts_with("--");
        let value = match rest.strip_prefix(['=', ' ', '\t']) {
            Some(value) => value,
            None if long => return None,
            None => rest,
        };
        let value = value.trim().trim_matches(|c| matches!(c, '"' | '\''));
        (!value.is_empty()).then_some((option, value))
    })
}

fn looks_like_path(text: &str) -> bool {
    let file = [".whl", ".tar.gz", ".zip", ".tar.bz2"].iter().any(|end| text.ends_with(end));
    !text.contains("://")
        && !text.contains('@')
        && (file || text == "." || text == ".." || text.contains('/'))
}

/// A path without `.` and `..`, so that the same folder gives the same hash.
fn absolute(path: &str, base: &Path) -> PathBuf {
    let mut full = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                full.pop();
            }
            other => full.push(other),
        }
    }
    full
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter() -> Interpreter {
        Interpreter { path: "/usr/bin/python3.11".into(), version: (3, 11, 7), prefix: "/usr".into() }
    }

    fn read(list: &[&str], base: &Path) -> Requirements {
        Requirements::read(&list.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), Some(base))
            .unwrap()
    }

    #[test]
    fn one_form_for_one_meaning() {
        let base = Path::new("/none");
        let a = read(&["b>=2", " a==1 ", "# comment", "", "a==1  # again"], base);
        assert_eq!(a.lines, ["a==1", "b>=2"]);
        assert_eq!(a.hash(&interpreter()), read(&["a==1\nb>=2"], base).hash(&interpreter()));
        assert_ne!(a.hash(&interpreter()), read(&["a==1"], base).hash(&interpreter()));
        let other = Interpreter { version: (3, 11, 8), ..interpreter() };
        assert_ne!(a.hash(&interpreter()), a.hash(&other));
        assert_eq!(read(&["x @ https://h/x#egg=x"], base).lines, ["x @ https://h/x#egg=x"]);
        assert_eq!(read(&["a \\\n  --hash=sha256:1"], base).lines, ["a    --hash=sha256:1"]);
        assert!(read(&["#", " "], base).is_empty());
    }

    #[test]
    fn the_content_of_files_counts() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        fs::create_dir(base.join("deps")).unwrap();
        fs::write(base.join("deps/more.txt"), "c==1\n").unwrap();
        fs::write(base.join("deps/base.txt"), "-r more.txt\n").unwrap();
        fs::write(base.join("x-1-py3-none-any.whl"), "one").unwrap();
        let list = ["-r ./deps/base.txt", "./x-1-py3-none-any.whl[extra]"];
        let hash = || read(&list, base).hash(&interpreter());
        assert_eq!(
            read(&list, base).lines,
            [
                format!("-r {}/deps/base.txt", base.display()),
                format!("{}/x-1-py3-none-any.whl[extra]", base.display())
            ]
        );
        let first = hash();
        assert_eq!(first, hash());
        fs::write(base.join("deps/more.txt"), "c==2\n").unwrap();
        let second = hash();
        assert_ne!(first, second);
        fs::write(base.join("x-1-py3-none-any.whl"), "two").unwrap();
        assert_ne!(second, hash());
    }

    #[test]
    fn what_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = |line: &str| Requirements::read(&[line.to_owned()], Some(dir.path())).unwrap_err();
        assert_eq!(error("-r none.txt").kind(), ErrorKind::NotFound);
        assert!(error("./none").to_string().contains("requirement `./none`: there is no"));
        fs::write(dir.path().join("loop.txt"), "-r loop.txt").unwrap();
        assert!(error("-rloop.txt").to_string().contains("without end"));
    }
}
