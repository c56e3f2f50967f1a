//! Building as a kind of its own makes it: what a function needs before it can run, in place of the function's run.

use std::sync::Arc;

use runtime_core::{
    Capability, Function, Plan, Result, Run, Runtime,
    cluster::Cluster,
    plan::{ClusterPlan, HostPlan, Limits, Process, Readiness, Role, Work, host},
    run::Verdict,
    target::Observation,
};

/// What is run in a new environment: it says where that is.
const LOOK: &str = "import sys; print(sys.prefix)";

/// Builds what functions of a kind need: an image on a cluster, here an environment.
pub(in crate::orchestrator) struct Building {
    kind: Arc<dyn Runtime>,
    /// The image; `None` on this machine.
    image: Option<String>,
}

impl Building {
    pub(in crate::orchestrator) fn new(kind: Arc<dyn Runtime>, image: Option<String>) -> Self {
        Self { kind, image }
    }
}

impl Runtime for Building {
    fn kind(&self) -> &'static str {
        self.kind.kind()
    }

    fn summary(&self) -> &'static str {
        "what a function needs before it can run"
    }

    fn capability(&self) -> Capability {
        // Also of a kind whose runs end with their orchestrator: this is no run of its code.
        Capability { survives: true, ..self.kind.capability() }
    }

    fn validate(&self, _: &Function, _: &Run) -> Result<()> {
        Ok(())
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        let look = Process {
            name: "main".to_owned(),
            role: Role::Main,
            work: Work::Program {
                command: "python3".to_owned(),
                args: ["-c", LOOK].map(str::to_owned).to_vec(),
                code: None,
            },
            env: Vec::new(),
            workdir: None,
            limits: Limits::default(),
            ready: Readiness::default(),
            after: Vec::new(),
            imports: Vec::new(),
            launcher: None,
        };
        let python = Some(host::python(function, run));
        Ok(Plan::Host(HostPlan { python, processes: vec![look], ..HostPlan::default() }))
    }

    fn render(&self, function: &Function, run: &Run, cluster: &Cluster) -> Result<ClusterPlan> {
        self.kind.build(function, run, cluster)
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        match &self.image {
            Some(image) => self.kind.observe_build(image, seen),
            None => self.kind.observe(seen),
        }
    }
}
