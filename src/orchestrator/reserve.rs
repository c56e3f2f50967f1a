//! Space kept back in the home folder, so that a full disk does not keep the end of a run from being recorded.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// Enough for the ends of many runs.
const SIZE: usize = 1024 * 1024;

/// A file of zeros, which goes when its space is needed.
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// Makes it where it is not there. Without room for it there is none: that is no error.
    pub(super) fn keep(home: &Path) -> Self {
        let path = home.join("reserve");
        if let Ok(mut file) = File::create_new(&path)
            && file.write_all(&vec![0; SIZE]).is_err()
        {
            let _ = fs::remove_file(&path);
        }
        Self(path)
    }

    /// Gives the space back; whether there was any.
    pub(super) fn free(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_given_back_once() {
        let home = tempfile::tempdir().unwrap();
        let reserve = Reserve::keep(home.path());
        assert_eq!(fs::metadata(home.path().join("reserve")).unwrap().len(), SIZE as u64);
        assert!(reserve.free() && !reserve.free());
    }
}
