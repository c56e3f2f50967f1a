//! A disk that is full, homes that cannot be used, and output that is larger than memory should be.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use runtimes::{Error, ErrorKind, Orchestrator, RunState, core::store::RunFilter};

use crate::{
    chaos::{Order, Other, Scene, Work},
    shell, within,
};

/// A small file system of its own; `None`, and a line that says so, where none may be mounted.
struct Small(PathBuf);

impl Small {
    fn mount(scene: &Scene, size: &str) -> Option<Self> {
        let path = scene.path().join("small");
        fs::create_dir(&path).unwrap();
        let mounted = rustix::process::geteuid().is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o"])
                .arg(format!("size={size}"))
                .arg("tmpfs")
                .arg(&path)
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: no file system may be mounted here");
            return None;
        }
        Some(Self(path))
    }

    /// The same files at another place, where nobody may write.
    fn locked(&self, scene: &Scene) -> Self {
        let path = scene.path().join("locked");
        fs::create_dir(&path).unwrap();
        let mount = |args: &[&str]| {
            let status = Command::new("mount").args(args).arg(&path).status();
            assert!(status.is_ok_and(|status| status.success()), "{args:?}");
        };
        mount(&["--bind", self.0.to_str().unwrap()]);
        mount(&["-o", "remount,ro,bind"]);
        Self(path)
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = fs::File::options().append(true).create(true).open(self.0.join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1 << 8, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_begun() {
    let scene = Scene::new();
    let Some(small) = Small::mount(&scene, "8m") else { return };
    let orchestrator = Orchestrator::open(small.0.join("home")).await.unwrap();
    small.fill();
    let mut error = None;
    // The database may have a little room inside.
    for i in 0..2000 {
        match orchestrator
            .run(shell(scene.path(), &format!("echo $$ >>pids # {i}{}", "x".repeat(4000))))
            .await
        {
            Err(failed) => {
                error = Some(failed);
                break;
            }
            Ok(run) => assert!(run.state().is_terminal()),
        }
    }
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(error.to_string().contains("full") && error.help_text().is_some(), "{error}");
    let started = scene.starts();
    let recorded = orchestrator.list(&RunFilter::default()).await.unwrap();
    assert!(recorded.iter().all(|record| record.run.state().is_terminal()));
    assert!(started <= recorded.len());
    fs::remove_file(small.0.join("filler")).unwrap();
    let run = within(orchestrator.run(shell(scene.path(), "true"))).await.unwrap();
    assert_eq!(run.state(), RunState::Completed);
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_does_not_hide_the_end() {
    let scene = Scene::new();
    let Some(small) = Small::mount(&scene, "16m") else { return };
    let orchestrator = Orchestrator::open(small.0.join("home")).await.unwrap();
    // Its own output fills the disk, and it notices.
    let script = "yes 0123456789012345678901234567890123456789 | head -c 100000000; exit 9";
    let run = within(orchestrator.run(shell(scene.path(), script))).await.unwrap();
    assert_eq!((run.state(), run.status.exit_code), (RunState::Error, Some(9)), "{:?}", run.status);
    let said = format!("{:?} {:?}", run.status.notes, run.status.cause);
    assert!(said.contains("No space left"), "{said}");
    within(orchestrator.idle()).await;
    // What it left is gone, so there is room again.
    let run = within(orchestrator.run(shell(scene.path(), "echo well"))).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
    orchestrator.close().await.unwrap();
}

async fn refused(home: &Path) -> Error {
    match within(Orchestrator::open(home)).await {
        Ok(_) => panic!("{} was opened", home.display()),
        Err(error) => {
            assert!(error.to_string().contains(home.file_name().unwrap().to_str().unwrap()), "{error}");
            assert!(error.help_text().is_some(), "{error}");
            error
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_cannot_be_used_is_named() {
    let scene = Scene::new();
    let file = scene.path().join("file");
    fs::write(&file, "mine").unwrap();
    refused(&file).await;
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    let corrupt = scene.path().join("corrupt");
    fs::create_dir(&corrupt).unwrap();
    fs::write(corrupt.join("runtimes.db"), "this is no database, but long enough to look like one").unwrap();
    assert_eq!(refused(&corrupt).await.kind(), ErrorKind::Invalid);

    let folder = scene.path().join("folder");
    fs::create_dir_all(folder.join("runtimes.db")).unwrap();
    refused(&folder).await;

    if rustix::process::geteuid().is_root() {
        // Root may write everywhere but where nobody may.
        let Some(small) = Small::mount(&scene, "8m") else { return };
        Orchestrator::open(small.0.join("opened")).await.unwrap().close().await.unwrap();
        let locked = small.locked(&scene);
        for home in ["new", "opened"] {
            assert_eq!(refused(&locked.0.join(home)).await.kind(), ErrorKind::PermissionDenied, "{home}");
        }
        return;
    }
    let locked = scene.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(refused(&locked).await.kind(), ErrorKind::PermissionDenied);
    let opened = scene.path().join("opened");
    Orchestrator::open(&opened).await.unwrap().close().await.unwrap();
    fs::set_permissions(opened.join("runtimes.db"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(refused(&opened).await.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_line_larger_than_memory_should_be() {
    let scene = Scene::new();
    let mut other = Other::start(&scene, Order::run(Work::OneLine));
    assert!(other.until("@completed"));
    let peak = other.peak();
    assert!(other.end().success());
    assert!(peak < 100 << 20, "{} MiB at the most", peak >> 20);
    let run = fs::read_dir(scene.home().join("runs")).unwrap().next().unwrap().unwrap().path();
    let length = fs::metadata(run.join("log")).unwrap().len();
    assert!((100_000_000..110_000_000).contains(&length), "{length}");
    scene.is_clean("one line");
}
