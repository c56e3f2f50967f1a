//! Files that the code of a run wrote elsewhere, and that arrive here in parts.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Component, Path, PathBuf},
};

use runtime_core::{Error, ErrorKind, Result, run::RunKey};

use super::Orchestrator;
use crate::durable;

/// The longest path of a file.
const LONGEST: usize = 1000;

/// A part of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// How long the whole file is.
    pub(crate) size: u64,
}

impl Orchestrator {
    /// Keeps a part of a file of a run; parts come in their order, and the same one may come twice. Returns the folder
    /// with the run's files, and where the file is in it once it is whole.
    ///
    /// # Errors
    /// `Invalid` where the path or the part is wrong; `Conflict` where a part is missing before this one, the run has
    /// ended, or another attempt goes on; when the disk says so.
    pub(crate) async fn receive(
        &self,
        key: &RunKey,
        attempt: u32,
        path: &str,
        part: Part,
        data: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<PathBuf> {
        let record = self.reporting(key, attempt).await?;
        let root = self.inner.default_artifacts(&record.run);
        let inside = checked(path, key)?;
        let to = root.join(inside);
        let written = tokio::task::spawn_blocking(move || write(&to, part, data.as_ref()));
        written.await.map_err(|_| Error::internal("a file cannot be written"))??;
        Ok(root)
    }
}

/// A path that stays in the folder of the run; of an iteration, in that of the iteration.
fn checked(path: &str, key: &RunKey) -> Result<PathBuf> {
    let inside = Path::new(path);
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || path.len() > LONGEST || !plain || path.chars().any(char::is_control) {
        let message = format!("{path:?} is no path of a file below the run's artifacts");
        return Err(
            Error::invalid("path", message).help(format!("relative, without `..`, at most {LONGEST} bytes"))
        );
    }
    if key.iteration > 0 && !inside.starts_with(key.iteration.to_string()) {
        let message = format!("{path:?} is not in the folder of the iteration {}", key.iteration);
        return Err(Error::invalid("path", message));
    }
    Ok(inside.to_owned())
}

fn write(to: &Path, Part { offset, size }: Part, data: &[u8]) -> Result<()> {
    let failed = |error| Error::io("write", to, error);
    let end = offset.saturating_add(data.len() as u64);
    if end > size {
        let message = format!("the part ends at {end}, and the file has {size} bytes");
        return Err(Error::invalid("offset", message));
    }
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    // What is not whole is no artifact yet: files of such names are left out.
    let temporary = to.with_file_name(format!(".{name}.tmp"));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let opened = File::options().create(true).truncate(offset == 0).write(true).open(&temporary);
    let mut file = opened.map_err(failed)?;
    let there = file.metadata().map_err(failed)?.len();
    if there < offset {
        let whole = end == size && fs::metadata(to).is_ok_and(|meta| meta.len() == size);
        if whole {
            // The last part came before, and its answer was lost.
            return fs::remove_file(&temporary).map_err(failed);
        }
        let message = format!("the part begins at {offset}, and {there} bytes are here");
        return Err(Error::new(ErrorKind::Conflict, message).help("send the file from its begin"));
    }
    let put = |file: &mut File| -> io::Result<()> {
        file.set_len(offset)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)
    };
    put(&mut file).map_err(failed)?;
    if end == size {
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, to).and_then(|()| durable::name(to)).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_its_last_part_is() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("deep/a.bin");
        write(&to, Part { offset: 0, size: 6 }, b"abc").unwrap();
        assert!(!to.exists());
        let error = write(&to, Part { offset: 5, size: 6 }, b"f").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        for _ in 0..2 {
            write(&to, Part { offset: 3, size: 6 }, b"def").unwrap();
        }
        assert_eq!(fs::read(&to).unwrap(), b"abcdef");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
        write(&to, Part { offset: 0, size: 0 }, b"").unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"");
        assert!(write(&to, Part { offset: 0, size: 1 }, b"ab").is_err());
    }

    #[test]
    fn nothing_is_written_elsewhere() {
        let run = RunKey::new("u");
        for path in ["", "/etc/passwd", "../x", "a/../../x", "./a", "a\nb"] {
            assert!(checked(path, &run).is_err(), "{path:?}");
        }
        assert_eq!(checked("a/b c.txt", &run).unwrap(), Path::new("a/b c.txt"));
        let iteration = RunKey { uid: "u".to_owned(), iteration: 3 };
        assert!(checked("3/a", &iteration).is_ok() && checked("2/a", &iteration).is_err());
    }
}
