//! What is kept of images: which one was built of which content, and the function that has it.

use jiff::Timestamp;
use runtime_core::{
    Function, Result, Run, RunState, labels,
    run::Verdict,
    serde_json::{self, Value, json},
    store::{Document, FunctionRecord, RunRecord, Version},
};

use super::Inner;
use crate::orchestrator::follow::Follow;

/// The kind of their documents: by the digits that stand for their content.
const KIND: &str = "image";
/// The result of a build that names the image, with its digest.
const IMAGE: &str = "image";
/// The result that names the version of the function that has it.
pub(super) const FUNCTION: &str = "function";

/// An image that was built.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Built {
    /// Its name with its digest.
    pub(super) image: String,
    /// What it was built on, as the function names it.
    pub(super) base: String,
    /// The run that built it.
    pub(super) run: String,
}

/// The image that a run has built, for those who want the same; it outlives its run.
pub(in crate::orchestrator) fn document(run: &Run) -> Option<Document> {
    let key = run.metadata.labels.get(labels::BUILD)?;
    let built = built(run).filter(|_| run.state() == RunState::Completed)?;
    let body = serde_json::to_value(built).ok()?;
    Some(Document::new(KIND, run.metadata.project.clone(), key.clone(), body))
}

fn built(run: &Run) -> Option<Built> {
    let image = run.status.results.get(IMAGE).and_then(Value::as_str)?;
    let base = run.metadata.annotations.get(labels::BASE_IMAGE).cloned().unwrap_or_default();
    Some(Built { image: image.to_owned(), base, run: run.metadata.uid.clone() })
}

/// The function with the image that was built for it; what that was built on stays known.
pub(super) fn with_image(function: &Function, built: &Built) -> Function {
    let mut function = function.clone();
    function.spec.image.clone_from(&built.image);
    if function.spec.build.base_image.is_empty() {
        function.spec.build.base_image.clone_from(&built.base);
    }
    "ready".clone_into(&mut function.status.state);
    function.metadata.hash = function.hash();
    function
}

impl Inner {
    /// The image that was built of this content.
    pub(super) async fn known_image(&self, project: &str, key: &str) -> Result<Option<Built>> {
        let document = self.store.get_document(KIND, project, key).await?;
        Ok(document.and_then(|document| serde_json::from_value(document.body).ok()))
    }

    /// Stores the function of a build that has ended well with its image, and says so in the run's results. It comes
    /// before the run's end is recorded: whoever takes the run up after a crash does it again.
    async fn store_with_image(&self, record: &RunRecord, verdict: &mut Verdict) -> Result<()> {
        let Some(report) = verdict.report.as_mut().filter(|_| verdict.state == RunState::Completed) else {
            return Ok(());
        };
        let mut run = (*record.run).clone();
        run.status.results.extend(report.results.clone());
        let Some(built) = built(&run) else { return Ok(()) };
        let function = self.function_of(record).await?;
        let with = with_image(&function, &built);
        self.put_built(&function, &with).await?;
        report.results.insert(FUNCTION.to_owned(), json!(with.uri()));
        Ok(())
    }

    /// Stores a function with its image. The tags of the version that was built go to it; `latest` stays where it is if
    /// that is another version by now.
    pub(super) async fn put_built(&self, function: &Function, with: &Function) -> Result<()> {
        let (store, metadata) = (&self.store, &with.metadata);
        let (project, name) = (metadata.project.as_str(), metadata.name.as_str());
        let was = store.get_function(project, name, &Version::Hash(function.metadata.hash.clone())).await?;
        let latest = store.get_function(project, name, &Version::default()).await?;
        store.put_function(with, None).await?;
        self.versions().remove(&(project.to_owned(), name.to_owned()));
        for tag in was.iter().flat_map(|was| &was.tags).filter(|tag| *tag != "latest") {
            store.tag_function(project, name, &metadata.hash, tag).await?;
        }
        let hash_of = |record: FunctionRecord| record.function.metadata.hash;
        let mine = [&function.metadata.hash, &metadata.hash];
        if let Some(latest) = latest.map(hash_of).filter(|latest| !mine.contains(&latest)) {
            store.tag_function(project, name, &latest, "latest").await?;
        }
        Ok(())
    }
}

impl Follow {
    /// Of a build that has ended well, stores the function with its image, before the end is recorded.
    pub(in crate::orchestrator) async fn keep_image(&mut self, verdict: Option<&mut Verdict>) {
        let Some(verdict) = verdict.filter(|_| super::is_build(&self.record.run)) else { return };
        if let Err(error) = self.inner.store_with_image(&self.record, verdict).await {
            // Whoever wants the image next does it.
            self.notes.push(format!("the function could not be stored with its image: {}", error.message()));
        }
    }
}

/// Marks a run that builds: it is found by what it builds, and says it to whoever takes it up.
pub(in crate::orchestrator) fn mark(run: &mut Run, image: Option<&runtime_core::plan::Image>) {
    let metadata = &mut run.metadata;
    metadata.labels.insert("kind".to_owned(), super::KIND.to_owned());
    if let Some(image) = image {
        metadata.labels.insert(labels::BUILD.to_owned(), image.key.clone());
        metadata.annotations.insert(labels::IMAGE.to_owned(), image.name.clone());
        metadata.annotations.insert(labels::BASE_IMAGE.to_owned(), image.base.clone());
    }
    run.status.last_update = Some(Timestamp::now());
}
