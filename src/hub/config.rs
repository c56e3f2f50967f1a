//! Which hubs there are: `HOME/hub.yaml`.

use std::path::{Path, PathBuf};

use runtime_core::{Error, ErrorKind, Result, naming, yaml};
use serde::{Deserialize, Serialize};

use crate::source::{mask, write_whole};

/// A hub: a place with functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// What references call it.
    pub name: String,
    /// A folder, a URL, or a repository.
    pub path: String,
    /// The channel, where the hub has several: `PATH/functions/CHANNEL/catalog.json`.
    #[serde(default = "channel")]
    pub channel: String,
    /// What it is, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The channel of MLRun's hub.
fn channel() -> String {
    "master".to_owned()
}

impl HubSource {
    /// A hub of this name at this path.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), channel: channel(), description: String::new() }
    }

    /// Its path as it may be shown: without credentials.
    pub fn shown_path(&self) -> String {
        mask(&self.path)
    }

    /// MLRun's public hub.
    fn public() -> Self {
        let description = "MLRun's public functions".to_owned();
        Self { description, ..Self::new("default", "https://mlrun.github.io/marketplace") }
    }
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    sources: Vec<HubSource>,
}

/// The hubs, in the order in which they are asked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    file: PathBuf,
    pub(crate) sources: Vec<HubSource>,
}

impl Config {
    /// Reads it; where there is none, MLRun's public hub is the only one.
    pub(crate) fn read(home: &Path) -> Result<Self> {
        let file = home.join("hub.yaml");
        let sources = match yaml::text_of(&file) {
            Ok(text) => {
                let place = file.display().to_string();
                let Document { sources } = yaml::from_str(&text, &place)?;
                for (index, source) in sources.iter().enumerate() {
                    check(source).map_err(|error| error.under(&format!("{place}: sources[{index}]")))?;
                    if sources[..index].iter().any(|other| other.name == source.name) {
                        return Err(Error::invalid(place, format!("there are two hubs {:?}", source.name)));
                    }
                }
                sources
            }
            Err(error) if error.kind() == ErrorKind::NotFound => vec![HubSource::public()],
            Err(error) => return Err(error),
        };
        Ok(Self { file, sources })
    }

    pub(crate) fn get(&self, name: &str) -> Result<&HubSource> {
        self.sources.iter().find(|source| source.name == name).ok_or_else(|| {
            let known: Vec<_> = self.sources.iter().map(|source| source.name.as_str()).collect();
            Error::not_found(format!("there is no hub {name:?}")).help(format!(
                "there are: {}; `runtimes hub source add NAME PATH` adds one",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ))
        })
    }

    /// Adds a hub, as the first or the last to be asked.
    pub(crate) fn add(&mut self, source: HubSource, first: bool) -> Result<()> {
        check(&source)?;
        if self.sources.iter().any(|other| other.name == source.name) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a hub {:?} already", source.name),
            )
            .help("give it another name, or remove that one first"));
        }
        let at = if first { 0 } else { self.sources.len() };
        self.sources.insert(at, source);
        self.write()
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.get(name)?;
        self.sources.retain(|source| source.name != name);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let text = yaml::to_string(&Document { sources: self.sources.clone() })?;
        write_whole(&self.file, text.as_bytes())
    }

    /// The folder against which relative paths are read: the one that holds the home.
    pub(crate) fn base(&self) -> &Path {
        self.file.parent().and_then(Path::parent).unwrap_or(Path::new("."))
    }
}

fn check(source: &HubSource) -> Result<()> {
    naming::check("name", &source.name)?;
    if source.path.trim().is_empty() {
        return Err(Error::invalid("path", "is empty").help("write a folder, a URL or a repository"));
    }
    if !super::reference::is_tag(&source.channel) {
        return Err(Error::invalid("channel", format!("{:?} is no channel", source.channel))
            .help("MLRun's hub has `master` and `development`"));
    }
    Ok(())
}
