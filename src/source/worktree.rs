//! What is not committed in a work tree, as git says it.

use std::{
    path::{MAIN_SEPARATOR, Path},
    process::Stdio,
};

use tokio::process::Command;

/// The files of a work tree that are not as they were committed, or not committed at all, relative to it and sorted;
/// what is ignored is left out, and what lies in `but`. `None` where git does not say. Dropping the future ends git.
pub(crate) async fn uncommitted(root: &Path, but: &Path) -> Option<Vec<String>> {
    let mut command = Command::new("git");
    // It writes nothing, and leaves no program behind.
    command.args(["--no-optional-locks", "-c", "core.fsmonitor=false", "-C"]).arg(root);
    command.args(["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"]);
    for name in super::git::OF_A_HOOK {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    let but = but.canonicalize().ok();
    let but =
        but.as_deref().zip(root.canonicalize().ok()).and_then(|(but, root)| but.strip_prefix(root).ok());
    let but = but.map(|but| format!("{}{MAIN_SEPARATOR}", but.display()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `XY NAME`.
    let names = text.split('\0').filter_map(|entry| entry.get(3..)).map(str::to_owned);
    let mut names: Vec<String> =
        names.filter(|name| but.as_ref().is_none_or(|but| !name.starts_with(but.as_str()))).collect();
    names.sort();
    Some(names)
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[tokio::test]
    async fn what_is_not_committed_is_named() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let git = |args: &[&str]| {
            let all = [&["-c", "user.name=a", "-c", "user.email=a@b"][..], args].concat();
            assert!(Command::new("git").current_dir(root.path()).args(all).status().unwrap().success());
        };
        let home = root.path().join(".runtimes");
        assert_eq!(uncommitted(root.path(), &home).await, None, "it is no work tree");
        git(&["init", "-q"]);
        write(".gitignore", "*.log\n");
        write("a.py", "1");
        write("gone.py", "1");
        git(&["add", "."]);
        git(&["commit", "-qm", "one"]);
        assert_eq!(uncommitted(root.path(), &home).await, Some(Vec::new()));
        write("a.py", "2");
        write("new/ä b.py", "1");
        write("x.log", "1");
        write(".runtimes/runs/x", "1");
        fs::remove_file(root.path().join("gone.py")).unwrap();
        let named = uncommitted(root.path(), &home).await.unwrap();
        assert_eq!(named, ["a.py", "gone.py", "new/ä b.py"]);
    }
}
