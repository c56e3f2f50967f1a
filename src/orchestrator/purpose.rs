//! What a run is for: running its function, building what that needs, or being its deployment. It says so by its labels.

use std::sync::Arc;

use runtime_core::{Function, Run, Runtime, labels, plan::Image};

use super::{
    deployment::{self, Deploying},
    image::{self, Building},
};

/// What a request is prepared for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Running the function.
    Run,
    /// Building the image, or here the environment, that it needs.
    Build(Option<&'a Image>),
    /// Being what of it stays up.
    Deploy,
}

impl Purpose<'_> {
    /// Marks a run of this purpose.
    pub(super) fn mark(self, run: &mut Run, function: &Function) {
        match self {
            Self::Run => {}
            Self::Build(image) => image::mark(run, image),
            Self::Deploy => deployment::mark(run, function),
        }
    }

    pub(super) fn is_run(self) -> bool {
        matches!(self, Self::Run)
    }
}

/// Who describes and reads a run: its function's kind, as the run is for.
pub(super) fn runtime_of(kind: &Arc<dyn Runtime>, run: &Run) -> Arc<dyn Runtime> {
    if image::is_build(run) {
        let image = run.metadata.annotations.get(labels::IMAGE).cloned();
        return Arc::new(Building::new(Arc::clone(kind), image));
    }
    if run.is_deployment() {
        return Arc::new(Deploying(Arc::clone(kind)));
    }
    Arc::clone(kind)
}
