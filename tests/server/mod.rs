//! A PostgreSQL server of the tests' own: made from what the machine has, reached through a socket in a folder, gone
//! when the test program is, however that ends.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Who may have a server; root may not.
const NOBODY: u32 = 65534;

/// Starts the server, says so, and stops it when its standard input is closed: the kernel does that for the dead, too.
const KEEPER: &str = r#"
cd /
folder=$1 bin=$2 options=$3
"$bin/initdb" -D "$folder/data" -U test --auth=trust --encoding=UTF8 --locale=C --no-sync >"$folder/log" 2>&1 &&
printf 'local all guarded scram-sha-256\nlocal all all trust\n' >"$folder/data/pg_hba.conf" &&
"$bin/pg_ctl" -D "$folder/data" -w -t 60 -l "$folder/log" -o "-k $folder -c listen_addresses= -c unix_socket_permissions=0777 $options" start >>"$folder/log" 2>&1 &&
echo ready
read end
"$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1
rm -rf "$folder"
"#;

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    folder: PathBuf,
    bin: PathBuf,
    keeper: Child,
}

impl Server {
    /// The one server of this test program; `None` where the machine has no PostgreSQL.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: OnceLock<Option<Arc<Server>>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("-c fsync=off").map(Arc::new)).clone()
    }

    /// Another one, with these options.
    pub(crate) fn start(options: &str) -> Option<Self> {
        let Some(bin) = programs() else {
            println!("skipped: no PostgreSQL (install Debian's postgresql)");
            return None;
        };
        // A socket's path may not be long.
        let folder = tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp").unwrap().keep();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).args([&folder, &bin]).arg(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        as_somebody(&mut command, &folder);
        let mut keeper = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert_eq!(line, "ready\n", "PostgreSQL does not start: {log}");
        Some(Self { folder, bin, keeper })
    }

    /// The URL of a database of this server.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://test@localhost/{database}?host={}", self.folder.display())
    }

    /// The URL of an empty store: a schema that nobody else has.
    pub(crate) fn fresh(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("{}&schema=s{}_{count}", self.url("postgres"), std::process::id())
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Stops it in this mode (`fast`, `immediate`).
    pub(crate) fn stop(&self, mode: &str) {
        self.control(&["-m", mode, "stop"]);
    }

    /// Starts it again, with the options that it had.
    pub(crate) fn again(&self) {
        let options = fs::read_to_string(self.folder.join("data/postmaster.opts")).unwrap();
        let options = options.trim().split_once(" \"-D\" ").unwrap().1;
        let options = options.split_once(' ').unwrap().1.replace('"', "");
        let log = self.folder.join("log").display().to_string();
        self.control(&["-l", &log, "-o", &options, "start"]);
    }

    fn control(&self, args: &[&str]) {
        let mut command = Command::new(self.bin.join("pg_ctl"));
        command.arg("-D").arg(self.folder.join("data")).arg("-w").args(args).current_dir("/");
        command.stdout(Stdio::null());
        as_somebody(&mut command, &self.folder);
        assert!(command.status().unwrap().success(), "pg_ctl {args:?}: {}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Not as root.
fn as_somebody(command: &mut Command, folder: &Path) {
    if rustix::process::geteuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// The folder with `initdb` and `pg_ctl`: on `PATH`, or where Debian puts them, the newest.
fn programs() -> Option<PathBuf> {
    let has = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).find(has) {
        return Some(found);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| has(bin))
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}
