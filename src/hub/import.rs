//! From an address to a function.

use std::path::{Path, PathBuf};

use runtime_core::{Error, ErrorKind, Function, Result};

use super::{
    Hub, Item, Pin, Reference,
    catalog::LeftOut,
    open::{Content, Opened, digest, fetch, read_file},
    reference::{GitReference, LATEST},
};
use crate::source::{Progress, key, short, write_whole};

/// A function that came from somewhere else.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The function; code beside its file is carried in it.
    pub function: Function,
    /// The folder against which its paths are read, where it has one.
    pub base_dir: Option<PathBuf>,
    /// What it is, exactly.
    pub pin: Pin,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// The files of a function as they were fetched; the first is the function, or its code.
struct Fetched {
    files: Vec<(String, Vec<u8>)>,
    base_dir: Option<PathBuf>,
    pin: Pin,
    notes: Vec<String>,
}

impl Hub {
    /// The function at an address. One that was pulled is what it was when it was pulled, also without a network.
    ///
    /// # Errors
    /// Where there is none, it cannot be reached, or it is not what `runtimes.lock` says.
    pub async fn import(&self, reference: &str, progress: Progress<'_>) -> Result<Imported> {
        let reference = Reference::parse(reference)?;
        if let Reference::File(path) = &reference {
            return self.file(path);
        }
        let pinned = self.lockfile.get(&reference.to_string())?;
        let fetched = match &pinned {
            Some(pin) => match self.kept(pin)? {
                Some(kept) if !matches!(reference, Reference::Git(_)) => kept,
                _ => self.fetch(&reference, Some(pin), progress).await?,
            },
            None => self.fetch(&reference, None, progress).await?,
        };
        if let Some(pin) = pinned.filter(|pin| pin.digest != fetched.pin.digest) {
            return Err(changed(&pin, &fetched.pin));
        }
        fetched.import()
    }

    /// The function at an address as it is now, whatever was pulled.
    ///
    /// # Errors
    /// As [`Self::import`], but for pins.
    pub async fn latest(&self, reference: &str, progress: Progress<'_>) -> Result<Imported> {
        match Reference::parse(reference)? {
            Reference::File(path) => self.file(&path),
            reference => self.fetch(&reference, None, progress).await?.import(),
        }
    }

    /// As [`Self::import`], as it is now, and pins it in `runtimes.lock`. Where that has another one, `update`
    /// replaces it.
    ///
    /// # Errors
    /// As [`Self::import`]; `Conflict` where it changed since it was pinned.
    pub async fn pull(&self, reference: &str, update: bool, progress: Progress<'_>) -> Result<Imported> {
        let reference = Reference::parse(reference)?;
        if matches!(reference, Reference::File(_)) {
            return Err(Error::invalid(reference.to_string(), "is a file, which is used where it is")
                .help("pull what has an address: hub://NAME, https://…, git://…"));
        }
        let fetched = self.fetch(&reference, None, progress).await?;
        let pinned = self.lockfile.get(&reference.to_string())?;
        if let Some(pin) = pinned.filter(|pin| !update && !same(pin, &fetched.pin)) {
            return Err(changed(&pin, &fetched.pin));
        }
        self.keep(&fetched).await?;
        let imported = fetched.import()?;
        self.lockfile.put(imported.pin.clone())?;
        Ok(imported)
    }

    async fn fetch(
        &self,
        reference: &Reference,
        pin: Option<&Pin>,
        progress: Progress<'_>,
    ) -> Result<Fetched> {
        let mut fetched = match reference {
            Reference::Hub { source, name, tag } => {
                let tag = pin.map(|pin| pin.version.as_str()).filter(|tag| !tag.is_empty()).unwrap_or(tag);
                let source = pin.map(|pin| &pin.source).filter(|name| !name.is_empty()).or(source.as_ref());
                self.item_files(source.map(String::as_str), name, tag, progress).await?
            }
            Reference::Web(url) => {
                let Content { bytes, note } = fetch(&self.resources, url, progress).await?;
                let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
                let name = if name.is_empty() { "function.yaml" } else { name };
                let notes = note.into_iter().collect();
                Fetched { files: vec![(name.to_owned(), bytes)], base_dir: None, pin: Pin::default(), notes }
            }
            Reference::Git(git) => self.git_files(git, pin, progress).await?,
            Reference::Stored(uri) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("db://{uri} is a function of the store"),
                )
                .help("ask the orchestrator for it"));
            }
            Reference::File(path) => return Err(Error::internal(format!("{} is a file", path.display()))),
        };
        fetched.pin.digest = digest(&fetched.files);
        fetched.pin.reference = reference.to_string();
        if let Reference::Hub { tag, .. } = reference {
            fetched.pin.tag.clone_from(tag);
        }
        Ok(fetched)
    }

    async fn git_files(
        &self,
        git: &GitReference,
        pin: Option<&Pin>,
        progress: Progress<'_>,
    ) -> Result<Fetched> {
        let mut address = git.0.clone();
        if let Some(pin) = pin.filter(|pin| !pin.commit.is_empty()) {
            address.reference.clone_from(&pin.commit);
        }
        let prepared = self.resources.git(&address, progress).await?;
        let file = function_file(&prepared.path)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pin = Pin { commit: prepared.commit.clone().unwrap_or_default(), ..Pin::default() };
        let base_dir = file.parent().map(Path::to_owned);
        Ok(Fetched { files: vec![(name, read_file(&file)?)], base_dir, pin, notes: prepared.notes.clone() })
    }

    /// The files of an item, from the first hub that has it.
    async fn item_files(
        &self,
        source: Option<&str>,
        name: &str,
        tag: &str,
        progress: Progress<'_>,
    ) -> Result<Fetched> {
        let (opened, item, mut notes) = self.find(source, name, Some(tag), progress).await?;
        let place = &item.places[tag];
        let function = opened.read(&place.function, progress).await?;
        notes.extend(function.note);
        let mut files = vec![("function.yaml".to_owned(), function.bytes)];
        if let (Some(code), false) = (&place.code, carries_code(&files[0].1)) {
            let content = opened.read(code, progress).await?;
            notes.extend(content.note);
            let name = code.rsplit('/').next().unwrap_or(code);
            files.push((name.to_owned(), content.bytes));
        }
        let pin = Pin {
            source: item.source.clone(),
            name: item.name.clone(),
            version: item.tags[tag].clone(),
            commit: opened.commit.clone().unwrap_or_default(),
            ..Pin::default()
        };
        Ok(Fetched { files, base_dir: None, pin, notes })
    }

    /// The item, from the first hub that has it with this tag.
    pub(super) async fn find(
        &self,
        source: Option<&str>,
        name: &str,
        tag: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<(Opened, Item, Vec<String>)> {
        let sources = match source {
            Some(source) => vec![self.config.get(source)?],
            None => self.config.sources.iter().collect(),
        };
        let (mut unreachable, mut names, mut tags) = (Vec::new(), Vec::new(), None);
        let mut left_out = None;
        for source in sources {
            let mut opened = match Opened::open(source, self.config.base(), &self.resources, progress).await {
                Ok(opened) => opened,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    unreachable.push((source.name.clone(), error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match opened.items.iter().position(|item| item.name == name) {
                Some(at) if tag.is_none_or(|tag| opened.items[at].tags.contains_key(tag)) => {
                    let item = opened.items.swap_remove(at);
                    let mut notes: Vec<_> = opened.all_notes().collect();
                    notes.extend(unreachable.iter().map(|(source, _)| {
                        format!(
                            "the hub {source:?} cannot be reached: {:?} comes from {:?}",
                            item.name, item.source
                        )
                    }));
                    return Ok((opened, item, notes));
                }
                Some(at) => tags = tags.or_else(|| Some(opened.items.swap_remove(at))),
                None => {
                    left_out = left_out.or(opened.left_out.into_iter().find(|other| other.name == name));
                    names.extend(opened.items.into_iter().map(|item| item.name));
                }
            }
        }
        match left_out {
            Some(LeftOut { why, .. }) if tags.is_none() => {
                Err(Error::invalid(format!("hub://{name}"), why).help("mend it there"))
            }
            _ => Err(not_found(name, tag, tags.as_ref(), &names, unreachable)),
        }
    }

    /// A file of this machine, or a folder with a function.
    fn file(&self, path: &Path) -> Result<Imported> {
        let file = function_file(path)?;
        let function = function_of(&file.display().to_string(), &read_file(&file)?)?;
        let base_dir = file.parent().map(Path::to_owned);
        let pin = Pin { reference: path.display().to_string(), ..Pin::default() };
        Ok(Imported { function, base_dir, pin, notes: Vec::new() })
    }

    /// The files of a pin, if they were kept.
    fn kept(&self, pin: &Pin) -> Result<Option<Fetched>> {
        let folder = self.pulled.path(&key(&pin.digest));
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(None) };
        let mut files = Vec::new();
        for entry in entries.flatten() {
            files.push((entry.file_name().to_string_lossy().into_owned(), read_file(&entry.path())?));
        }
        // `function.yaml` first, as they were fetched.
        files.sort_by_key(|(name, _)| (name != "function.yaml", name.clone()));
        let right = digest(&files) == pin.digest;
        self.pulled.touch(&key(&pin.digest));
        Ok(right.then(|| Fetched { files, base_dir: None, pin: pin.clone(), notes: Vec::new() }))
    }

    async fn keep(&self, fetched: &Fetched) -> Result<()> {
        if let Err(place) = self.pulled.take(&key(&fetched.pin.digest)).await? {
            for (name, bytes) in &fetched.files {
                write_whole(&place.path().join(name), bytes)?;
            }
            place.done().await?;
        }
        Ok(())
    }
}

impl Fetched {
    fn import(self) -> Result<Imported> {
        let Self { files, base_dir, pin, notes } = self;
        let (name, bytes) = &files[0];
        let mut function = function_of(name, bytes).map_err(|error| error.under(&pin.reference))?;
        if let Some((name, code)) = files.get(1) {
            let text = String::from_utf8_lossy(code);
            function = function.embed_code(name, &text);
        }
        Ok(Imported { function, base_dir, pin, notes })
    }
}

/// The function's file: the path itself, or `function.yaml` in it.
fn function_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let inside = path.join("function.yaml");
    if inside.is_file() {
        return Ok(inside);
    }
    Err(Error::not_found(format!("the folder {} has no function.yaml", path.display()))
        .help("name the file in it: #REF:PATH"))
}

/// A function from the content of a file of this name.
fn function_of(name: &str, bytes: &[u8]) -> Result<Function> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid(name, format!("not text: byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let file = Path::new(name);
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("py" | "sh") => {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let called = file.file_name().unwrap_or_default().to_string_lossy();
            Ok(Function::new("local", runtime_core::naming::normalize(&stem)).embed_code(&called, text))
        }
        Some("json") => Function::from_json(text, name),
        _ => Function::from_yaml(text, name),
    }
}

/// Whether a function's file has its code in it, or says that it lies elsewhere.
fn carries_code(bytes: &[u8]) -> bool {
    let function = std::str::from_utf8(bytes).ok().and_then(|text| Function::from_yaml(text, "").ok());
    function.is_none_or(|function| {
        let build = &function.spec.build;
        !build.function_source_code.is_empty() || !build.source.is_empty()
    })
}

/// Whether a pin is of the same: for a repository also at the same commit, unless it is a hub.
fn same(pin: &Pin, other: &Pin) -> bool {
    pin.digest == other.digest && (!pin.source.is_empty() || pin.commit == other.commit)
}

fn changed(pin: &Pin, now: &Pin) -> Error {
    let brief = |pin: &Pin| {
        let digest = pin.digest.get(..19).unwrap_or(&pin.digest);
        let version =
            if pin.version.is_empty() { String::new() } else { format!("version {}, ", pin.version) };
        let commit =
            if pin.commit.is_empty() { String::new() } else { format!("commit {}, ", short(&pin.commit)) };
        format!("{version}{commit}{digest}…")
    };
    Error::new(ErrorKind::Conflict, format!("{} is not what was pulled", pin.reference))
        .context("pinned", brief(pin))
        .context("now", brief(now))
        .help(format!(
            "look at what changed (`runtimes hub show {0}`); to accept it: runtimes hub pull --update {0}",
            pin.reference
        ))
}

fn not_found(
    name: &str,
    tag: Option<&str>,
    tags: Option<&Item>,
    names: &[String],
    unreachable: Vec<(String, Error)>,
) -> Error {
    if let Some(item) = tags {
        let known: Vec<_> = item.tags.keys().map(String::as_str).collect();
        return Error::not_found(format!("{name:?} has no tag {:?}", tag.unwrap_or(LATEST)))
            .help(format!("it has: {}", known.join(", ")));
    }
    if let Some((source, error)) = unreachable.into_iter().next() {
        return Error::new(
            ErrorKind::Unavailable,
            format!("the hub {source:?} cannot be asked for {name:?}: {}", error.message()),
        )
        .help("check the network; what was pulled before (`runtimes hub pull`) needs none");
    }
    let error = Error::not_found(format!("no hub has a function {name:?}"));
    match runtime_core::error::did_you_mean(name, names.iter().map(String::as_str)) {
        Some(close) => error.help(format!("did you mean hub://{close}?")),
        None => error.help("`runtimes hub list` shows what there is"),
    }
}
