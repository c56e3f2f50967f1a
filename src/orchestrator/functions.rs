//! The functions that are remembered: which there are, by name, tag and hash.

use runtime_core::{
    Error, Result,
    error::did_you_mean,
    function::{Reference, check_tag},
    store::{FunctionRecord, RunFilter, Version, is_version},
};

use super::{Orchestrator, Request, submit::DEFAULT_PROJECT};

/// What was deleted of a function, and what is left.
#[derive(Clone, Debug)]
pub struct DeletedVersion {
    /// The version, and its tags, as they were.
    pub record: FunctionRecord,
    /// The tag, where only that was deleted.
    pub tag: Option<String>,
    /// Where `latest` points now; nowhere if no version is left.
    pub latest: Option<FunctionRecord>,
    /// How many runs that are remembered ran it, and cannot be run again.
    pub runs: usize,
}

impl Orchestrator {
    /// The functions of a project, or of all; the tagged versions, or all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn functions(&self, project: Option<&str>, all_versions: bool) -> Result<Vec<FunctionRecord>> {
        self.inner.store.list_functions(project, all_versions).await
    }

    /// A stored function: `[PROJECT/]NAME[:TAG|@HASH]`, with or without `db://` before it.
    ///
    /// # Errors
    /// `Invalid`, where that is no reference; `NotFound`, with what there is of that name; or when the store cannot
    /// be read.
    pub async fn function(&self, reference: &str) -> Result<FunctionRecord> {
        let wanted: Reference = reference.parse()?;
        let project = project_of(&wanted);
        let found = self.inner.store.get_function(project, &wanted.name, &wanted.version).await?;
        match found {
            Some(record) => Ok(record),
            None => Err(self.no_function(&wanted, project).await?),
        }
    }

    /// Checks a function and stores it without running it, as a run would: its code is taken in. The same content
    /// is the same version. `tag` and `latest` point at it then.
    ///
    /// # Errors
    /// Where anything about it is wrong, or the store cannot be written; then nothing is stored.
    pub async fn save(&self, request: impl Into<Request>) -> Result<FunctionRecord> {
        let request = request.into();
        let function = self.inner.stored_form(&request).map_err(|error| request.function.locate(error))?;
        let tag = Some(request.tag.as_str()).filter(|tag| !tag.is_empty());
        tag.map_or(Ok(()), check_tag)?;
        let hash = self.inner.store.put_function(&function, tag).await?;
        let metadata = &function.metadata;
        self.inner.remember((metadata.project.clone(), metadata.name.clone()), hash.clone());
        self.function(&format!("{}/{}@{hash}", metadata.project, metadata.name)).await
    }

    /// Lets a tag point at a version of a stored function; the other tags stay where they are.
    ///
    /// # Errors
    /// As [`Self::function`]; `Invalid`, where that is no tag.
    pub async fn tag(&self, reference: &str, tag: &str) -> Result<FunctionRecord> {
        check_tag(tag)?;
        let record = self.function(reference).await?;
        let metadata = &record.function.metadata;
        let store = &self.inner.store;
        if !store.tag_function(&metadata.project, &metadata.name, &metadata.hash, tag).await? {
            return Err(Error::not_found(format!("the function {reference:?} was deleted meanwhile")));
        }
        if tag == "latest" {
            // What this orchestrator stored last is not the newest any more.
            self.inner.versions().remove(&(metadata.project.clone(), metadata.name.clone()));
        }
        self.function(&format!("{}/{}@{}", metadata.project, metadata.name, metadata.hash)).await
    }

    /// Forgets a function with all its versions; returns how many there were.
    ///
    /// # Errors
    /// `Conflict` where a run that has not ended needs it.
    pub async fn delete_function(&self, project: &str, name: &str) -> Result<usize> {
        self.inner.versions().remove(&(project.to_owned(), name.to_owned()));
        self.inner.store.delete_function(project, name).await
    }

    /// Forgets one version of a function: `[PROJECT/]NAME@HASH`, with its tags; or one tag: `[PROJECT/]NAME:TAG`, and
    /// the version stays. Where `latest` pointed at the version that is deleted, it points at the one of the others
    /// that was stored last.
    ///
    /// # Errors
    /// As [`Self::function`]; `Invalid` for `latest`, which is always somewhere; `Conflict` where a run that has not
    /// ended needs the version.
    pub async fn delete_version(&self, reference: &str) -> Result<DeletedVersion> {
        let wanted: Reference = reference.parse()?;
        let tag = match &wanted.version {
            Version::Tag(tag) if tag == "latest" => {
                return Err(Error::invalid(
                    reference,
                    "`latest` cannot be deleted: it is where the newest version is",
                )
                .help(
                    "name the version by its hash, NAME@HASH, or leave `:latest` out to delete all of them",
                ));
            }
            Version::Tag(tag) => Some(tag.clone()),
            Version::Hash(_) => None,
        };
        let record = self.function(reference).await?;
        let metadata = &record.function.metadata;
        let (project, name, hash) = (&metadata.project, &metadata.name, &metadata.hash);
        let version = tag.clone().map_or_else(|| Version::Hash(hash.clone()), Version::Tag);
        self.inner.versions().remove(&(project.clone(), name.clone()));
        if !self.inner.store.delete_version(project, name, &version).await? {
            return Err(Error::not_found(format!("{reference} was deleted meanwhile")));
        }
        let of_it = RunFilter {
            project: Some(project.clone()),
            function: Some(name.clone()),
            ..RunFilter::default()
        };
        let mut runs = 0;
        if tag.is_none() {
            let those = self.inner.store.list_runs(&RunFilter { iteration: Some(0), ..of_it }).await?;
            runs = those.iter().filter(|those| is_version(&those.run.spec.function, hash)).count();
        }
        let latest = self.inner.store.get_function(project, name, &Version::default()).await?;
        Ok(DeletedVersion { record, tag, latest, runs })
    }

    /// What there is instead of a version that is not there.
    async fn no_function(&self, wanted: &Reference, project: &str) -> Result<Error> {
        let all = self.inner.store.list_functions(Some(project), true).await?;
        let close =
            did_you_mean(&wanted.name, all.iter().map(|record| record.function.metadata.name.as_str()));
        let close = close.map(str::to_owned);
        let versions: Vec<_> =
            all.into_iter().filter(|record| record.function.metadata.name == wanted.name).collect();
        let what = match &wanted.version {
            Version::Hash(hash) => {
                format!("no version of {project}/{} whose hash begins with {hash}", wanted.name)
            }
            Version::Tag(tag) => format!("no version of {project}/{} with the tag `{tag}`", wanted.name),
        };
        if versions.is_empty() {
            return Ok(Error::not_found(format!(
                "there is no function `{}` in the project `{project}`",
                wanted.name
            ))
            .help(match close {
                Some(close) => format!("did you mean `{close}`?"),
                None => "`runtimes functions` lists those that are stored".to_owned(),
            }));
        }
        let there: Vec<_> = versions
            .iter()
            .take(5)
            .map(|record| {
                let hash = &record.function.metadata.hash;
                let tags = if record.tags.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", record.tags.join(", "))
                };
                format!("@{}{tags}", hash.get(..7).unwrap_or(hash))
            })
            .collect();
        let more = if versions.len() > there.len() { ", ..." } else { "" };
        Ok(Error::not_found(format!("there is {what}")).help(format!("there is {}{more}", there.join(", "))))
    }
}

fn project_of(reference: &Reference) -> &str {
    if reference.project.is_empty() { DEFAULT_PROJECT } else { &reference.project }
}
