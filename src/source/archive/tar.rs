//! Tar files.

use std::io::{self, Read};

use runtime_core::Result;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::{broken, file::Unpacker, refused};

/// The longest name or set of extensions that is read into memory.
const LONGEST_HEADER: u64 = 1 << 20;

/// What stands before an entry and belongs to it.
#[derive(Default)]
struct Before {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Unpacks all entries, and reads to the end: a checksum stands there.
pub(super) fn unpack(reader: impl Read, to: &mut Unpacker<'_>) -> Result<()> {
    let name = to.name;
    let mut archive = Archive::new(reader);
    let mut before = Before::default();
    // Raw: the names of entries may be as long as somebody likes, so they are read here and not by the library.
    for entry in archive.entries().map_err(|error| broken(name, &error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(name, &error))?;
        to.entry()?;
        let kind = entry.header().entry_type();
        // What is no file may claim a content of any length, which would have to be passed over.
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            to.count(entry.size())?;
        }
        match kind {
            EntryType::GNULongName => before.path = Some(long(&mut entry, name)?),
            EntryType::GNULongLink => before.link = Some(long(&mut entry, name)?),
            EntryType::XHeader => extensions(&mut entry, name, &mut before)?,
            EntryType::XGlobalHeader => {}
            _ => write(&mut entry, std::mem::take(&mut before), to)?,
        }
    }
    let mut rest = archive.into_inner();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match rest.read(&mut buffer).map_err(|error| broken(name, &error))? {
            0 => return Ok(()),
            read => to.count(read as u64)?,
        }
        to.go_on()?;
    }
}

fn write(entry: &mut Entry<'_, impl Read>, before: Before, to: &mut Unpacker<'_>) -> Result<()> {
    let path = before.path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
    let refuse = |what: &str| {
        let shown = String::from_utf8_lossy(&path);
        Err(refused(to.name, format!("its entry {shown:?} is {what}")))
    };
    let size = entry.size();
    if before.size.is_some_and(|real| real != size) {
        return refuse("larger than its header says");
    }
    match entry.header().entry_type() {
        // A folder of the first tar files is a file whose name ends in `/`.
        EntryType::Regular if path.ends_with(b"/") => {
            to.count(size)?;
            to.folder(&path)
        }
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
            to.file(&path, Some(size), executable, entry)
        }
        EntryType::Directory => to.folder(&path),
        EntryType::Symlink => {
            let target =
                before.link.or_else(|| entry.header().link_name_bytes().map(|name| name.into_owned()));
            to.link(&path, &target.unwrap_or_default())
        }
        EntryType::Link => refuse("a hard link"),
        EntryType::Char | EntryType::Block => refuse("a device"),
        EntryType::Fifo => refuse("a named pipe"),
        EntryType::GNUSparse => refuse("a sparse file"),
        _ => refuse("of a type that is not known"),
    }
}

/// The content of an entry that says something of the next one.
fn content(entry: &mut Entry<'_, impl Read>, name: &str) -> Result<Vec<u8>> {
    let size = entry.size();
    if size > LONGEST_HEADER {
        return Err(refused(name, format!("one of its names has {size} bytes")));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(|error| broken(name, &error))?;
    if content.len() as u64 != size {
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(broken(name, &cut));
    }
    Ok(content)
}

fn long(entry: &mut Entry<'_, impl Read>, name: &str) -> Result<Vec<u8>> {
    let mut content = content(entry, name)?;
    if content.last() == Some(&0) {
        content.pop();
    }
    Ok(content)
}

fn extensions(entry: &mut Entry<'_, impl Read>, name: &str, before: &mut Before) -> Result<()> {
    let content = content(entry, name)?;
    for extension in PaxExtensions::new(&content) {
        let extension = extension.map_err(|error| broken(name, &error))?;
        let value = extension.value_bytes();
        match extension.key_bytes() {
            b"path" => before.path = Some(value.to_vec()),
            b"linkpath" => before.link = Some(value.to_vec()),
            b"size" => before.size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok()),
            key if key.starts_with(b"GNU.sparse") => {
                return Err(refused(name, "it has a sparse file".to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}
