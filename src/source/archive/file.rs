//! Where the entries of an archive go: below one folder, through no link, within the limits.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

use runtime_core::{Error, Result};

use super::{Limits, Unpacked, broken, refused};

/// The deepest folder, the longest name of a file, and the longest path.
const DEEPEST: usize = 100;
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 3000;

const CHUNK: usize = 64 * 1024;

/// Writes the entries of one archive.
pub(super) struct Unpacker<'a> {
    pub(super) name: &'a str,
    root: &'a Path,
    limits: Limits,
    stop: &'a dyn Fn() -> bool,
    done: Unpacked,
    /// Links are made last, so that nothing is ever written through one.
    links: BTreeMap<PathBuf, PathBuf>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(name: &'a str, root: &'a Path, limits: Limits, stop: &'a dyn Fn() -> bool) -> Self {
        Self { name, root, limits, stop, done: Unpacked::default(), links: BTreeMap::new() }
    }

    /// Counts an entry that begins.
    pub(super) fn entry(&mut self) -> Result<()> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(refused(self.name, format!("it has more than {} entries", self.limits.entries)));
        }
        self.go_on()
    }

    /// How many bytes the list of a zip file's entries may have: it is read into memory as a whole.
    pub(super) fn longest_list(&self) -> u64 {
        (1 << 20) + self.limits.entries.saturating_mul(256)
    }

    /// Counts bytes that came out of it.
    pub(super) fn count(&mut self, bytes: u64) -> Result<()> {
        self.done.bytes = self.done.bytes.saturating_add(bytes);
        if self.done.bytes > self.limits.bytes {
            let limit = self.limits.bytes;
            return Err(refused(self.name, format!("unpacked it has more than {limit} bytes"))
                .help("an archive of code is smaller; load data as inputs of a run"));
        }
        Ok(())
    }

    /// Fails when it is to stop.
    pub(super) fn go_on(&self) -> Result<()> {
        if (self.stop)() {
            return Err(Error::new(runtime_core::ErrorKind::Aborted, "stopped while unpacking"));
        }
        Ok(())
    }

    /// Makes a folder.
    pub(super) fn folder(&mut self, path: &[u8]) -> Result<()> {
        let path = self.inside(path)?;
        self.no_link(&path)?;
        self.parents(&path)?;
        self.make(&path).map(drop)
    }

    /// Makes the folders above an entry. The archive need not name them, but they count.
    fn parents(&mut self, path: &Path) -> Result<()> {
        let Some(parent) = path.parent().filter(|parent| !self.root.join(parent).is_dir()) else {
            return Ok(());
        };
        self.parents(parent)?;
        if self.make(parent)? {
            self.entry()?;
        }
        Ok(())
    }

    /// Makes a folder; whether it was not there.
    fn make(&self, path: &Path) -> Result<bool> {
        let whole = self.root.join(path);
        match fs::create_dir(&whole) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && whole.is_dir() => Ok(false),
            Err(error) => Err(self.cannot(&whole, error)),
        }
    }

    /// Writes a file of at most `size` bytes; the last one of a name counts, as with `tar -r`.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        size: Option<u64>,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<()> {
        let path = self.inside(path)?;
        if path.as_os_str().is_empty() {
            return Err(refused(self.name, "a file in it has no name".to_owned()));
        }
        self.no_link(&path)?;
        self.parents(&path)?;
        let whole = self.root.join(path);
        match fs::remove_file(&whole) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.cannot(&whole, error)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(&whole)
            .map_err(|error| self.cannot(&whole, error))?;
        let mut buffer = vec![0; CHUNK];
        let mut written = 0;
        loop {
            let read = content.read(&mut buffer).map_err(|error| broken(self.name, &error))?;
            if read == 0 {
                break;
            }
            written += read as u64;
            self.count(read as u64)?;
            self.go_on()?;
            file.write_all(&buffer[..read]).map_err(|error| Error::io("write", &whole, error))?;
        }
        match size {
            Some(size) if size != written => Err(broken(self.name, &"it ends within a file")),
            _ => Ok(()),
        }
    }

    /// Remembers a link, which is made at the end.
    pub(super) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let path = self.inside(path)?;
        let shown = path.display();
        let leaves = |why: &str| {
            let target = String::from_utf8_lossy(target);
            Err(refused(self.name, format!("the link {shown:?} -> {target:?} {why}")))
        };
        let to = Path::new(OsStr::from_bytes(target));
        // `..` only at the front, counted from the folder of the link, which is no link itself: whatever the rest of
        // the path goes through is inside too.
        let depth = path.components().count().saturating_sub(1);
        let (mut up, mut named) = (0, false);
        for component in to.components() {
            match component {
                Component::ParentDir if named => return leaves("turns back on its way"),
                Component::ParentDir => up += 1,
                Component::Normal(_) => named = true,
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return leaves("leaves the archive"),
            }
        }
        if up > depth {
            return leaves("leaves the archive");
        }
        if target.is_empty()
            || target.contains(&0)
            || target.len() > LONGEST_PATH
            || path.as_os_str().is_empty()
        {
            return leaves("is none");
        }
        if self.links.insert(path.clone(), to.to_owned()).is_some() || self.root.join(&path).exists() {
            return Err(refused(self.name, format!("it has {:?} twice", path.display())));
        }
        self.no_link(path.parent().unwrap_or(Path::new("")))
    }

    /// Makes the links.
    pub(super) fn finish(mut self) -> Result<Unpacked> {
        let links = std::mem::take(&mut self.links);
        for path in links.keys() {
            self.parents(path)?;
        }
        for (path, target) in &links {
            let whole = self.root.join(path);
            symlink(target, &whole).map_err(|error| self.cannot(&whole, error))?;
        }
        Ok(self.done)
    }

    /// The path of an entry, if it stays below the root.
    fn inside(&self, path: &[u8]) -> Result<PathBuf> {
        let wrong = |why: &str| {
            let shown: String = String::from_utf8_lossy(path).chars().take(200).collect();
            Err(refused(self.name, format!("its entry {shown:?} {why}")))
        };
        if path.contains(&0) || path.len() > LONGEST_PATH {
            return wrong("has no usable name");
        }
        let mut inside = PathBuf::new();
        for component in Path::new(OsStr::from_bytes(path)).components() {
            match component {
                Component::Normal(name) if name.len() > LONGEST_NAME => return wrong("has no usable name"),
                Component::Normal(name) => inside.push(name),
                Component::CurDir => {}
                Component::ParentDir => return wrong("climbs out of it with `..`"),
                Component::RootDir | Component::Prefix(_) => return wrong("is an absolute path"),
            }
        }
        if inside.components().count() > DEEPEST {
            return wrong("lies too deep");
        }
        Ok(inside)
    }

    /// Refuses a path that is, or goes through, a link of this archive.
    fn no_link(&self, path: &Path) -> Result<()> {
        match path.ancestors().find(|ancestor| self.links.contains_key(*ancestor)) {
            Some(link) => {
                Err(refused(self.name, format!("it writes through its own link {:?}", link.display())))
            }
            None => Ok(()),
        }
    }

    fn cannot(&self, path: &Path, error: io::Error) -> Error {
        use io::ErrorKind as Io;
        match error.kind() {
            // Two entries that exclude each other: the archive's fault, not the disk's.
            Io::NotADirectory | Io::IsADirectory | Io::AlreadyExists | Io::DirectoryNotEmpty => {
                let path = path.strip_prefix(self.root).unwrap_or(path);
                refused(self.name, format!("it has {:?} as two different things", path.display()))
            }
            Io::InvalidFilename => {
                refused(self.name, "one of its names is too long for this disk".to_owned())
            }
            _ => Error::io("write", path, error),
        }
    }
}
