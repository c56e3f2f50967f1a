//! Building what a function needs before it can run: on a cluster its image, on this machine its environment. A build is
//! a run: it is recorded, followed, stopped and taken up as every other one.

mod building;
mod record;

use runtime_core::{
    Error, ErrorKind, Function, Result, Run, RunState, Runtime,
    cluster::Cluster,
    plan::Image,
    run::RunSpec,
    serde_json::Value,
    store::{FunctionRecord, RunFilter, Version},
};

use super::{Handle, Inner, Orchestrator, Request, purpose::Purpose, submit::Prepared};
pub(super) use building::Building;
pub(super) use record::{document, mark};

/// The kind that builds have in lists of runs.
const KIND: &str = "build";

/// What building a function comes to.
#[non_exhaustive]
pub enum Build {
    /// There is nothing to build: the function runs as it is.
    Nothing,
    /// An image of the same content was built already. This is the function with it, stored.
    Ready(Box<FunctionRecord>),
    /// It is being built by this run, which may be one that somebody else started for the same content. When it has ended
    /// well, [`Orchestrator::built`] has the function.
    Running(Box<Handle>),
}

/// Whether a run builds what a function needs.
pub(super) fn is_build(run: &Run) -> bool {
    run.metadata.labels.get("kind").is_some_and(|kind| kind == KIND)
}

impl Orchestrator {
    /// Builds what the function of a request needs where the request goes: on a cluster its image, on this machine its
    /// environment. The same content is built once, unless it is to be built `again`; whoever asks while it is being
    /// built gets the run that builds it.
    ///
    /// The function with its image is a new version: `spec.image` names it by its digest, `spec.build.base_image` what it
    /// was built on. The tags of the version that was built go to it.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn build(&self, request: impl Into<Request>, again: bool) -> Result<Build> {
        let request = request.into();
        let located = |error| request.function.locate(error);
        Box::pin(self.build_boxed(&request, again, true)).await.map_err(located)
    }

    /// `explicitly`: it is the function that is asked for, not a run of it.
    async fn build_boxed(&self, request: &Request, again: bool, explicitly: bool) -> Result<Build> {
        let inner = &self.inner;
        let (function, runtime) = inner.function_and_kind(request)?;
        let target = inner.target_named(&request.target, &*runtime)?;
        let Some(cluster) = target.cluster().await? else {
            if function.spec.build.requirements.is_empty() {
                return Ok(Build::Nothing);
            }
            return self.start_build(request, &function, None, 0, explicitly).await;
        };
        let Some(image) = runtime.image(&function, &cluster)? else { return Ok(Build::Nothing) };
        if !again {
            if let Some(record) = self.ready(request, &function, &image, explicitly).await? {
                return Ok(Build::Ready(Box::new(record)));
            }
            if let Some(handle) = self.going_on(&function, &image).await? {
                return Ok(Build::Running(Box::new(handle)));
            }
        }
        let number = inner.store.list_runs(&builds(&function, &image)).await?.len();
        self.start_build(request, &function, Some(&image), number, explicitly).await
    }

    /// Starts the run that builds.
    async fn start_build(
        &self,
        request: &Request,
        function: &Function,
        image: Option<&Image>,
        mut number: usize,
        explicitly: bool,
    ) -> Result<Build> {
        // What is asked of a run is not asked of the build before it.
        let spec = match explicitly {
            true => RunSpec {
                state_thresholds: request.spec.state_thresholds.clone(),
                notifications: request.spec.notifications.clone(),
                ..RunSpec::default()
            },
            false => RunSpec::default(),
        };
        let name = runtime_core::naming::run_name(&format!("build-{}", function.metadata.name), "");
        let mut asked = Request { spec, name, auto_build: false, ..request.clone() };
        loop {
            asked.uid = image.map(|image| image.uid(number)).unwrap_or_default();
            let mut prepared = self.inner.prepare_for(&asked, Purpose::Build(image)).await?;
            match self.inner.record(&mut prepared).await {
                Ok(()) => return Ok(Build::Running(Box::new(self.launch(prepared)))),
                // Somebody began it a moment ago, or a build before that one was deleted.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if let Some(image) = image
                        && let Some(handle) = self.going_on(function, image).await?
                    {
                        return Ok(Build::Running(Box::new(handle)));
                    }
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The function with an image of the same content, where there is one.
    async fn ready(
        &self,
        request: &Request,
        function: &Function,
        image: &Image,
        explicitly: bool,
    ) -> Result<Option<FunctionRecord>> {
        let metadata = &function.metadata;
        let Some(built) = self.inner.known_image(&metadata.project, &image.key).await? else {
            return Ok(None);
        };
        let with = record::with_image(function, &built);
        let (store, version) = (&self.inner.store, Version::Hash(with.metadata.hash.clone()));
        let known = store.get_function(&metadata.project, &metadata.name, &version).await?;
        if known.is_none() || (explicitly && with.metadata.hash != metadata.hash) {
            self.inner.put_built(function, &with).await?;
        }
        if explicitly && !request.tag.is_empty() {
            store.tag_function(&metadata.project, &metadata.name, &with.metadata.hash, &request.tag).await?;
        }
        self.function(&with.uri()).await.map(Some)
    }

    /// The run that builds this at the moment.
    async fn going_on(&self, function: &Function, image: &Image) -> Result<Option<Handle>> {
        let filter = RunFilter { states: RunFilter::active().states, ..builds(function, image) };
        let Some(record) = self.inner.store.list_runs(&filter).await?.into_iter().next() else {
            return Ok(None);
        };
        let key = record.run.key();
        if self.orphans().await?.contains(&key) {
            self.recover().await?;
        }
        self.watch(&key).await.map(Some)
    }

    /// The function with the image that this run built.
    ///
    /// # Errors
    /// Where the run did not end well: why; `NotFound`, where it built no image, or the function was deleted since.
    pub async fn built(&self, run: &Run) -> Result<FunctionRecord> {
        if run.state() != RunState::Completed {
            return Err(failed(run));
        }
        match run.status.results.get(record::FUNCTION).and_then(Value::as_str) {
            Some(uri) => self.function(uri).await,
            None => Err(Error::not_found(format!("run {} built no image", run.key()))),
        }
    }

    /// What building comes to for a request that asks for it ([`Request::auto_build`], or `build.auto_build` of its
    /// function) on a cluster, and `Nothing` for others: on this machine a run makes its environment by itself.
    /// [`Self::submit`] does that, too; whoever wants to show the build asks here, and submits what
    /// [`Request::with_function`] makes of it.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub async fn build_first(&self, request: &Request) -> Result<Build> {
        if !request.auto_build && !request.function.spec.build.auto_build {
            return Ok(Build::Nothing);
        }
        let runtime = self.inner.registry.get(&request.function.kind)?;
        let target = self.inner.target_named(&request.target, &**runtime)?;
        if target.cluster().await?.is_none() {
            return Ok(Build::Nothing);
        }
        let located = |error| request.function.locate(error);
        Box::pin(self.build_boxed(request, false, false)).await.map_err(located)
    }

    /// The request with a function that has its image, where it asks for that.
    pub(super) async fn with_image(&self, request: &Request) -> Result<Option<Request>> {
        let record = match self.build_first(request).await? {
            Build::Nothing => return Ok(None),
            Build::Ready(record) => *record,
            Build::Running(handle) => self.built(&handle.wait().await?).await?,
        };
        Ok(Some(request.clone().with_function(record.function)))
    }
}

/// The builds of this content.
fn builds(function: &Function, image: &Image) -> RunFilter {
    RunFilter {
        project: Some(function.metadata.project.clone()),
        labels: [(runtime_core::labels::BUILD.to_owned(), image.key.clone())].into(),
        ..RunFilter::default()
    }
}

fn failed(run: &Run) -> Error {
    let key = run.key();
    let what = run.metadata.annotations.get(runtime_core::labels::IMAGE);
    let what = what.map_or_else(|| "the environment".to_owned(), |image| format!("the image {image}"));
    let why = run.status.error.as_deref().unwrap_or("it did not end well");
    let error = Error::new(ErrorKind::Environment, format!("{what} was not built: {why}"));
    let help = run.status.cause.as_ref().and_then(|cause| cause.help.as_deref());
    let log = format!("the log of the build: runtimes logs {key}");
    error.help(help.map_or_else(|| log.clone(), |help| format!("{help}\n{log}")))
}

/// What the user should know of a function that is run with an image that need not have what it names.
pub(super) fn unbuilt(runtime: &dyn Runtime, function: &Function, cluster: &Cluster) -> Option<String> {
    let spec = &function.spec;
    if spec.image.is_empty() || !spec.build.base_image.is_empty() {
        return None;
    }
    runtime.image(function, cluster).ok().flatten().map(|_| {
        format!(
            "the image {} is used as it is: what `spec.build` names must be in it; `--auto-build` builds one that has it",
            spec.image
        )
    })
}

impl Orchestrator {
    /// Follows a run that is recorded as ours.
    pub(super) fn launch(&self, prepared: Prepared) -> Handle {
        use super::{inner::Begin, iterate, log::LogWriter};
        let key = prepared.record.run.key();
        let log = LogWriter::new(self.inner.log_path(&key));
        let Prepared { function, record, runtime, target, job, sweep, way, .. } = prepared;
        let live = match sweep {
            Some(sweep) => {
                let inner = std::sync::Arc::downgrade(&self.inner);
                let parts = iterate::Parts { inner, function, runtime, target, sweep };
                self.inner.iterate(record, parts, log, job)
            }
            None => self.inner.follow(Begin { record, runtime, target, log, job, way }),
        };
        Handle::here(key.clone(), self.inner.log_path(&key), live)
    }
}
