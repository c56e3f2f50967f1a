//! From a function to a hub that is a folder: written beside, then moved into place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use runtime_core::{Error, ErrorKind, Function, Result, naming, serde_json, yaml};
use serde_json::{Map, Value, json};

use super::{
    Hub, HubSource,
    lock::alone,
    open::{CATALOG, Location, address, catalog_folder, read_file},
    reference::{LATEST, is_tag},
};
use crate::source::{remove, write_whole};

/// What is begun in a hub is named so; it is rubbish as soon as nobody holds the lock.
const BEGUN: &str = ".push-";

/// The version of an item that is pushed first.
const FIRST: &str = "1.0.0";

/// How a function is pushed.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// Its version; empty: `1.0.0` for a new item, the next one where the content changed.
    pub version: String,
    /// Further tags that are to point at it.
    pub tags: Vec<String>,
    /// Whether versions and tags that are there with other content are replaced.
    pub force: bool,
}

/// What a push did.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// The item.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The tags that point at it, `latest` among them where it does.
    pub tags: Vec<String>,
    /// Whether anything was written; not where it was there already.
    pub changed: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// A function as a hub keeps it.
struct Parcel {
    name: String,
    function: String,
    /// The code's file name and text.
    code: Option<(String, String)>,
    details: Map<String, Value>,
}

impl Hub {
    /// Writes a function into a hub, which must be a folder (a git work tree, for example). Paths of the function are
    /// read against `base`; its code is carried in it.
    ///
    /// # Errors
    /// `Unsupported` where the hub is no folder; `AlreadyExists` where the version or tag is there with other content.
    pub fn push(&self, function: &Function, base: &Path, source: &str, push: &Push) -> Result<Pushed> {
        let source = self.config.get(source)?;
        let Location::Folder(root) = address(source, self.config.base())? else {
            return Err(Error::new(ErrorKind::Unsupported, format!("the hub {:?} is no folder", source.name))
                .help("clone it, add the clone (`runtimes hub source add NAME FOLDER`), push into that, then `git push`"));
        };
        for tag in push.tags.iter().chain(Some(&push.version).filter(|version| !version.is_empty())) {
            if !is_tag(tag) || tag == LATEST {
                return Err(Error::invalid(
                    if *tag == push.version { "version" } else { "tag" },
                    format!("{tag:?} is none"),
                )
                .help("letters, digits, `.`, `_`, `-` and `+`; `latest` moves by itself"));
            }
        }
        let parcel = parcel(function, base)?;
        let _alone = alone(&root)?;
        sweep(&root)?;
        // Whoever was killed with its first push may have left folders: these are no items.
        let has_items = fs::read_dir(&root)
            .map_err(|error| Error::io("read", &root, error))?
            .flatten()
            .any(|entry| entry.path().join("function.yaml").is_file());
        match catalog_folder(&root, source) {
            Some(folder) => catalogued(&root.join(folder), parcel, push),
            None if has_items => plain(&root, parcel, push),
            None => catalogued(&new_catalog(&root, source)?, parcel, push),
        }
    }
}

/// Makes a hub in MLRun's layout, where there are no items yet.
fn new_catalog(root: &Path, source: &HubSource) -> Result<PathBuf> {
    let folder = root.join("functions").join(&source.channel);
    write_whole(&folder.join(CATALOG), b"{}")?;
    Ok(folder)
}

fn parcel(function: &Function, base: &Path) -> Result<Parcel> {
    let mut function = function.clone();
    function.validate()?;
    naming::check("metadata.name", &function.metadata.name)?;
    crate::orchestrator::embed_code(&mut function, base)?;
    let metadata = &mut function.metadata;
    // What belongs to a store, not to the function.
    for field in [
        &mut metadata.project,
        &mut metadata.tag,
        &mut metadata.updated,
        &mut metadata.created,
        &mut metadata.hash,
    ] {
        field.clear();
    }
    function.status = runtime_core::function::Status::default();
    function.metadata.hash = function.hash();
    let code = function.code()?.map(|code| {
        let name = Path::new(&code.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        (if name.is_empty() { "code.py".to_owned() } else { name }, code.text)
    });
    let spec = &function.spec;
    let details = json!({
        "apiVersion": "v1",
        "categories": function.metadata.categories,
        "description": spec.description,
        "doc": "",
        "example": "",
        "hidden": false,
        "icon": "",
        "labels": function.metadata.labels,
        "maintainers": [],
        "marketplaceType": "",
        "mlrunVersion": "",
        "name": function.metadata.name,
        "platformVersion": "",
        "spec": {
            "filename": code.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default(),
            "handler": spec.default_handler,
            "image": spec.image,
            "kind": function.kind,
            "requirements": spec.build.requirements,
        },
        "url": "",
    });
    let Value::Object(details) = details else { return Err(Error::internal("an object is none")) };
    Ok(Parcel { name: function.metadata.name.clone(), function: function.to_yaml()?, code, details })
}

impl Parcel {
    /// What `item.yaml` and the catalogue say of it.
    fn details(&self, version: &str) -> Map<String, Value> {
        let mut details = self.details.clone();
        details.insert("version".to_owned(), version.into());
        let now = Timestamp::now().strftime("%Y-%m-%d:%H-%M").to_string();
        details.insert("generationDate".to_owned(), now.into());
        details
    }

    /// Writes its files.
    fn write(&self, folder: &Path, version: &str) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
        write_whole(&folder.join("function.yaml"), self.function.as_bytes())?;
        write_whole(&folder.join("item.yaml"), yaml::to_string(&self.details(version))?.as_bytes())?;
        match &self.code {
            Some((name, text)) => write_whole(&folder.join(name), text.as_bytes()),
            None => Ok(()),
        }
    }

    fn is_at(&self, folder: &Path) -> bool {
        read_file(&folder.join("function.yaml")).is_ok_and(|there| there == self.function.as_bytes())
    }
}

/// Into MLRun's layout: a folder for each version and tag, then the catalogue, by which it becomes visible.
fn catalogued(root: &Path, parcel: Parcel, push: &Push) -> Result<Pushed> {
    let file = root.join(CATALOG);
    let place = file.display().to_string();
    let mut catalog: Map<String, Value> = serde_json::from_slice(&read_file(&file)?)
        .map_err(|error| Error::invalid(&place, format!("this is no catalogue: {error}")))?;
    let key = catalog.keys().find(|key| naming::normalize(key) == parcel.name).cloned();
    let key = key.unwrap_or_else(|| parcel.name.replace('-', "_"));
    let item = root.join(key.replace('-', "_"));
    let entry = catalog.entry(key).or_insert_with(|| json!({}));
    let tags = entry
        .as_object_mut()
        .ok_or_else(|| Error::invalid(&place, format!("the item {:?} has no tags", parcel.name)))?;

    let version_of = |tags: &Map<String, Value>, tag: &str| {
        tags.get(tag).and_then(|details| details.get("version")).and_then(Value::as_str).map(str::to_owned)
    };
    let current = version_of(tags, LATEST);
    let folder_of = |tag: &str| item.join(tag).join("src");
    let is_current = current.as_ref().is_some_and(|version| parcel.is_at(&folder_of(version)));
    let version = match (&current, push.version.as_str()) {
        (None, "") => FIRST.to_owned(),
        (Some(current), "") if is_current => current.clone(),
        (Some(current), "") => next(current, |version| tags.contains_key(version)),
        (_, version) => version.to_owned(),
    };
    let there = tags.contains_key(&version);
    let same = there && parcel.is_at(&folder_of(&version));
    if there && !same && !push.force {
        return Err(exists(&parcel.name, "version", &version));
    }
    for tag in &push.tags {
        if version_of(tags, tag).is_some_and(|at| at != version) && !push.force {
            return Err(exists(&parcel.name, "tag", tag));
        }
    }
    let newest = current.as_ref().is_none_or(|current| order(&version) >= order(current));
    let mut names: Vec<String> = push.tags.clone();
    names.extend(newest.then(|| LATEST.to_owned()));
    let unchanged =
        same && names.iter().all(|tag| version_of(tags, tag).as_deref() == Some(version.as_str()));
    let path = folder_of(&version);
    if unchanged {
        return Ok(Pushed { name: parcel.name, version, tags: names, changed: false, path });
    }

    let mut details = parcel.details(&version);
    let source = parcel.code.as_ref().map(|(name, _)| format!("src/{name}"));
    details.insert(
        "assets".to_owned(),
        match source {
            Some(source) => json!({ "function": "src/function.yaml", "source": source }),
            None => json!({ "function": "src/function.yaml" }),
        },
    );
    if !same {
        put(root, &item.join(&version), &parcel, &version)?;
    }
    for tag in names.iter().chain([&version]) {
        tags.insert(tag.clone(), Value::Object(details.clone()));
    }
    let text = serde_json::to_vec_pretty(&catalog)
        .map_err(|error| Error::internal("a catalogue cannot be written").source(error))?;
    // From here on it is there. The folders of tags are for those that do not look into the catalogue.
    write_whole(&file, &text)?;
    for tag in &names {
        put(root, &item.join(tag), &parcel, &version)?;
    }
    Ok(Pushed { name: parcel.name, version, tags: names, changed: true, path })
}

/// Writes `TAG/src/` beside, and moves it into its place.
fn put(root: &Path, to: &Path, parcel: &Parcel, version: &str) -> Result<()> {
    let begun = root.join(format!("{BEGUN}{}", uuid::Uuid::new_v4().simple()));
    parcel.write(&begun.join("src"), version)?;
    swap(&begun, to)
}

/// Into a folder that has one folder for each function, and one version of each.
fn plain(root: &Path, parcel: Parcel, push: &Push) -> Result<Pushed> {
    if let Some(tag) = push.tags.first() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("this hub keeps one version of a function, and no tag {tag:?}"),
        )
        .help("tags are kept by hubs with a catalogue: push into an empty folder to begin one"));
    }
    let name = parcel.name.replace('-', "_");
    let folder = [&parcel.name, &name].into_iter().map(|name| root.join(name)).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| root.join(name));
    let current = fs::read_to_string(folder.join("item.yaml")).ok();
    let current = current.and_then(|text| yaml::read(&text, "item.yaml").ok());
    let current = current.as_ref().and_then(|details| details.get("version")).and_then(Value::as_str);
    let there = folder.join("function.yaml").is_file();
    let same = parcel.is_at(&folder);
    let version = match (push.version.as_str(), current) {
        ("", None) => FIRST.to_owned(),
        ("", Some(current)) if same => current.to_owned(),
        ("", Some(current)) => next(current, |_| false),
        (version, _) => version.to_owned(),
    };
    let tags = vec![LATEST.to_owned()];
    if same && current == Some(version.as_str()) {
        return Ok(Pushed { name: parcel.name, version, tags, changed: false, path: folder });
    }
    if there && !same && current == Some(version.as_str()) && !push.force {
        return Err(exists(&parcel.name, "version", &version));
    }
    let begun = root.join(format!("{BEGUN}{}", uuid::Uuid::new_v4().simple()));
    if folder.is_dir() {
        crate::source::copy(&folder, &begun)?;
    }
    parcel.write(&begun, &version)?;
    swap(&begun, &folder)?;
    Ok(Pushed { name: parcel.name, version, tags, changed: true, path: folder })
}

/// Moves a folder to where another one may be, in one step; the other one goes.
fn swap(begun: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let fail = |error: std::io::Error| Error::io("write", to, error);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    if !to.exists() {
        return fs::rename(begun, to).map_err(fail);
    }
    if renameat_with(CWD, begun, CWD, to, RenameFlags::EXCHANGE).is_err() {
        // Not every file system can do that: then in two steps.
        let old = begun.with_extension("old");
        fs::rename(to, &old).and_then(|()| fs::rename(begun, to)).map_err(fail)?;
        return remove(&old);
    }
    remove(begun)
}

/// Removes what those that were killed had begun.
fn sweep(root: &Path) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    for folder in fs::read_dir(root.join("functions")).into_iter().flatten().flatten() {
        folders.push(folder.path());
    }
    for entry in folders.iter().flat_map(fs::read_dir).flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(BEGUN) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn exists(name: &str, what: &str, value: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{name} has the {what} {value} already, with other content"))
        .help("give it a new one (--version, --tag), or replace that one with --force")
}

/// The version after one that nobody has: its last number is one more.
fn next(version: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut version = version.to_owned();
    loop {
        let digits = version.len() - version.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (head, last) = version.split_at(version.len() - digits);
        version = match last.parse::<u64>().ok().and_then(|last| last.checked_add(1)) {
            Some(last) => format!("{head}{last}"),
            None => format!("{version}.1"),
        };
        if !taken(&version) {
            return version;
        }
    }
}

/// By which versions are compared: their numbers, then what else there is.
fn order(version: &str) -> (Vec<u64>, String) {
    let numbers = version.split(['.', '-', '+', '_']).map_while(|part| part.parse().ok());
    (numbers.collect(), version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(next("1.0.9", |_| false), "1.0.10");
        assert_eq!(next("v2", |version| version == "v3"), "v4");
        assert_eq!(next("beta", |_| false), "beta.1");
        assert!(order("1.10.0") > order("1.9.3"));
        assert!(order("1.0.0") < order("1.0.1"));
    }
}
