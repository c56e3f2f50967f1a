//! What a kind is: a pure description of work, and a pure reading of what was seen of it.

use serde::Serialize;

use crate::{
    Error, ErrorKind, Function, Plan, Result, Run,
    cluster::{Cluster, build},
    plan::{ClusterPlan, Image},
    run::Verdict,
    target::Observation,
};

/// What a kind can do. Data, so that no caller needs a list of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// It ends by itself: a run. Otherwise it is deployed and called.
    pub batch: bool,
    /// It can be stopped on its way.
    pub abortable: bool,
    /// It writes logs that can be followed.
    pub logs: bool,
    /// It runs on this machine.
    pub host: bool,
    /// It runs on a cluster.
    pub cluster: bool,
    /// What a cluster would get for it can be shown ([`Runtime::render`]), whether or not it runs there.
    pub renders: bool,
    /// It needs an image on a cluster.
    pub needs_image: bool,
    /// It can be deployed: a service that stays up, for its own runs or for callers ([`Runtime::plan_deployment`]).
    pub deploys: bool,
    /// It runs as several replicas.
    pub scales: bool,
    /// It goes on when the orchestrator dies, and can be followed again.
    pub survives: bool,
}

/// A kind: two pure functions, no I/O. Object safe.
///
/// `plan` turns a function and a run into what must be started; `observe` turns what is seen of that into a state.
pub trait Runtime: Send + Sync {
    /// The kind's name, as it stands in `kind:` of a function.
    fn kind(&self) -> &'static str;

    /// One line for a list of kinds.
    fn summary(&self) -> &'static str;

    /// What this kind can do.
    fn capability(&self) -> Capability;

    /// The fields that this kind adds to a function's `spec`.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// The types of objects that operators act on and that are made for its runs: group and version, and kind.
    fn resources(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Says what is wrong with the function, or with the run of it, before anything is started. The code is
    /// there: `function.code()` has it where it can be known.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and what would be right.
    fn validate(&self, function: &Function, run: &Run) -> Result<()>;

    /// What must be started for this run, pure: the same input gives the same plan, nothing is touched.
    ///
    /// # Errors
    /// `Invalid` or `Unsupported`, as for [`Self::validate`].
    fn plan(&self, function: &Function, run: &Run) -> Result<Plan>;

    /// What must be created on a cluster for this run, pure.
    ///
    /// # Errors
    /// `Invalid`, naming the field; `Unsupported`, where the kind does not run on a cluster.
    fn render(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        let _ = (function, run, cluster);
        Err(only_here(self.kind()))
    }

    /// What must be created on a cluster before the function can run or be called there: its image, or the service that
    /// it is. Pure.
    ///
    /// # Errors
    /// As [`Self::render`].
    fn deploy(&self, function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
        let _ = (function, cluster);
        Err(only_here(self.kind()))
    }

    /// What must be started on this machine for a deployment of the function, pure: something that stays up until it is
    /// closed, for runs that come, and go, meanwhile. Its main process is the service itself. A run that uses it says so
    /// ([`Run::deployed`]).
    ///
    /// # Errors
    /// As [`Self::plan`]; `Unsupported`, where the kind is not deployed.
    fn plan_deployment(&self, function: &Function, run: &Run) -> Result<Plan> {
        let _ = (function, run);
        Err(not_deployed(self.kind()))
    }

    /// What must be created on a cluster for a deployment of the function, pure.
    ///
    /// # Errors
    /// As [`Self::render`]; `Unsupported`, where the kind is not deployed.
    fn render_deployment(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        let _ = (function, run, cluster);
        Err(not_deployed(self.kind()))
    }

    /// The image that the function needs on a cluster and that is to be built, pure; `None` where its image is used as it
    /// is. A kind that needs an image has what `spec.build` says, unless it says otherwise.
    ///
    /// # Errors
    /// `Invalid`, naming the field, where it cannot be built as the function says.
    fn image(&self, function: &Function, cluster: &Cluster) -> Result<Option<Image>> {
        match self.capability().needs_image {
            true => build::image(function, cluster),
            false => Ok(None),
        }
    }

    /// What must be created on a cluster to build that image, as this run, pure.
    ///
    /// # Errors
    /// As [`Self::image`], and where there is nothing to build.
    fn build(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        match self.capability().needs_image {
            true => build::plan(function, run, cluster),
            false => Err(only_here(self.kind())),
        }
    }

    /// What is true of a run that builds this image on a cluster; of one that ended well, the report has the results
    /// `image`, with its digest, and `digest`. Pure.
    fn observe_build(&self, image: &str, seen: &Observation) -> Verdict {
        match self.capability().needs_image {
            true => build::observe(image, seen),
            false => self.observe(seen),
        }
    }

    /// What is true of the run, given what is seen of it now. Pure, and the same however often and in whatever
    /// order observations come.
    fn observe(&self, seen: &Observation) -> Verdict;
}

/// What is to be said where a kind is not deployed.
pub fn not_deployed(kind: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("functions of the kind `{kind}` are run, not deployed"))
        .at("kind")
        .help("`runtimes run` runs it; `runtimes kinds` says which kinds are deployed")
}

fn only_here(kind: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("functions of the kind `{kind}` do not run on a cluster"))
        .at("kind")
        .help("use `kind: job` for a program, or run it on this machine")
}
