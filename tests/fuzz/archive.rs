//! An archive of anybody. The first byte of an input says what the others are: `r` the archive itself; `t` a tar file
//! and `g` one to be packed, where the checksums of headers are put right, or no change would get beyond the first.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use runtimes::source::{Limits, Unpacked, unpack};

/// Small, so that small inputs reach them.
const LIMITS: Limits = Limits { archive: 1 << 20, bytes: 64 << 10, entries: 32, ratio: 200 };

/// What is unpacked lies in its folder and within the limits; of what is refused nothing is left.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, content)) = input.split_first() else { return };
    let (bytes, name) = match kind {
        b't' => (with_checksums(content), "code.tar"),
        b'g' => (packed(&with_checksums(content)), "code.tar.gz"),
        _ => (content.to_owned(), "code.zip"),
    };
    let scene = super::scratch::folder();
    let (archive, outside) = (scene.path().join("archive"), scene.path().join("outside"));
    fs::write(&archive, &bytes).unwrap();
    super::scratch::write(&outside.join("precious"), b"as it was");
    let to = outside.join("here");
    let result = unpack(&archive, name, &to, LIMITS, &|| false);

    assert_eq!(names(scene.path()), ["archive", "outside"]);
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"as it was");
    match result {
        Ok(done) => {
            assert_eq!(names(&outside), ["here", "precious"]);
            let found = below(&to, &to.canonicalize().unwrap());
            is_within(&done, &found);
        }
        Err(error) => {
            assert_eq!(names(&outside), ["precious"], "something is left: {error}");
            assert!(error.message().contains(name), "{error}");
            super::is_readable(&error);
        }
    }
}

fn is_within(done: &Unpacked, found: &Unpacked) {
    assert!(done.entries <= LIMITS.entries && done.bytes <= LIMITS.bytes, "{done:?}");
    assert!(found.entries <= done.entries && found.bytes <= done.bytes, "{found:?} of {done:?}");
}

/// What lies below a folder; no link leads out of `root`, and nothing is but files, folders and links.
fn below(folder: &Path, root: &Path) -> Unpacked {
    let mut found = Unpacked::default();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let kind = entry.file_type().unwrap();
        found.entries += 1;
        if kind.is_dir() {
            let inner = below(&entry.path(), root);
            found.entries += inner.entries;
            found.bytes += inner.bytes;
        } else if kind.is_symlink() {
            let target = leads_to(&entry.path());
            assert!(target.starts_with(root), "{:?} -> {target:?}", entry.path());
        } else {
            assert!(kind.is_file(), "{:?}", entry.path());
            found.bytes += entry.metadata().unwrap().len();
        }
    }
    found
}

/// Where a link leads, as far as there is something.
fn leads_to(link: &Path) -> PathBuf {
    match link.canonicalize() {
        Ok(target) => target,
        // A loop, or nothing there: what would be there.
        Err(_) => {
            let mut path = link.parent().unwrap().canonicalize().unwrap();
            for part in fs::read_link(link).unwrap().components() {
                match part.as_os_str().to_str() {
                    Some("..") => drop(path.pop()),
                    _ => path.push(part),
                }
            }
            path
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A tar file whose headers have the checksums that they should have.
fn with_checksums(content: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut bytes = content.to_owned();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            at += BLOCK;
            continue;
        }
        let octal = std::str::from_utf8(&header[124..136]).unwrap_or_default();
        let size = usize::from_str_radix(octal.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        at = at.saturating_add(BLOCK).saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
    }
    bytes
}
