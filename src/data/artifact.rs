//! Artifacts as the store keeps them: one document each, written together with the end of their run.

use jiff::Timestamp;
use runtime_core::{
    Error, ErrorKind, Result, Run,
    run::{Artifact, RunKey},
    serde_json::{self, Value},
    store::Document,
};

use super::{ArtifactUri, Place};

/// What stands before the path of an artifact that was written in a pod: it is no file of this machine.
pub(crate) const POD: &str = "pod://";

/// The kind of these documents.
pub const ARTIFACT: &str = "artifact";

/// An artifact that is known, and who wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArtifactRecord {
    /// The artifact.
    pub artifact: Artifact,
    /// The run that wrote it.
    pub run: RunKey,
    /// Its project.
    pub project: String,
    /// When it was recorded.
    pub updated: Timestamp,
}

/// Which artifacts; the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Written by this run.
    pub run: Option<RunKey>,
    /// Of this kind (`dataset`, `model`, ...).
    pub kind: Option<String>,
    /// Of this key.
    pub key: Option<String>,
    /// With this tag; `latest`: the newest of each key.
    pub tag: Option<String>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// The documents that tell of what a run wrote: for the change of the store that records its end.
pub fn documents(run: &Run) -> Vec<Document> {
    run.status.artifacts.iter().map(|artifact| document(run, artifact)).collect()
}

fn document(run: &Run, artifact: &Artifact) -> Document {
    let mut artifact = artifact.clone();
    super::describe::say_whose(&mut artifact, run);
    let record = ArtifactRecord {
        artifact,
        run: run.key(),
        project: run.metadata.project.clone(),
        updated: Timestamp::default(),
    };
    // The run that wrote it keeps two runs of one workflow apart.
    let name = ArtifactUri { project: String::new(), ..record.uri() }.to_string();
    let body = serde_json::to_value(&record.artifact).unwrap_or_default();
    let mut document = Document::new(ARTIFACT, record.project, name, body);
    document.topic = Some(record.artifact.metadata.key);
    document.parent = Some(record.run);
    document
}

impl ArtifactRecord {
    /// What a document tells.
    ///
    /// # Errors
    /// `Invalid` where it is no artifact.
    pub fn of(document: Document) -> Result<Self> {
        let name = document.name;
        let artifact = serde_json::from_value(document.body).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format!("what is stored of the artifact {name} cannot be read: {error}"),
            )
        })?;
        Ok(Self {
            artifact,
            run: document.parent.unwrap_or_else(|| RunKey::new("")),
            project: document.project,
            updated: document.updated,
        })
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.artifact.metadata.key
    }

    /// The tag that it was given.
    pub fn tag(&self) -> Option<&str> {
        self.text("tag")
    }

    /// The iteration of its run.
    pub fn iteration(&self) -> u32 {
        let number = self.artifact.metadata.extra.get("iter").and_then(Value::as_u64);
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or(self.run.iteration)
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.artifact.metadata.extra.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Its name, exactly: no other artifact has it.
    pub fn uri(&self) -> ArtifactUri {
        let tree = self.text("tree").unwrap_or(&self.run.uid);
        ArtifactUri {
            project: self.project.clone(),
            key: self.key().to_owned(),
            iteration: Some(self.iteration()),
            tag: None,
            tree: Some(tree.to_owned()),
            uid: (tree != self.run.uid).then(|| self.run.uid.clone()),
        }
    }

    /// Whether this name may mean it.
    pub fn is(&self, uri: &ArtifactUri) -> bool {
        let db_key = self.artifact.spec.get("db_key").and_then(Value::as_str);
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        (uri.key == self.key() || db_key == Some(&uri.key))
            && (uri.project.is_empty() || uri.project == self.project)
            && uri.iteration.is_none_or(|iteration| iteration == self.iteration())
            && uri.tag.as_deref().is_none_or(|tag| tag == "latest" || self.tag() == Some(tag))
            && is(&uri.tree, self.text("tree").unwrap_or(&self.run.uid))
            && is(&uri.uid, &self.run.uid)
    }

    /// Where it lies.
    ///
    /// # Errors
    /// `NotFound` where it was kept nowhere, or where only another machine has it; `Invalid` where that is no place.
    pub fn place(&self) -> Result<Place> {
        let path = self.artifact.target_path();
        if path.is_empty() {
            return Err(Error::not_found(format!("the artifact {:?} was kept nowhere", self.key())));
        }
        match path.strip_prefix(POD) {
            Some(path) => Err(self.missing(path)),
            None => Place::parse(path),
        }
    }

    /// Why there is no such file here.
    pub(crate) fn missing(&self, path: &str) -> Error {
        let key = self.key();
        let elsewhere = |message: String| {
            Error::not_found(message)
                .help("let runs write where it can be read from anywhere: --artifact-path and a URL")
        };
        if let Some(endpoint) = self.artifact.spec.get("endpoint").and_then(Value::as_str) {
            elsewhere(format!("the artifact {key:?} was sent to {endpoint}: it is {path} of that machine"))
        } else if self.artifact.target_path().starts_with(POD) {
            elsewhere(format!(
                "the artifact {key:?} was written in a pod: it is {path} of a volume there, or gone with it"
            ))
        } else {
            Error::not_found(format!("the artifact {key:?} was kept in {path}, and is not there any more"))
        }
    }
}

impl ArtifactFilter {
    /// Whether this artifact is let through; `latest` and the limit are for the whole list.
    pub fn lets_through(&self, record: &ArtifactRecord) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        let db_key = record.artifact.spec.get("db_key").and_then(Value::as_str);
        is(&self.project, &record.project)
            && self.run.as_ref().is_none_or(|run| *run == record.run)
            && is(&self.kind, &record.artifact.kind)
            && (is(&self.key, record.key()) || db_key.is_some_and(|key| is(&self.key, key)))
            && self.tag.as_deref().is_none_or(|tag| tag == "latest" || record.tag() == Some(tag))
    }
}
