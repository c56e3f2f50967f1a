//! What a run is made of beside its function: the files that it is given, and the commits of its folders.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::Timestamp;
use runtime_core::{
    Function, Run, labels,
    run::{Fingerprint, Provenance},
};
use sha1::{Digest, Sha1};

/// The content of files up to this size is looked at.
const SMALL: u64 = 64 * 1024;

/// What is known when a run is recorded.
pub(super) fn of(run: &Run, function: &Function, base_dir: &Path) -> Provenance {
    let mut provenance = Provenance::default();
    for (field, path) in files(run, function, base_dir) {
        if let Some(fingerprint) = fingerprint(&path) {
            provenance.files.insert(field, fingerprint);
        }
    }
    for folder in folders(run) {
        if let Some((root, commit)) = commit(&folder) {
            provenance.commits.insert(root.display().to_string(), commit);
        }
    }
    provenance
}

/// The files of this machine that a run is given, by the fields that name them.
pub(super) fn files(run: &Run, function: &Function, base_dir: &Path) -> Vec<(String, PathBuf)> {
    let inputs = base_dir.join(&run.spec.input_path);
    let mut files: Vec<(String, PathBuf)> = run
        .spec
        .inputs
        .iter()
        .filter_map(|(name, place)| Some((format!("inputs.{name}"), local(place, &inputs)?)))
        .collect();
    let command = &function.spec.command;
    // Code is carried along; any other program is what lies there.
    if command.contains('/') && function.spec.build.function_source_code.is_empty() {
        files.push(("spec.command".to_owned(), base_dir.join(command)));
    }
    files
}

/// The file of this machine that an input is, if it is one.
pub(super) fn local(place: &str, folder: &Path) -> Option<PathBuf> {
    match place.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None => Some(folder.join(place)),
    }
}

/// The folders of a run.
pub(super) fn folders(run: &Run) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = [labels::BASE_DIR, labels::WORK_DIR]
        .iter()
        .filter_map(|label| run.metadata.annotations.get(*label))
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .collect();
    folders.dedup();
    folders
}

/// How a file is at the moment; `None` where it is not there.
pub(super) fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok().and_then(|time: SystemTime| Timestamp::try_from(time).ok());
    let size = if metadata.is_file() { metadata.len() } else { 0 };
    let sha1 =
        if metadata.is_file() && size <= SMALL { sha1_of(path).unwrap_or_default() } else { String::new() };
    Some(Fingerprint { path: path.display().to_string(), size, modified, sha1 })
}

fn sha1_of(path: &Path) -> Option<String> {
    let mut content = Vec::new();
    fs::File::open(path).ok()?.take(SMALL + 1).read_to_end(&mut content).ok()?;
    Some(Sha1::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The git work tree in which a folder lies, and its commit. Reads what git keeps in its files: no program is
/// started for a run.
pub(super) fn commit(folder: &Path) -> Option<(PathBuf, String)> {
    let root = folder.ancestors().find(|folder| folder.join(".git").exists())?;
    let mut git = root.join(".git");
    if git.is_file() {
        // A further work tree, or a submodule: the file says where its data is.
        let text = fs::read_to_string(&git).ok()?;
        git = root.join(text.trim().strip_prefix("gitdir:")?.trim());
    }
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref:").map(str::trim) else {
        return Some((root.to_owned(), hash(&head)?));
    };
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(common) => git.join(common.trim()),
        Err(_) => git.clone(),
    };
    let loose = [&git, &common].into_iter().find_map(|git| fs::read_to_string(git.join(reference)).ok());
    let commit = match loose {
        Some(text) => hash(&text)?,
        None => {
            let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
            let line = packed
                .lines()
                .find(|line| line.split_once(' ').is_some_and(|(_, name)| name == reference))?;
            hash(line.split_once(' ')?.0)?
        }
    };
    Some((root.to_owned(), commit))
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_found_where_git_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a/b");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        fs::create_dir_all(&inside).unwrap();
        assert!(commit(&inside).is_none_or(|(root, _)| !root.starts_with(folder.path())));
        let one = "1".repeat(40);
        let two = "2".repeat(40);
        write(".git/HEAD", "ref: refs/heads/main\n");
        assert_eq!(commit(&inside), None, "nothing was committed yet");
        write(".git/packed-refs", &format!("# pack-refs\n{two} refs/heads/other\n{one} refs/heads/main\n"));
        assert_eq!(commit(&inside), Some((folder.path().to_owned(), one.clone())));
        write(".git/refs/heads/main", &format!("{two}\n"));
        assert_eq!(commit(&inside).unwrap().1, two, "a loose reference is the newer one");
        write(".git/HEAD", &one);
        assert_eq!(commit(&inside).unwrap().1, one);
        // A further work tree.
        write(".git/worktrees/w/HEAD", "ref: refs/heads/main");
        write(".git/worktrees/w/commondir", "../..\n");
        write("w/.git", "gitdir: ../.git/worktrees/w\n");
        assert_eq!(commit(&folder.path().join("w")), Some((folder.path().join("w"), two)));
    }

    #[test]
    fn files_are_told_apart_by_their_content_where_they_are_small() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "a").unwrap();
        let a = fingerprint(&file).unwrap();
        assert_eq!((a.size, a.sha1.as_str()), (1, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"));
        fs::write(&file, "b").unwrap();
        assert_ne!(fingerprint(&file).unwrap().sha1, a.sha1);
        let large = fs::File::create(&file).unwrap();
        large.set_len(SMALL + 1).unwrap();
        let large = fingerprint(&file).unwrap();
        assert_eq!((large.size, large.sha1.as_str()), (SMALL + 1, ""));
        assert_eq!(fingerprint(folder.path()).unwrap().size, 0);
        assert_eq!(fingerprint(&folder.path().join("gone")), None);
    }
}
