//! Artifacts that are known: finding them, and getting at what is in them.

use std::path::Path;

use runtime_core::{Error, Result, Run, store::DocumentFilter};

use super::{Inner, Orchestrator, deliver};
use crate::data::{
    ARTIFACT, ArtifactFilter, ArtifactRecord, ArtifactUri, Meter, Place, Scheme, Storage, is_url,
};

impl Orchestrator {
    /// The artifacts that a filter lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn artifacts(&self, filter: &ArtifactFilter) -> Result<Vec<ArtifactRecord>> {
        self.inner.artifacts(filter).await
    }

    /// The newest artifact that this name may mean.
    ///
    /// # Errors
    /// `NotFound`, or when the store cannot be read.
    pub async fn artifact(&self, uri: &ArtifactUri) -> Result<ArtifactRecord> {
        self.inner.artifact(&uri.clone().in_project(super::submit::DEFAULT_PROJECT)).await
    }

    /// What holds data elsewhere; `memory://` is the memory of this orchestrator.
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    /// Copies an artifact, a file or a folder, to this path of this machine; it is there whole or not at all.
    ///
    /// # Errors
    /// `NotFound` where it is not there any more; `AlreadyExists` where something else is; what the storage says.
    pub async fn fetch_artifact(&self, record: &ArtifactRecord, to: &Path, meter: &Meter) -> Result<()> {
        if to.exists() {
            return Err(Error::new(
                runtime_core::ErrorKind::AlreadyExists,
                format!("{} is there already", to.display()),
            ));
        }
        self.inner.storage.fetch(&record.source()?, &record.project, to, meter).await
    }

    /// Writes what is in an artifact, as it comes.
    ///
    /// # Errors
    /// As [`Self::fetch_artifact`]; `Invalid` for a folder.
    #[cfg(feature = "data")]
    pub async fn read_artifact(
        &self,
        record: &ArtifactRecord,
        to: &mut (dyn tokio::io::AsyncWrite + Send + Unpin),
        meter: &Meter,
    ) -> Result<()> {
        if record.is_folder() {
            return Err(Error::new(
                runtime_core::ErrorKind::Invalid,
                format!("the artifact {:?} is a folder", record.key()),
            )
            .help("give a path to copy it to"));
        }
        self.inner.storage.read(&record.source()?, &record.project, to, meter).await
    }
}

impl ArtifactRecord {
    /// Whether it is a folder of files.
    pub fn is_folder(&self) -> bool {
        let path = self.artifact.target_path();
        path.ends_with('/') || !is_url(path) && Path::new(path).is_dir()
    }

    /// Where it lies, and is found if it is a file of this machine.
    fn source(&self) -> Result<Place> {
        let place = self.place()?;
        match place.path() {
            Some(path) if !path.exists() => Err(Error::not_found(format!(
                "the artifact {:?} was kept in {}, and is not there any more",
                self.key(),
                path.display()
            ))),
            _ => Ok(place),
        }
    }
}

impl Inner {
    pub(super) async fn artifacts(&self, filter: &ArtifactFilter) -> Result<Vec<ArtifactRecord>> {
        let wanted = DocumentFilter {
            project: filter.project.clone(),
            parent: filter.run.clone(),
            ..DocumentFilter::of(ARTIFACT)
        };
        let mut seen = std::collections::HashSet::new();
        let mut records = Vec::new();
        for document in self.store.list_documents(&wanted).await? {
            let record = ArtifactRecord::of(document)?;
            let passes = filter.lets_through(&record);
            let latest = || filter.tag.as_deref() != Some("latest");
            if passes && (latest() || seen.insert((record.project.clone(), record.key().to_owned()))) {
                records.push(record);
                if records.len() == filter.limit {
                    break;
                }
            }
        }
        Ok(records)
    }

    /// The newest artifact that this name may mean.
    pub(super) async fn artifact(&self, uri: &ArtifactUri) -> Result<ArtifactRecord> {
        // Told exactly, it needs no looking for.
        if let (Some(_), Some(_), None) = (uri.iteration, &uri.tree, &uri.tag) {
            let name = ArtifactUri { project: String::new(), ..uri.clone() }.to_string();
            if let Some(document) = self.store.get_document(ARTIFACT, &uri.project, &name).await? {
                return ArtifactRecord::of(document);
            }
        }
        let wanted = DocumentFilter { project: Some(uri.project.clone()), ..DocumentFilter::of(ARTIFACT) };
        for document in self.store.list_documents(&wanted).await? {
            let record = ArtifactRecord::of(document)?;
            if record.is(uri) {
                return Ok(record);
            }
        }
        Err(Error::not_found(format!("there is no artifact {uri}"))
            .help("`runtimes artifacts list` shows those that are known"))
    }

    /// Removes what a run wrote to storages, but for what another run has written there since.
    pub(super) async fn remove_delivered(&self, run: &Run) -> Result<()> {
        let key = &run.key();
        // A place of its own goes whole, also with what was written there and not logged.
        if let (Some(url), 0, true) =
            (self.artifact_url(run)?, key.iteration, run.spec.output_path.contains(deliver::OWN))
        {
            self.storage.remove(&url.as_folder(), &run.metadata.project).await?;
        }
        let own =
            self.artifacts(&ArtifactFilter { run: Some(key.clone()), ..ArtifactFilter::default() }).await?;
        let Some(first) = own.first() else { return Ok(()) };
        let project = Some(first.project.clone());
        let all = self.artifacts(&ArtifactFilter { project, ..ArtifactFilter::default() }).await?;
        for record in &own {
            let place = record.place()?;
            let path = record.artifact.target_path();
            let is_shared = all.iter().any(|other| other.run != *key && other.artifact.target_path() == path);
            if place.scheme() != Scheme::File && place.scheme().is_writable() && !is_shared {
                self.storage.remove(&place, &record.project).await?;
            }
        }
        Ok(())
    }
}
