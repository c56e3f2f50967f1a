use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use runtime_core::{ErrorKind, Result};
use tar::{Builder, EntryType, Header};

use super::{Limits, Unpacked, unpack};

/// Two folders: an archive is unpacked into one, and nothing may appear in the other.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/precious"), "as it was").unwrap();
        Self(folder)
    }

    fn to(&self) -> PathBuf {
        self.0.path().join("outside/to/here")
    }

    fn unpack(&self, bytes: &[u8], name: &str) -> Result<Unpacked> {
        self.unpack_within(bytes, name, Limits::default())
    }

    fn unpack_within(&self, bytes: &[u8], name: &str, limits: Limits) -> Result<Unpacked> {
        let archive = self.0.path().join("archive");
        fs::write(&archive, bytes).unwrap();
        let result = unpack(&archive, name, &self.to(), limits, &|| false);
        if result.is_err() {
            assert!(!self.to().exists(), "something is left of {name}");
        }
        self.is_whole();
        result
    }

    /// Nothing was written outside of the folder.
    #[track_caller]
    fn is_whole(&self) {
        let names = |folder: PathBuf| {
            let mut names: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(fs::read_to_string(self.0.path().join("outside/precious")).unwrap(), "as it was");
        let outside = names(self.0.path().join("outside"));
        assert!(outside == ["precious", "to"] || outside == ["precious"], "{outside:?}");
        assert!(names(self.0.path().to_owned()).len() <= 2);
        if self.to().exists() {
            assert_eq!(names(self.to().parent().unwrap().to_owned()), ["here"]);
            leads_inside(&self.to(), &self.to());
        }
    }
}

/// No link below a folder leads out of it.
fn leads_inside(folder: &Path, root: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file() || kind.is_symlink(), "{:?}", entry.path());
        if let (true, Ok(target)) = (kind.is_symlink(), entry.path().canonicalize()) {
            assert!(target.starts_with(root.canonicalize().unwrap()), "{:?} -> {target:?}", entry.path());
        }
        if kind.is_dir() {
            leads_inside(&entry.path(), root);
        }
    }
}

/// An entry of a tar file, its name as it stands, however wrong.
fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    let field = &mut header.as_old_mut().name;
    let name = &name.as_bytes()[..name.len().min(field.len())];
    field[..name.len()].copy_from_slice(name);
    if !link.is_empty() {
        header.set_link_name_literal(&link.as_bytes()[..link.len().min(100)]).unwrap();
    }
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn tar(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, link, content) in entries {
        entry(&mut tar, *kind, name, link, content);
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn files_folders_and_links_come_out() {
    let long = "d/".repeat(70) + "f";
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Directory, "./src/", "", b"");
    entry(&mut tar, FILE, "src/a.py", "", b"first");
    entry(&mut tar, FILE, "src/a.py", "", b"second");
    entry(&mut tar, EntryType::Symlink, "src/link", "../src/a.py", b"");
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let bytes = tar.into_inner().unwrap();
    for bytes in [gzip(&bytes), bytes] {
        let scene = Scene::new();
        assert!(scene.unpack(&bytes, "code.tar").unwrap().bytes >= 12);
        let read = |name: &str| fs::read_to_string(scene.to().join(name)).unwrap();
        assert_eq!(
            (read("src/a.py"), read("src/link"), read(&long)),
            ("second".into(), "second".into(), "x".into())
        );
    }
    let scene = Scene::new();
    scene.unpack(&zip(&[("a/b.py", b"x = 1"), ("c\\d.py", b"y")]), "code.zip").unwrap();
    assert_eq!(fs::read_to_string(scene.to().join("c/d.py")).unwrap(), "y");
}

#[test]
fn what_climbs_out_is_refused() {
    use EntryType as T;
    for (entries, why) in [
        (vec![(FILE, "../out", "", &b"x"[..])], "climbs out"),
        (vec![(FILE, "a/../../out", "", b"x")], "climbs out"),
        (vec![(FILE, "/etc/out", "", b"x")], "absolute"),
        (vec![(T::Symlink, "l", "/etc", b"")], "leaves the archive"),
        (vec![(T::Symlink, "l", "..", b"")], "leaves the archive"),
        (vec![(T::Symlink, "a/l", "../../x", b"")], "leaves the archive"),
        (vec![(T::Symlink, "s", ".", b""), (T::Symlink, "l", "s/../../x", b"")], "turns back"),
        (vec![(T::Symlink, "l", "d", b""), (FILE, "l/out", "", b"x")], "through its own link"),
        (vec![(T::Symlink, "l", "d", b""), (FILE, "l", "", b"x")], "through its own link"),
        (vec![(T::Symlink, "a/b", "c", b""), (T::Symlink, "a", "d", b"")], "two different things"),
        (vec![(T::Link, "l", "../outside/precious", b"")], "hard link"),
        (vec![(T::Char, "null", "", b"")], "a device"),
        (vec![(T::Fifo, "pipe", "", b"")], "named pipe"),
        (vec![(FILE, "a", "", b"x"), (FILE, "a/b", "", b"x")], "two different things"),
    ] {
        let error = Scene::new().unpack(&tar(&entries), "bad.tar").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(why) && error.to_string().contains("bad.tar"), "{why}: {error}");
    }
    for name in ["../out", "/etc/out", "a/../../out", "..\\out"] {
        let error = Scene::new().unpack(&zip(&[(name, b"x")]), "bad.zip").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
    }
}

#[test]
fn bombs_are_refused() {
    let limits = Limits { archive: 1 << 20, bytes: 1000, entries: 10, ratio: 200 };
    let many: Vec<_> = (0..11).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|name| (FILE, name.as_str(), "", &b""[..])).collect();
    let zeros = vec![0; 2000];
    let scene = Scene::new();
    for (bytes, why) in [
        (tar(&many), "more than 10 entries"),
        (gzip(&tar(&[(FILE, "zeros", "", &zeros)])), "more than 1000 bytes"),
        (zip(&[("zeros", &zeros)]), "more than 1000 bytes"),
        (vec![0; (1 << 20) + 1], "at most 1048576"),
    ] {
        let error = scene.unpack_within(&bytes, "bomb", limits).unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    // Folders that are not named count, too: here 12 of them, in one entry.
    let deep = "d/".repeat(12) + "f";
    for bytes in [
        tar(&[(FILE, &deep, "", b"")]),
        zip(&[(&deep, b"")]),
        tar(&[(EntryType::Symlink, &deep, "x", b"")]),
        tar(&[(EntryType::Directory, &deep, "", b"")]),
    ] {
        let error = scene.unpack_within(&bytes, "deep", limits).unwrap_err();
        assert!(error.to_string().contains("more than 10 entries"), "{error}");
    }
    // What is no file has no content that would be read and thrown away.
    for kind in [EntryType::Directory, EntryType::Symlink, EntryType::XGlobalHeader, EntryType::GNULongName] {
        let error = scene.unpack_within(&tar(&[(kind, "a", "b", &zeros)]), "long", limits).unwrap_err();
        assert!(error.to_string().contains("more than 1000 bytes"), "{kind:?}: {error}");
    }
    assert!(scene.unpack_within(&tar(&[(FILE, "a/", "", &zeros)]), "long", limits).is_err());
    // The list of a zip file's entries is read as a whole: 30,000 of them for a limit of 10.
    let names: Vec<_> = (0..30_000).map(|n| n.to_string()).collect();
    let many = zip(&names.iter().map(|name| (name.as_str(), &b""[..])).collect::<Vec<_>>());
    let error = scene.unpack_within(&many, "many.zip", Limits { archive: 1 << 30, ..limits }).unwrap_err();
    assert!(error.to_string().contains("the list of its entries is too long"), "{error}");
    // A name that never ends is not read into memory.
    let long = tar(&[(EntryType::GNULongName, "././@LongLink", "", &vec![b'a'; 2 << 20])]);
    assert!(scene.unpack(&long, "long.tar").unwrap_err().to_string().contains("one of its names"));
    // 80 MB out of 80 KB.
    let zeros = gzip(&tar(&[(FILE, "zeros", "", &vec![0; 80 << 20])]));
    assert!(scene.unpack(&zeros, "zeros.tgz").unwrap_err().to_string().contains("bytes"));
}

#[test]
fn broken_archives_are_refused() {
    let whole = gzip(&tar(&[(FILE, "a", "", &[7; 5000]), (FILE, "b", "", &[8; 5000])]));
    let zipped = zip(&[("a", &[7; 5000])]);
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 0xff;
    let scene = Scene::new();
    for (bytes, name) in [
        (&whole[..whole.len() / 2], "half.tgz"),
        (&whole[..whole.len() - 4], "short.tgz"),
        (&flipped[..], "checksum.tgz"),
        (&zipped[..zipped.len() / 2], "half.zip"),
        (b"<html>404</html>", "page.tar.gz"),
        (b"", "empty.zip"),
    ] {
        let error = scene.unpack(bytes, name).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn stopping_leaves_nothing() {
    let scene = Scene::new();
    let archive = scene.0.path().join("archive");
    fs::write(&archive, tar(&[(FILE, "a", "", b"x")])).unwrap();
    let error = unpack(&archive, "a.tar", &scene.to(), Limits::default(), &|| true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert!(!scene.to().exists());
}

/// Names that try everything.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "..", ".", "", "link", "precious", "to"]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn kind() -> impl Strategy<Value = EntryType> {
    use EntryType as T;
    prop::sample::select(vec![
        T::Regular,
        T::Regular,
        T::Directory,
        T::Symlink,
        T::Symlink,
        T::Link,
        T::GNULongName,
        T::GNULongLink,
        T::XHeader,
        T::Fifo,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_tar_writes_outside(
        entries in prop::collection::vec((kind(), name(), name(), prop::collection::vec(any::<u8>(), 0..40)), 1..8),
        packed in any::<bool>(),
    ) {
        let mut tar = Builder::new(Vec::new());
        for (kind, name, link, content) in &entries {
            entry(&mut tar, *kind, name, link, content);
        }
        let bytes = tar.into_inner().unwrap();
        let bytes = if packed { gzip(&bytes) } else { bytes };
        let _ = Scene::new().unpack(&bytes, "any.tar");
    }

    #[test]
    fn no_zip_writes_outside(names in prop::collection::vec(name(), 1..6)) {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (index, name) in names.iter().enumerate() {
            let options = zip::write::SimpleFileOptions::default();
            let _ = match index % 2 {
                0 => zip.start_file(name, options).map(drop),
                _ => zip.add_symlink(name, &names[0], options).map(drop),
            };
        }
        let bytes = zip.finish().unwrap().into_inner();
        let _ = Scene::new().unpack(&bytes, "any.zip");
    }

    #[test]
    fn any_bytes(head in 0..4usize, bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let heads: [&[u8]; 4] = [b"", &[0x1f, 0x8b, 8, 0], b"PK\x03\x04", b"PK\x05\x06"];
        let _ = Scene::new().unpack(&[heads[head], &bytes].concat(), "any.tar");
    }

    #[test]
    fn broken_at_any_place(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0..3usize) {
        let plain = tar(&[(FILE, "a/b", "", b"content"), (EntryType::Symlink, "a/l", "b", b"")]);
        let mut bytes = match which {
            0 => gzip(&plain),
            1 => zip(&[("a/b", b"content"), ("c", b"more")]),
            _ => plain,
        };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Scene::new().unpack(&bytes, "any.tar");
    }
}
