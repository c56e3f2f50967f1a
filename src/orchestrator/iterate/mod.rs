//! Runs with hyper-parameters: one run, each iteration of which is a run of its own. The run itself is followed as
//! every other one; what it "runs on" is a target that starts its iterations.

mod drive;
mod file;
mod report;
mod target;

use std::{path::Path, sync::Arc};

use runtime_core::{
    Error, ErrorKind, Function, Result, Run, RunState, Runtime,
    run::{
        RunKey,
        hyper::{Strategy, Sweep},
    },
    store::{RunFilter, RunRecord},
    target::Job,
};

use super::{Inner, Orchestrator, inner::Begin, log::LogWriter};
pub(super) use drive::Parts;
pub use file::ParamFile;
use target::{Iterations, SweepTarget};

/// Reads what the run was asked for; `None` for a single run. What a file says of hyper-parameters, and the seed of a
/// random draw, go onto the run: from here on it says by itself what its iterations are.
pub(super) fn prepare(run: &mut Run, folder: &Path) -> Result<Option<Sweep>> {
    if !run.spec.is_hyper() {
        return Ok(None);
    }
    file::take(run, folder)?;
    let uid = run.metadata.uid.clone();
    let options = &mut run.spec.hyper_param_options;
    if options.strategy == Some(Strategy::Random) && options.seed.is_none() {
        // Short enough for every reader of JSON.
        options.seed = uid.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    }
    Sweep::of(&run.spec)
}

/// Checks every iteration before any is started; returns the first.
pub(super) fn check(runtime: &dyn Runtime, function: &Function, run: &Run, sweep: &Sweep) -> Result<Run> {
    let base = Sweep::base(run);
    for iteration in 1..=sweep.len() {
        let child = sweep.child(&base, iteration);
        runtime.validate(function, &child).map_err(|error| of_iteration(error, &child, sweep))?;
    }
    Ok(sweep.child(&base, 1))
}

/// Says with which values it is wrong.
fn of_iteration(error: Error, child: &Run, sweep: &Sweep) -> Error {
    let values = sweep.names().filter_map(|name| Some((name, child.spec.parameters.get(name)?)));
    let values: Vec<_> = values.map(|(name, value)| format!("{name}={value}")).collect();
    let values = values.join(" ");
    let shown: String = values.chars().take(200).collect();
    error.context("iteration", format!("{} ({shown})", child.metadata.iteration))
}

impl Inner {
    /// Follows a run with hyper-parameters that is recorded as ours: starts those of its iterations that were not
    /// started, and follows those that go on.
    pub(super) fn iterate(
        self: &Arc<Self>,
        record: RunRecord,
        parts: Parts,
        log: LogWriter,
        job: Job,
    ) -> tokio::sync::watch::Receiver<super::follow::Live> {
        let run = Arc::clone(&record.run);
        let artifact_path = self.artifact_path(&run);
        let job = Job { key: run.key(), run, artifact_path, ..job };
        self.follow(Begin {
            record,
            runtime: Arc::new(Iterations),
            target: Arc::new(SweepTarget::new(parts)),
            log,
            job,
            way: None,
        })
    }

    /// The iterations of a run, as they are recorded, the first one first.
    pub(super) async fn iterations(&self, uid: &str) -> Result<Vec<RunRecord>> {
        let filter = RunFilter { uid_prefix: Some(uid.to_owned()), ..RunFilter::default() };
        let mut records = self.store.list_runs(&filter).await?;
        records.retain(|record| record.run.metadata.uid == uid && record.run.metadata.iteration > 0);
        records.sort_by_key(|record| record.run.metadata.iteration);
        Ok(records)
    }
}

impl Orchestrator {
    /// The iterations of a run, of its hyper-parameters or made by its code, as they are recorded, the first one first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn iterations(&self, uid: &str) -> Result<Vec<RunRecord>> {
        self.inner.iterations(uid).await
    }

    /// The iterations that are deleted with a run; an iteration itself may not go before its run has ended, which would
    /// start it again.
    pub(super) async fn deleted_with(&self, record: &RunRecord) -> Result<Vec<RunRecord>> {
        let run = &record.run;
        if run.metadata.iteration == 0 {
            let has_some = run.spec.is_hyper() || !run.status.iterations.is_empty();
            let all = has_some && run.state().is_terminal();
            return if all { self.inner.iterations(&run.metadata.uid).await } else { Ok(Vec::new()) };
        }
        let parent = self.inner.store.get_run(&RunKey::new(run.metadata.uid.as_str())).await?;
        match parent.filter(|parent| !parent.run.state().is_terminal()) {
            Some(parent) => Err(Error::new(
                ErrorKind::Conflict,
                format!("{} is an iteration of a run that is {}", run.key(), parent.run.state()),
            )
            .help("abort the run, or wait for its end, then delete the whole or this iteration")),
            None => Ok(Vec::new()),
        }
    }
}

/// Leaves out iterations whose run has not ended: whoever follows that run follows them.
pub(super) fn without_followed(orphans: &mut Vec<RunRecord>, active: &[(RunKey, RunState)]) {
    let parents: std::collections::HashSet<&str> =
        active.iter().filter(|(key, _)| key.iteration == 0).map(|(key, _)| key.uid.as_str()).collect();
    orphans.retain(|record| {
        record.run.metadata.iteration == 0 || !parents.contains(record.run.metadata.uid.as_str())
    });
}
