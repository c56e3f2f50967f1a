//! Packages of PyPI in a folder that is kept, and that the node's pods have as a volume.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use runtimes::{
    Function, Request,
    core::serde_json::{Value, json},
};

use super::scene::IMAGE;

/// A Python environment with these packages, by this name; `None` where it cannot be made, and it says so.
pub(crate) fn environment(name: &str, packages: &[&str]) -> Option<PathBuf> {
    // Of several tests that need it, the first one makes it.
    static ONE: Mutex<()> = Mutex::new(());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
        // The scene says that there is no cluster.
        return Some(folder);
    }
    let _one = ONE.lock().unwrap();
    match make(&folder, packages) {
        Ok(()) => Some(folder),
        Err(why) => {
            println!("skipped: {packages:?} cannot be had from PyPI, for which pip must reach it: {why}");
            None
        }
    }
}

fn make(folder: &Path, packages: &[&str]) -> Result<(), String> {
    // Written last.
    let whole = folder.join("whole");
    if whole.exists() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(folder);
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    };
    let place = folder.to_str().ok_or("the folder's name is no text")?;
    // The node's image has the system's Python, whose version the packages have to be for.
    let venv = |python: &str| run(Path::new(python), &["-m", "venv", "--clear", place]);
    venv("/usr/bin/python3").or_else(|_| venv("python3"))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(&folder.join("bin/python"), &[&install[..], packages].concat())?;
    std::fs::write(whole, "").map_err(|error| error.to_string())
}

/// Where its packages lie.
pub(crate) fn packages(environment: &Path) -> PathBuf {
    let versions = std::fs::read_dir(environment.join("lib")).unwrap();
    let found = versions.map(|version| version.unwrap().path().join("site-packages"));
    found.into_iter().find(|folder| folder.is_dir()).unwrap()
}

/// A run of this code with the environment, where it is on this machine, and with these fields of its own.
pub(crate) fn request(
    kind: &str,
    environment: &Path,
    (code, handler): (&str, &str),
    fields: Value,
) -> Request {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", environment.join("bin").display());
    let mut document = json!({
        "kind": kind,
        "metadata": {"name": handler},
        "spec": {
            "image": IMAGE,
            "env": [{"name": "PATH", "value": path}],
            "pythonpath": packages(environment),
            "volumes": [{"name": "packages", "hostPath": {"path": environment}}],
            "volume_mounts": [{"name": "packages", "mountPath": environment, "readOnly": true}],
        },
    });
    document["spec"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let function = Function::from_value(document).unwrap().with_code(code);
    Request::new(function).handler(handler).on("kubernetes")
}
