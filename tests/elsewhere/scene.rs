//! A folder with a home, a repository, and a server of files that can go away.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use runtimes::{Orchestrator, hub::Hub};

/// Says nothing of what is done.
pub(crate) fn quiet(_: &str) {}

pub(crate) struct Scene(tempfile::TempDir);

impl Scene {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn hub(&self) -> Hub {
        Hub::open(self.path("home")).unwrap().with_lockfile(self.path("runtimes.lock"))
    }

    pub(crate) async fn open(&self) -> Orchestrator {
        Orchestrator::open(self.path("home")).await.unwrap()
    }

    /// Commits what lies in a folder of this name; returns the commit.
    pub(crate) fn commit(&self, name: &str) -> String {
        let folder = self.path(name);
        if !folder.join(".git").exists() {
            git(&folder, &["init", "-q", "-b", "main", "."]);
        }
        git(&folder, &["add", "-A"]);
        git(&folder, &["commit", "-q", "--allow-empty", "-m", "more"]);
        git(&folder, &["rev-parse", "HEAD"])
    }
}

/// Runs git in a folder.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=n", "-c", "user.email=n@localhost"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Serves the files of a folder, each with an `ETag` of its content.
pub(crate) struct Server {
    pub(crate) url: String,
    /// How many files were sent whole.
    pub(crate) sent: Arc<AtomicUsize>,
    gone: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sent, gone) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let server = Self { url, sent: Arc::clone(&sent), gone: Arc::clone(&gone) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asks now finds nobody: the connection ends without an answer.
                if !gone.load(Ordering::SeqCst) {
                    let _ = answer(stream, &root, &sent);
                }
            }
        });
        server
    }

    /// From now on it does not answer.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

fn answer(mut stream: TcpStream, root: &Path, sent: &AtomicUsize) -> std::io::Result<()> {
    let (mut path, mut known) = (String::new(), String::new());
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("if-none-match")
        {
            known = value.to_owned();
        }
        if line.is_empty() {
            break;
        }
    }
    let Ok(content) = fs::read(root.join(path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let sum = content.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let tag = format!("\"{sum:x}\"");
    if known == tag {
        return stream.write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
    }
    sent.fetch_add(1, Ordering::SeqCst);
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&content)
}
