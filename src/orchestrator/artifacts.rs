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
            Some(path) if !path.exists() => Err(self.missing(&path.display().to_string())),
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
        let found = match &filter.key {
            Some(key) if filter.run.is_none() => {
                self.of_key(key, &wanted, false, |one| filter.lets_through(one)).await?
            }
            _ => self.artifacts_of(&wanted, |one| filter.lets_through(one)).await?,
        };
        let mut seen = std::collections::HashSet::new();
        let mut records = Vec::new();
        for record in found {
            let latest = || filter.tag.as_deref() != Some("latest");
            if latest() || seen.insert((record.project.clone(), record.key().to_owned())) {
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
        let found = self.of_key(&uri.key, &wanted, true, |record| record.is(uri)).await?;
        if let Some(newest) = found.into_iter().next() {
            return Ok(newest);
        }
        Err(Error::not_found(format!("there is no artifact {uri}"))
            .help("`runtimes artifacts list` shows those that are known"))
    }

    /// Those of a key, by the index of keys, the newest first; or the newest alone.
    ///
    /// A name that is not the key itself is the one under which MLRun's database knows it: what ran, then `_` and the
    /// key, unless the code gave it another one. Then all are looked at.
    async fn of_key(
        &self,
        name: &str,
        wanted: &DocumentFilter,
        newest: bool,
        passes: impl Fn(&ArtifactRecord) -> bool,
    ) -> Result<Vec<ArtifactRecord>> {
        let mut found = Vec::new();
        let ends = name.match_indices('_').filter_map(|(at, _)| name.get(at + 1..));
        for key in [name].into_iter().chain(ends).filter(|key| !key.is_empty()) {
            let of_key = DocumentFilter { topic: Some(key.to_owned()), ..wanted.clone() };
            // Mostly it is among the first ones.
            for limit in if newest { &[1, 64, 0][..] } else { &[0] } {
                let known =
                    self.artifacts_of(&DocumentFilter { limit: *limit, ..of_key.clone() }, &passes).await?;
                if !known.is_empty() {
                    found.extend(known);
                    break;
                }
            }
        }
        if found.is_empty() {
            return self.artifacts_of(wanted, passes).await;
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.updated));
        Ok(found)
    }

    async fn artifacts_of(
        &self,
        wanted: &DocumentFilter,
        passes: impl Fn(&ArtifactRecord) -> bool,
    ) -> Result<Vec<ArtifactRecord>> {
        let documents = self.store.list_documents(wanted).await?;
        let records = documents.into_iter().map(ArtifactRecord::of);
        records.filter(|record| record.as_ref().map_or(true, &passes)).collect()
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
        let mut elsewhere = Vec::new();
        for record in &own {
            let place = record.place()?;
            if place.scheme() != Scheme::File && place.scheme().is_writable() {
                elsewhere.push((record, place));
            }
        }
        let Some((first, _)) = elsewhere.first() else { return Ok(()) };
        let project = Some(first.project.clone());
        let all = self.artifacts(&ArtifactFilter { project, ..ArtifactFilter::default() }).await?;
        for (record, place) in elsewhere {
            let path = record.artifact.target_path();
            let is_shared = all.iter().any(|other| other.run != *key && other.artifact.target_path() == path);
            if !is_shared {
                self.storage.remove(&place, &record.project).await?;
            }
        }
        Ok(())
    }
}
