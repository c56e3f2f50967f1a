//! The function: everything that a piece of work needs, read and written as MLRun's `function.yaml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pod::PodSpec;

/// A function: code, image, packages, resources, volumes, environment; versioned by a hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its kind: `local`, `handler`, `job`, ...
    pub kind: String,
    /// Its name and version.
    #[serde(default)]
    pub metadata: Metadata,
    /// What it is.
    #[serde(default)]
    pub spec: Spec,
    /// What became of it (image builds, deployments).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub status: Map<String, Value>,
    /// Whether its code should say more.
    #[serde(default)]
    pub verbose: bool,
}

/// A function's name and version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Its name: a DNS label.
    #[serde(default)]
    pub name: String,
    /// Its project.
    #[serde(default)]
    pub project: String,
    /// Its tag.
    #[serde(default)]
    pub tag: String,
    /// Its hash.
    #[serde(default)]
    pub hash: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What is not known.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a function is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The program or file.
    #[serde(default)]
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// The image.
    #[serde(default)]
    pub image: String,
    /// `pass`, or empty.
    #[serde(default)]
    pub mode: String,
    /// The handler where a run names none.
    #[serde(default)]
    pub default_handler: String,
    /// Working directory.
    #[serde(default)]
    pub workdir: String,
    /// Folders for `sys.path`, separated by `:`.
    #[serde(default)]
    pub pythonpath: String,
    /// One line.
    #[serde(default)]
    pub description: String,
    /// Code and packages.
    #[serde(default)]
    pub build: Build,
    /// The attributes that all kinds which run as pods share.
    #[serde(flatten)]
    pub pod: PodSpec,
    /// What is not known here: the fields of a kind, and unknown ones.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Code and packages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// The code, base64.
    #[serde(default, rename = "functionSourceCode")]
    pub function_source_code: String,
    /// The file that it came from.
    #[serde(default)]
    pub origin_filename: String,
    /// Packages.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// The image to build on.
    #[serde(default)]
    pub base_image: String,
    /// What is not known.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Function {
    /// PLACEHOLDER, dropped at the merge: the real hash comes with the real function.
    pub fn hash(&self) -> String {
        use sha1::{Digest, Sha1};
        let mut content = self.clone();
        content.metadata.tag.clear();
        content.metadata.hash.clear();
        content.status.clear();
        let json = serde_json::to_vec(&content).unwrap_or_default();
        Sha1::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
