//! Holding a process to its limits: by a cgroup where one may be made, else by rlimits.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use runtime_core::plan::Limits;

/// How one process is held to its limits.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// Lines of shell for the supervisor.
    pub(crate) script: String,
    cgroup: Option<PathBuf>,
    memory: Option<u64>,
}

impl Hold {
    /// Prepares for a process of this name.
    pub(crate) fn prepare(limits: &Limits, name: &str) -> Self {
        if *limits == Limits::default() {
            return Self::default();
        }
        match root().and_then(|root| Cgroup::create(root, name, limits)) {
            Some(Cgroup(path)) => Self {
                script: format!("echo $$ >'{}/cgroup.procs'\n", path.display()),
                cgroup: Some(path),
                memory: limits.memory,
            },
            None => Self { script: rlimits(limits), cgroup: None, memory: limits.memory },
        }
    }

    /// The memory limit, where the kernel says that it ended the process over it.
    pub(crate) fn out_of_memory(&self) -> Option<u64> {
        let events = fs::read_to_string(self.cgroup.as_ref()?.join("memory.events")).ok()?;
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        if kills.trim() == "0" { None } else { self.memory }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(path) = &self.cgroup {
            let _ = fs::write(path.join("cgroup.kill"), "1");
            let _ = fs::remove_dir(path);
        }
    }
}

/// What cannot be held on this machine, in words, for the limits that were asked.
pub(crate) fn notes(limits: &Limits) -> Vec<String> {
    if root().is_some() {
        return Vec::new();
    }
    let mut notes = Vec::new();
    if limits.memory.is_some() {
        notes.push(
            "resources.limits.memory holds for each process alone (RLIMIT_DATA): no cgroup v2 with a memory controller may be written here"
                .to_owned(),
        );
    }
    if limits.cpu.is_some() {
        notes.push(
            "resources.limits.cpu is not enforced: no cgroup v2 with a cpu controller may be written here"
                .to_owned(),
        );
    }
    notes
}

fn rlimits(limits: &Limits) -> String {
    // `-d` counts what a process allocates; `-v` would count what it merely maps, which Java and OpenBLAS do lavishly.
    limits.memory.map(|bytes| format!("ulimit -d {}\n", bytes.div_ceil(1024))).unwrap_or_default()
}

struct Cgroup(PathBuf);

impl Cgroup {
    fn create(root: &Path, name: &str, limits: &Limits) -> Option<Self> {
        let path = root.join(format!("runtimes-{name}"));
        fs::create_dir_all(&path).ok()?;
        let write = |file: &str, value: String| fs::write(path.join(file), value).is_ok();
        let mut held = limits.memory.is_none_or(|bytes| {
            // Swap would let it go on, slowly.
            let _ = fs::write(path.join("memory.swap.max"), "0");
            write("memory.max", bytes.to_string())
        });
        held &= limits.cpu.is_none_or(|millis| write("cpu.max", format!("{} 100000", millis.max(1) * 100)));
        if held {
            return Some(Self(path));
        }
        let _ = fs::remove_dir(&path);
        None
    }
}

/// The cgroup below which runs may have their own, where memory and CPU can be limited there. Looked up once.
fn root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(find).as_deref()
}

fn find() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    })?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = mount.join(own);
    let _ = fs::write(root.join("cgroup.subtree_control"), "+memory +cpu");
    let enabled = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
    let has = |controller: &str| enabled.split_whitespace().any(|enabled| enabled == controller);
    if !has("memory") || !has("cpu") {
        return None;
    }
    let probe = root.join(format!("runtimes-probe-{}", std::process::id()));
    fs::create_dir(&probe).ok()?;
    let writable = fs::write(probe.join("memory.max"), "max").is_ok();
    let _ = fs::remove_dir(&probe);
    writable.then_some(root)
}
