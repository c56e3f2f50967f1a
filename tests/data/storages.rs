//! What is asked of every storage.

use std::path::{Path, PathBuf};

use runtimes::{
    ErrorKind,
    data::{Meter, Place, Storage},
};

struct Case {
    storage: Storage,
    /// A folder in the storage.
    root: Place,
    here: tempfile::TempDir,
}

impl Case {
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.here.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn put(&self, name: &str, content: &[u8]) {
        let file = self.file("source", content);
        self.storage.put(&file, &self.root.join(name), "p", &Meter::default()).await.unwrap();
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, runtimes::Error> {
        let mut content = Vec::new();
        self.storage.read(&self.root.join(name), "p", &mut content, &Meter::default()).await.map(|()| content)
    }
}

/// Runs a check against each storage.
async fn each<F: Future<Output = ()>>(check: impl Fn(Case) -> F) {
    let here = || tempfile::tempdir().unwrap();
    check(Case {
        storage: Storage::new(None),
        root: Place::parse("memory://root/of it").unwrap(),
        here: here(),
    })
    .await;
    let folder = here();
    let root = Place::parse(&format!("file://{}/of it", folder.path().display())).unwrap();
    check(Case { storage: Storage::new(None), root, here: here() }).await;
}

#[tokio::test]
async fn what_is_written_is_read() {
    each(|case| async move {
        // Around the size from which it goes in parts.
        for size in [0, 1, 8 * 1024 * 1024 - 1, 8 * 1024 * 1024, 20_000_001] {
            let content: Vec<u8> = (0..size).map(|byte: usize| (byte % 251) as u8).collect();
            case.put("a b%20/ü.bin", &content).await;
            assert!(case.read("a b%20/ü.bin").await.unwrap() == content, "{size} bytes in {}", case.root);
            let size = u64::try_from(size).unwrap();
            assert_eq!(case.storage.size(&case.root.join("a b%20/ü.bin"), "p").await.unwrap(), Some(size));
        }
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_fetched_whole_or_not_at_all() {
    each(|case| async move {
        for name in ["f/one", "f/sub/two", "f/sub/deep/three", "fg/other"] {
            case.put(name, name.as_bytes()).await;
        }
        let (to, meter) = (case.here.path().join("copy"), Meter::default());
        let folder = case.root.join("f/");
        case.storage.fetch(&folder, "p", &to, &meter).await.unwrap();
        assert_eq!(std::fs::read_to_string(to.join("sub/deep/three")).unwrap(), "f/sub/deep/three");
        assert_eq!((meter.done(), meter.total()), (30, 30));
        let listed: Vec<String> =
            case.storage.list(&folder, "p").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(listed, ["one", "sub/deep/three", "sub/two"]);
        let nothing =
            case.storage.fetch(&case.root.join("none/"), "p", &to.join("x"), &meter).await.unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::NotFound);
        case.storage.remove(&folder, "p").await.unwrap();
        assert!(case.read("f/one").await.is_err() && case.read("fg/other").await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn what_an_earlier_attempt_fetched_is_not_fetched_again() {
    each(|case| async move {
        case.put("f/one", b"one").await;
        case.put("f/two", b"two").await;
        // As a killed attempt leaves it: one file is whole, of the other there is a part.
        let part = case.here.path().join(".copy.part");
        std::fs::create_dir(&part).unwrap();
        std::fs::write(part.join("one"), "ONE").unwrap();
        std::fs::write(part.join(".two.part"), "t").unwrap();
        let to = case.here.path().join("copy");
        case.storage.fetch(&case.root.join("f/"), "p", &to, &Meter::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(to.join("one")).unwrap(), "ONE");
        assert_eq!(std::fs::read_to_string(to.join("two")).unwrap(), "two");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    each(|case| async move {
        let error = case.read("none").await.unwrap_err();
        assert_eq!((error.kind(), error.message().contains("/none")), (ErrorKind::NotFound, true), "{error}");
        assert_eq!(case.storage.size(&case.root.join("none"), "p").await.unwrap(), None);
        case.storage.remove(&case.root.join("none"), "p").await.unwrap();
        let to = case.here.path().join("file");
        assert!(case.storage.fetch(&case.root.join("none"), "p", &to, &Meter::default()).await.is_err());
        assert_eq!(std::fs::read_dir(case.here.path()).unwrap().count(), 0, "nothing half is left");
        let error =
            case.storage.put(Path::new("/nowhere"), &case.root, "p", &Meter::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn files_keep_their_own_names() {
    let (here, storage, meter) = (tempfile::tempdir().unwrap(), Storage::new(None), Meter::default());
    let folder = here.path().join("100% #1?");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a%20b", "ü ~ #.txt", "50%"] {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let place = Place::parse(folder.to_str().unwrap()).unwrap();
    let to = here.path().join("copy of 100%");
    storage.fetch(&place, "p", &to, &meter).await.unwrap();
    for name in ["a%20b", "ü ~ #.txt", "50%"] {
        assert_eq!(std::fs::read_to_string(to.join(name)).unwrap(), name);
        let file = here.path().join(format!("again {name}"));
        let target = Place::parse(&format!("file://{}", file.display())).unwrap();
        storage.put(&to.join(name), &target, "p", &meter).await.unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), name);
    }
}
