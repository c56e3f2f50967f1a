//! What is fetched lies on the disk before it is shown: after a power failure it is there whole, or not at all.

use std::{fs::File, io, path::Path};

/// So many files are written out one by one; of more, the whole file system is, which is faster.
#[cfg(feature = "source")]
const ONE_BY_ONE: usize = 64;

/// Writes out the entries of a folder, and of those in it; the content of the files was written out before.
///
/// # Errors
/// When the disk says so.
#[cfg(any(feature = "data", feature = "source"))]
pub(crate) fn folders(folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Writes out the folder in which a path lies, and so its name.
///
/// # Errors
/// When the disk says so.
#[cfg(any(feature = "source", feature = "api"))]
pub(crate) fn name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Writes out all that is in a folder.
///
/// # Errors
/// When the disk says so.
#[cfg(feature = "source")]
pub(crate) fn tree(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    if collect(folder, &mut files)? {
        for file in files {
            // A file that even its owner may not read cannot be opened: it has nothing that could be used.
            match File::open(file) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                opened => opened?.sync_all()?,
            }
        }
        return folders(folder);
    }
    everything(folder)
}

/// The files in a folder; `false` where they are too many.
#[cfg(feature = "source")]
fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> io::Result<bool> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(entry.path());
        }
        let few = files.len() <= ONE_BY_ONE || cfg!(not(target_os = "linux"));
        if !few || kind.is_dir() && !collect(&entry.path(), files)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(all(feature = "source", target_os = "linux"))]
fn everything(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from)
}

#[cfg(all(feature = "source", not(target_os = "linux")))]
fn everything(folder: &Path) -> io::Result<()> {
    folders(folder)
}

#[cfg(all(test, feature = "source"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn few_files_are_written_out_one_by_one_and_many_together() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/one"), "1").unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("link")).unwrap();
        let mut files = Vec::new();
        assert!(collect(root.path(), &mut files).unwrap());
        assert_eq!(files, [root.path().join("a/b/one")], "links have no content");
        tree(root.path()).unwrap();
        for n in 0..=ONE_BY_ONE {
            fs::write(root.path().join(format!("a/{n}")), "").unwrap();
        }
        assert_eq!(collect(root.path(), &mut Vec::new()).unwrap(), cfg!(not(target_os = "linux")));
        tree(root.path()).unwrap();
        assert!(tree(&root.path().join("gone")).is_err());
    }
}
