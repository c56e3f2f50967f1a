//! Archives, which anybody may have made: what is unpacked stays in its folder and within its limits, or is refused.

mod file;
mod tar;
#[cfg(test)]
mod tests;
mod zip;

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    path::Path,
};

use runtime_core::{Error, ErrorKind, Result};

use file::Unpacker;

/// What an archive may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the archive itself.
    pub archive: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// How many times larger than the archive its files may be; small archives are let be.
    pub ratio: u64,
}

impl Default for Limits {
    /// 4 GiB packed, 16 GiB unpacked, 200,000 entries, 200 times.
    fn default() -> Self {
        Self { archive: 4 << 30, bytes: 16 << 30, entries: 200_000, ratio: 200 }
    }
}

/// Below this a high ratio is no bomb.
const SMALL: u64 = 64 << 20;

/// The endings of archives that can be unpacked.
const ENDINGS: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];

/// Whether a path or URL names an archive.
pub(crate) fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Unpacks an archive into a new folder; `name` is what errors call it, `stop` is asked now and then.
///
/// # Errors
/// `Invalid` where it is broken, too large, or would write elsewhere; then the folder is gone again.
pub fn unpack(
    archive: &Path,
    name: &str,
    to: &Path,
    limits: Limits,
    stop: &dyn Fn() -> bool,
) -> Result<Unpacked> {
    let file = File::open(archive).map_err(|error| Error::io("open", archive, error))?;
    let size = file.metadata().map_err(|error| Error::io("read", archive, error))?.len();
    if size > limits.archive {
        return Err(refused(name, format!("it has {size} bytes; at most {} are taken", limits.archive)));
    }
    fs::create_dir_all(to).map_err(|error| Error::io("create", to, error))?;
    let result = read(file, size, name, to, limits, stop);
    if result.is_err() {
        let _ = fs::remove_dir_all(to);
    }
    result
}

/// How much was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

fn read(
    mut file: File,
    size: u64,
    name: &str,
    to: &Path,
    limits: Limits,
    stop: &dyn Fn() -> bool,
) -> Result<Unpacked> {
    let mut head = [0; 512];
    let length = fill(&mut file, &mut head).map_err(|error| broken(name, &error))?;
    file.rewind().map_err(|error| broken(name, &error))?;
    let bytes = limits.bytes.min(size.saturating_mul(limits.ratio).max(SMALL));
    let mut unpacker = Unpacker::new(name, to, Limits { bytes, ..limits }, stop);
    match &head[..length] {
        [0x1f, 0x8b, ..] => {
            let reader = flate2::read::MultiGzDecoder::new(io::BufReader::new(file));
            tar::unpack(reader, &mut unpacker)?;
        }
        [b'P', b'K', 3 | 5, 4 | 6, ..] => zip::unpack(io::BufReader::new(file), &mut unpacker)?,
        head if head.len() == 512 && head[257..].starts_with(b"ustar") => tar::unpack(file, &mut unpacker)?,
        // Tar files from before 1988 have no mark; their checksum tells.
        head if head.len() == 512 && name.to_ascii_lowercase().ends_with(".tar") => {
            tar::unpack(file, &mut unpacker)?;
        }
        _ => {
            return Err(refused(name, "it is neither gzip, tar nor zip".to_owned()).help(
                "archives are .tar.gz, .tgz, .tar or .zip; is it an error page, or another compression?",
            ));
        }
    }
    unpacker.finish()
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The archive is not taken, and why.
fn refused(name: &str, why: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("the archive {name} is refused: {why}"))
        .help("pack files, folders and links among them alone: tar -czf code.tar.gz -C FOLDER .")
}

/// The archive cannot be read to its end.
fn broken(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("the archive {name} is broken: {error}"))
        .help("fetch or make it again; it may have been cut off")
}
