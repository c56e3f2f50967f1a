//! Deployments: what of a function stays up between its runs, or to be called. A deployment is a run: it is recorded,
//! followed, and taken up as every other one, and goes on until it is closed.

use std::{sync::Arc, time::Duration};

use runtime_core::{
    Capability, Error, ErrorKind, Function, Plan, Result, Run, RunState, Runtime, Target,
    cluster::Cluster,
    labels, naming, not_deployed,
    plan::ClusterPlan,
    run::{Cause, Reason, RunKey, RunSpec, Verdict},
    serde_json,
    store::{Document, RunFilter, RunRecord, Store},
    target::Observation,
};
use tokio::sync::watch;

use super::{Handle, Inner, Orchestrator, Request, plan, purpose::Purpose};

/// The kind that deployments have in lists of runs.
const KIND: &str = "deployment";

/// The kind and the name of the document that tells a record from all others.
const SEED: &str = "seed";

/// How long the store is left alone after something in it has changed.
const PAUSE: Duration = Duration::from_millis(200);

/// What deploying a function comes to.
#[non_exhaustive]
pub enum Deployment {
    /// The same version of it is up already, or on its way: the run that it is.
    There(Box<RunRecord>),
    /// It is being started, in place of an earlier version where there was one. It is up when its run has addresses
    /// ([`runtime_core::run::RunStatus::addresses`]).
    Starting(Box<Handle>),
}

/// Describes and reads deployments of functions of a kind.
pub(super) struct Deploying(pub(super) Arc<dyn Runtime>);

impl Runtime for Deploying {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn summary(&self) -> &'static str {
        self.0.summary()
    }

    fn capability(&self) -> Capability {
        self.0.capability()
    }

    fn validate(&self, _: &Function, _: &Run) -> Result<()> {
        // Planning does; nothing is called.
        Ok(())
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        self.0.plan_deployment(function, run)
    }

    fn render(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        self.0.render_deployment(function, run, cluster)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        self.0.observe(seen)
    }
}

/// The deployment that a followed run uses, if it uses one.
pub(super) struct Uses(Option<(RunKey, Arc<dyn Store>, watch::Receiver<u64>)>);

impl Uses {
    pub(super) fn of(run: &Run, store: &Arc<dyn Store>) -> Self {
        let uid = run.metadata.annotations.get(labels::USES);
        Self(uid.map(|uid| (RunKey::new(uid.as_str()), Arc::clone(store), store.changes())))
    }

    /// Waits until the deployment has ended: what its run cannot go on without. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> Cause {
        let Some((key, store, changes)) = &mut self.0 else { return std::future::pending().await };
        loop {
            changes.borrow_and_update();
            // A store that does not answer is asked again.
            if let Ok(record) = store.get_run(key).await {
                let run = record.map(|record| record.run);
                if run.as_ref().is_none_or(|run| run.state().is_terminal()) {
                    return lost(run.as_deref());
                }
            }
            if changes.changed().await.is_err() {
                std::future::pending().await
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn lost(run: Option<&Run>) -> Cause {
    let why = match run {
        None => "its record was deleted",
        Some(run) if run.state() == RunState::Aborted => "it was closed",
        Some(run) => run.status.error.as_deref().unwrap_or("it had nothing more to do"),
    };
    let message = format!("the deployment of its function, which it uses, ended first: {why}");
    Cause::new(Reason::ServiceEnded, message)
        .help("`runtimes deploy` starts another one; without any, a run has one of its own")
}

/// Marks a run that is a deployment: it is found by its function, and says it to whoever takes it up.
pub(super) fn mark(run: &mut Run, function: &Function) {
    let labels = &mut run.metadata.labels;
    labels.insert("kind".to_owned(), KIND.to_owned());
    labels.insert(labels::DEPLOYMENT.to_owned(), function.metadata.name.clone());
}

impl Orchestrator {
    /// Starts what of a function stays up between its runs: for the kind `dask`, its cluster. From then on runs of the
    /// function there use it, until it is closed ([`Self::abort`]) or ends. A function has one deployment in a place:
    /// an earlier version's is closed first, once it is clear that this one can be started. It goes on when this
    /// orchestrator is closed, as a detached run does.
    ///
    /// # Errors
    /// As [`Self::submit`]; `Unsupported` for a kind that is not deployed.
    pub async fn deploy(&self, request: impl Into<Request>) -> Result<Deployment> {
        let request = request.into();
        let located = |error| request.function.locate(error);
        Box::pin(self.deploy_boxed(&request)).await.map_err(located)
    }

    async fn deploy_boxed(&self, request: &Request) -> Result<Deployment> {
        let inner = &self.inner;
        let (function, runtime) = inner.function_and_kind(request)?;
        if !runtime.capability().deploys {
            return Err(not_deployed(runtime.kind()));
        }
        let built = self.with_image(request).await?;
        let request = built.as_ref().unwrap_or(request);
        let target = inner.target_named(&request.target, &*runtime)?;
        let metadata = &function.metadata;
        let mut asked = Request {
            spec: RunSpec { state_thresholds: request.spec.state_thresholds.clone(), ..RunSpec::default() },
            name: naming::run_name(&format!("deploy-{}", metadata.name), ""),
            detached: true,
            auto_build: false,
            ..request.clone()
        };
        let all = RunFilter { states: Vec::new(), ..filter(&metadata.project, Some(&metadata.name)) };
        let (seed, mut number) = (inner.seed().await?, self.list(&all).await?.len());
        loop {
            asked.uid = uid(&seed, &function, target.name(), number);
            let mut prepared = inner.prepare_for(&asked, Purpose::Deploy).await?;
            self.settle_deployments(&metadata.project, &metadata.name).await?;
            let going = inner.deployments_at(&function, &*target, &prepared.record.run).await?;
            let same = |record: &&RunRecord| {
                record.run.spec.function == prepared.record.run.spec.function
                    && record.run.state() != RunState::Aborting
            };
            if let Some(record) = going.iter().find(same) {
                return Ok(Deployment::There(Box::new(record.clone())));
            }
            for record in &going {
                match self.abort(&record.run.key()).await {
                    // It ended by itself.
                    Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                    _ => {}
                }
            }
            match inner.record(&mut prepared).await {
                Ok(()) => return Ok(Deployment::Starting(Box::new(self.launch(prepared)))),
                // Somebody else deploys it at this moment, or an earlier one was deleted.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The deployments that are up or on their way, the newest first: of one function, of a project, or all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deployments(&self, project: Option<&str>, function: Option<&str>) -> Result<Vec<RunRecord>> {
        self.list(&filter(project.unwrap_or_default(), function)).await
    }

    /// Sees to it that what is recorded of a function's deployments is true: those that nobody follows are taken up.
    pub(super) async fn settle_deployments(&self, project: &str, function: &str) -> Result<()> {
        let going = self.list(&filter(project, Some(function))).await?;
        if going.is_empty() {
            return Ok(());
        }
        let orphans = self.orphans().await?;
        if going.iter().any(|record| orphans.contains(&record.run.key())) {
            self.recover().await?;
        }
        Ok(())
    }

    /// As [`Self::settle_deployments`], before a run of the function of this request.
    pub(super) async fn settle_used(&self, request: &Request) -> Result<()> {
        let Ok(runtime) = self.inner.registry.get(&request.function.kind) else { return Ok(()) };
        if !runtime.capability().deploys {
            return Ok(());
        }
        let (function, _) = self.inner.function_and_kind(request)?;
        self.settle_deployments(&function.metadata.project, &function.metadata.name).await
    }
}

impl Inner {
    /// What tells this record from all others: uids that follow from names are its own.
    async fn seed(&self) -> Result<String> {
        loop {
            if let Some(document) = self.store.get_document(SEED, "", SEED).await? {
                return Ok(document.body.as_str().unwrap_or_default().to_owned());
            }
            let seed = uuid::Uuid::new_v4().simple().to_string();
            match self.store.put_document(&Document::new(SEED, "", SEED, seed.into())).await {
                // Somebody else has just made one.
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }

    /// The deployments of a function that are where this run goes, the newest first.
    async fn deployments_at(
        &self,
        function: &Function,
        target: &dyn Target,
        run: &Run,
    ) -> Result<Vec<RunRecord>> {
        let metadata = &function.metadata;
        let mut going = self.store.list_runs(&filter(&metadata.project, Some(&metadata.name))).await?;
        let place = plan::place_of(run);
        going.retain(|record| record.target == target.name() && plan::place_of(&record.run) == place);
        Ok(going)
    }

    /// Has a run use its function's deployment, where there is one: where that is goes onto the run. The note, where it is
    /// another version's.
    pub(super) async fn use_deployment(
        &self,
        function: &Function,
        target: &dyn Target,
        run: &mut Run,
    ) -> Result<Option<String>> {
        for name in [labels::USES, labels::ADDRESSES] {
            run.metadata.annotations.remove(name);
        }
        let going = self.deployments_at(function, target, run).await?;
        let Some(record) = going.iter().find(|record| record.run.state() != RunState::Aborting) else {
            return Ok(None);
        };
        let (name, uid) = (&function.metadata.name, &record.run.metadata.uid);
        let addresses = &record.run.status.addresses;
        if addresses.is_empty() {
            let error = Error::new(
                ErrorKind::Unavailable,
                format!("the deployment of {name} is not ready yet: it is {}", record.run.state()),
            );
            return Err(error.help(format!(
                "`runtimes status {name}` says how it is, `runtimes logs {uid}` what it prints; \
                 `runtimes close {name}` ends it"
            )));
        }
        let text = serde_json::to_string(addresses).unwrap_or_default();
        run.metadata.annotations.insert(labels::USES.to_owned(), uid.clone());
        run.metadata.annotations.insert(labels::ADDRESSES.to_owned(), text);
        let other = record.run.spec.function != run.spec.function;
        Ok(other.then(|| {
            format!(
                "it used the deployment {} of another version of the function, with that one's packages and resources; \
                 `runtimes deploy` starts this version's",
                uid.get(..8).unwrap_or(uid)
            )
        }))
    }
}

/// The deployments of a project, and of a function in it, that have not ended.
fn filter(project: &str, function: Option<&str>) -> RunFilter {
    let name = function.map(|name| (labels::DEPLOYMENT.to_owned(), name.to_owned()));
    RunFilter {
        project: Some(project.to_owned()).filter(|project| !project.is_empty()),
        labels: std::iter::once(("kind".to_owned(), KIND.to_owned())).chain(name).collect(),
        ..RunFilter::active()
    }
}

/// The uid of a function's next deployment: whoever has the same record, and deploys it at the same time, comes to the same
/// one, and finds it taken.
fn uid(seed: &str, function: &Function, target: &str, number: usize) -> String {
    let metadata = &function.metadata;
    let number = number.to_string();
    naming::digits([seed, target, &metadata.project, &metadata.name, &number], 16)
}
