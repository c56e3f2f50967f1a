//! A copy of a source for one run, which may write into it.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use runtime_core::{Error, ErrorKind, Result};

/// Copies a folder; links stay links. Where the disk shares blocks between files, nothing is copied.
///
/// # Errors
/// When something cannot be read or written, or `stop` says so.
pub(super) fn copy(from: &Path, to: &Path, stop: &dyn Fn() -> bool) -> Result<()> {
    if stop() {
        return Err(Error::new(ErrorKind::Aborted, "stopped while the source was copied"));
    }
    fs::create_dir_all(to).map_err(|error| Error::io("create", to, error))?;
    let entries = fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in entries.map_err(|error| Error::io("read", from, error))? {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(|error| Error::io("read", &source, error))?;
        let done = if kind.is_dir() {
            copy(&source, &target, stop)?;
            continue;
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|link| symlink(link, &target))
        } else {
            copy_file(&source, &target)
        };
        done.map_err(|error| Error::io("copy", &source, error))?;
    }
    Ok(())
}

/// `fs::copy` shares blocks where the file system can.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let mode = fs::metadata(to)?.permissions().mode();
    match mode & 0o200 {
        0 => fs::set_permissions(to, fs::Permissions::from_mode(mode | 0o200)),
        _ => Ok(()),
    }
}
