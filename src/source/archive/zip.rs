//! Zip files.

use std::{
    cell::Cell,
    io::{self, Read, Seek, SeekFrom},
};

use runtime_core::Result;
use zip::ZipArchive;

use super::{broken, file::Unpacker, refused};

/// The longest target of a link.
const LONGEST_LINK: u64 = 4096;

/// The bits of a Unix mode that say what an entry is.
const TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// Unpacks all entries; each one's checksum is checked as it is read.
pub(super) fn unpack(reader: impl Read + Seek, to: &mut Unpacker<'_>) -> Result<()> {
    let name = to.name;
    let left = Cell::new(Some(to.longest_list()));
    let mut archive = ZipArchive::new(Metered { reader, left: &left }).map_err(|error| match left.get() {
        Some(0) => refused(name, "the list of its entries is too long".to_owned()),
        _ => broken(name, &error),
    })?;
    left.set(None);
    for index in 0..archive.len() {
        to.entry()?;
        let mut entry = archive.by_index(index).map_err(|error| broken(name, &error))?;
        // What Windows writes: some programs separate folders so.
        let path: Vec<u8> =
            entry.name_raw().iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
        let refuse = |what: &str| {
            let shown = String::from_utf8_lossy(&path);
            Err(refused(name, format!("its entry {shown:?} is {what}")))
        };
        if entry.encrypted() {
            return refuse("encrypted");
        }
        let mode = entry.unix_mode().unwrap_or(0);
        match mode & TYPE {
            _ if path.ends_with(b"/") => to.folder(&path)?,
            FOLDER => to.folder(&path)?,
            LINK => {
                let mut target = Vec::new();
                let mut limited = (&mut entry).take(LONGEST_LINK + 1);
                limited.read_to_end(&mut target).map_err(|error| broken(name, &error))?;
                to.link(&path, &target)?;
            }
            0 | FILE => {
                let size = entry.size();
                to.file(&path, Some(size), mode & 0o111 != 0, &mut entry)?;
            }
            _ => return refuse("a device, a pipe or the like"),
        }
    }
    Ok(())
}

/// Reads no more than is `left`, as long as that is limited.
struct Metered<'a, R> {
    reader: R,
    left: &'a Cell<Option<u64>>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left.get() else { return self.reader.read(buffer) };
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("more than is taken"));
        }
        let read = self.reader.read(&mut buffer[..most])?;
        self.left.set(Some(left - read as u64));
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}
