//! Space kept back in the home folder, so that a full disk does not keep the end of a run from being recorded.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Enough for the ends of many runs.
const SIZE: usize = 1024 * 1024;

/// A file of zeros, which goes when its space is needed.
pub(super) struct Reserve {
    path: PathBuf,
    freed: AtomicBool,
}

impl Reserve {
    /// Makes it where it is not there. Without room for it there is none: that is no error.
    pub(super) fn keep(home: &Path) -> Self {
        let reserve = Self { path: home.join("reserve"), freed: AtomicBool::new(true) };
        reserve.restore();
        reserve
    }

    /// Gives the space back; whether there was any.
    pub(super) fn free(&self) -> bool {
        self.freed.store(true, Ordering::Release);
        fs::remove_file(&self.path).is_ok()
    }

    /// Takes the space again, where it was given back and there is room.
    pub(super) fn restore(&self) {
        if self.freed.swap(false, Ordering::AcqRel)
            && let Ok(mut file) = File::create_new(&self.path)
            && file.write_all(&vec![0; SIZE]).is_err()
        {
            let _ = fs::remove_file(&self.path);
            self.freed.store(true, Ordering::Release);
        }
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
        reserve.restore();
        assert!(reserve.free());
    }
}
