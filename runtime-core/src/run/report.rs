//! What the code itself says about its run: written by the agent, or by MLRun inside the process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the code says about its run. The agent writes it when the code ends, and at every `commit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `running` (a commit on the way), `completed` or `error`.
    #[serde(default)]
    pub state: String,
    /// Results by name.
    #[serde(default)]
    pub results: Map<String, Value>,
    /// What was written, and where.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// The iterations that it went through itself: a header, then a row for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub iterations: Vec<Vec<Value>>,
    /// Labels that the code set.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations that the code set.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CodeError>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An exception in the user's code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CodeError {
    /// The exception's class.
    #[serde(default, rename = "type")]
    pub class: String,
    /// Its text.
    #[serde(default)]
    pub message: String,
    /// The file of the user's code in which it was raised: the innermost frame that is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The whole traceback.
    #[serde(default)]
    pub traceback: String,
}

/// Something that a run wrote. MLRun's artifact object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// `artifact` (also when empty), `dataset`, `model`, `plot`, ...
    #[serde(default)]
    pub kind: String,
    /// Its key and origin.
    #[serde(default)]
    pub metadata: ArtifactMetadata,
    /// `target_path`, `size` in bytes, `format`, `hash`, and what the kind adds.
    #[serde(default)]
    pub spec: Map<String, Value>,
    /// Fields that this version does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An artifact's key and origin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArtifactMetadata {
    /// Its name in the run.
    #[serde(default)]
    pub key: String,
    /// Fields of MLRun (`project`, `tree`, `iter`, `tag`, `labels`), kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Artifact {
    /// Where it was written.
    pub fn target_path(&self) -> &str {
        self.spec.get("target_path").and_then(Value::as_str).unwrap_or_default()
    }

    /// Its size in bytes, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.spec.get("size").and_then(Value::as_u64)
    }
}
