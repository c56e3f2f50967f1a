//! A folder of this machine as an archive, for where it cannot be read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use runtime_core::{Error, ErrorKind, Result};
use tar::{Builder, EntryType, Header};

/// What is no code, and often large.
const LEFT_OUT: [&str; 6] =
    [".git", ".runtimes", ".venv", "__pycache__", ".ipynb_checkpoints", "node_modules"];

/// How many files an error names.
const NAMED: usize = 3;

/// A folder as a `.tar.gz`, or an archive as it is. The same files are the same bytes.
///
/// # Errors
/// `Invalid`, at `spec.build.source`, where there are more than `limit` bytes, or a link leaves the folder; when something
/// cannot be read.
pub(crate) fn pack(source: &Path, limit: usize) -> Result<Vec<u8>> {
    if source.is_file() {
        let size = fs::metadata(source).map_err(|error| Error::io("read", source, error))?.len();
        if usize::try_from(size).is_ok_and(|size| size <= limit) {
            return fs::read(source).map_err(|error| Error::io("read", source, error));
        }
        return Err(too_large(source, limit, &[]));
    }
    let mut packer = Packer { root: source, sizes: Vec::new(), whole: 0, limit };
    let gzip = GzBuilder::new().mtime(0).write(Limited { bytes: Vec::new(), limit }, Compression::best());
    let mut archive = Builder::new(gzip);
    let packed = packer.folder(&mut archive, Path::new("")).and_then(|()| {
        let read = |error| Error::io("pack", source, error);
        archive.into_inner().and_then(GzEncoder::finish).map_err(read)
    });
    match packed {
        Ok(packed) => Ok(packed.bytes),
        Err(error) if error.kind() == ErrorKind::Invalid => Err(error),
        Err(error) if is_full(&error) => Err(too_large(source, limit, &packer.sizes)),
        Err(error) => Err(error.at("spec.build.source")),
    }
}

/// The files below a folder, in the order of their names.
struct Packer<'a> {
    root: &'a Path,
    /// The files that were packed, and how large they are.
    sizes: Vec<(PathBuf, u64)>,
    whole: u64,
    limit: usize,
}

impl Packer<'_> {
    fn folder(&mut self, archive: &mut Builder<GzEncoder<Limited>>, inside: &Path) -> Result<()> {
        let folder = self.root.join(inside);
        let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(|error| Error::io("read", &folder, error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if LEFT_OUT.iter().any(|left| *left == name) {
                continue;
            }
            let inside = inside.join(&name);
            let kind = entry.file_type().map_err(|error| Error::io("read", entry.path(), error))?;
            if kind.is_dir() {
                self.folder(archive, &inside)?;
            } else if kind.is_symlink() {
                self.link(archive, &inside)?;
            } else if kind.is_file() {
                self.file(archive, &inside)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, archive: &mut Builder<GzEncoder<Limited>>, inside: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;

        let path = self.root.join(inside);
        let failed = |error| Error::io("pack", &path, error);
        let file = fs::File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        self.sizes.push((inside.to_owned(), metadata.len()));
        self.whole += metadata.len();
        // What is a thousand times as large is not packed to that.
        if self.whole / 1000 > self.limit as u64 {
            return Err(failed(full()));
        }
        let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        let mut header = header(EntryType::Regular, mode, metadata.len());
        archive.append_data(&mut header, inside, file).map_err(failed)
    }

    fn link(&mut self, archive: &mut Builder<GzEncoder<Limited>>, inside: &Path) -> Result<()> {
        let path = self.root.join(inside);
        let failed = |error| Error::io("pack", &path, error);
        let to = fs::read_link(&path).map_err(failed)?;
        let root = self.root.canonicalize().map_err(failed)?;
        let end = path.canonicalize().map_err(failed)?;
        if to.is_absolute() || !end.starts_with(root) {
            return Err(Error::invalid(
                "spec.build.source",
                format!("{} links to {}, outside of the source", inside.display(), to.display()),
            )
            .help("copy what it links to into the source, or take the link away"));
        }
        archive.append_link(&mut header(EntryType::Symlink, 0o777, 0), inside, to).map_err(failed)
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

/// Bytes up to a limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Limited {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit {
            return Err(full());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn full() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

fn is_full(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::FileTooLarge)
        {
            return true;
        }
        source = error.source();
    }
    false
}

fn too_large(source: &Path, limit: usize, sizes: &[(PathBuf, u64)]) -> Error {
    let mut largest: Vec<_> = sizes.iter().collect();
    largest.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let named = largest.iter().take(NAMED).map(|(path, size)| format!("{} ({size} bytes)", path.display()));
    let named = named.collect::<Vec<_>>().join(", ");
    let named = if named.is_empty() { named } else { format!("; the largest files so far: {named}") };
    let what = format!(
        "{} has more than {limit} bytes, packed, which is what a cluster takes with a run{named}",
        source.display()
    );
    Error::invalid("spec.build.source", what)
        .help("put it into a repository or an archive that pods can fetch (git://…, https://….tar.gz), or into the image")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Limits, unpack};

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in ["sub/deep", ".git", "sub/__pycache__"] {
            fs::create_dir_all(from.path().join(folder)).unwrap();
        }
        for (name, text) in
            [("a.py", "1"), ("sub/deep/b.txt", "2"), (".git/x", "3"), ("sub/__pycache__/c", "4")]
        {
            fs::write(from.path().join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../a.py", from.path().join("sub/link")).unwrap();
        let packed = pack(from.path(), 1 << 20).unwrap();
        assert_eq!(packed, pack(from.path(), 1 << 20).unwrap(), "the same bytes");
        let archive = to.path().join("a.tar.gz");
        fs::write(&archive, &packed).unwrap();
        assert_eq!(pack(&archive, 1 << 20).unwrap(), packed, "an archive is one already");
        let folder = to.path().join("folder");
        unpack(&archive, "a", &folder, Limits::default(), &|| false).unwrap();
        assert_eq!(fs::read_to_string(folder.join("sub/link")).unwrap(), "1");
        assert_eq!(fs::read_to_string(folder.join("sub/deep/b.txt")).unwrap(), "2");
        assert!(!folder.join(".git").exists() && !folder.join("sub/__pycache__").exists());
    }

    #[test]
    fn what_is_too_large_or_lies_elsewhere_is_named() {
        let from = tempfile::tempdir().unwrap();
        let noise: Vec<u8> =
            (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(from.path().join("noise.bin"), noise).unwrap();
        fs::write(from.path().join("a.py"), "1").unwrap();
        let error = pack(from.path(), 1000).unwrap_err();
        assert!(error.to_string().contains("noise.bin (160000 bytes), a.py"), "{error}");
        assert_eq!(error.location(), Some("spec.build.source"));

        fs::remove_file(from.path().join("noise.bin")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
        let error = pack(from.path(), 1000).unwrap_err();
        assert!(error.to_string().contains("link links to /etc/passwd"), "{error}");
    }
}
