//! What every kind must do, driven by what it says that it can do.
#![allow(clippy::panic, reason = "a conformance suite reports by panicking")]

mod observing;
mod planning;
mod processes;
mod wrong;

use std::fmt::Display;

use crate::{Capability, Error, ErrorKind, Function, Plan, Registry, Result, Run, Runtime, naming};

/// A function that the kind takes, and a run of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The function; valid, and of the kind.
    pub function: Function,
    /// The run; with a uid, and with what the function needs of it.
    pub run: Run,
}

impl Sample {
    /// A run of this function, which has a uid and a name, and what else it needs.
    pub fn new(function: Function, change: impl FnOnce(&mut Run)) -> Self {
        let mut run = Run::default();
        run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
        run.metadata.name = function.metadata.name.clone();
        run.metadata.project = "default".to_owned();
        change(&mut run);
        Self { function, run }
    }
}

/// Checks a kind that is linked into this program, by functions that it must take. The samples should differ: one for
/// each way in which the kind can describe work.
///
/// # Panics
/// With the behaviour that the kind does not have.
pub fn kind_conformance(runtime: &dyn Runtime, samples: &[Sample]) {
    registered(runtime);
    assert!(!samples.is_empty(), "the suite needs at least one sample");
    for (index, sample) in samples.iter().enumerate() {
        let what = format!("sample {index} ({} `{}`)", sample.function.kind, sample.function.metadata.name);
        let subject = Subject { runtime, sample, what };
        subject.check_sample();
        let plan = planning::check(&subject);
        wrong::check(&subject);
        observing::check(&subject, &plan);
    }
}

/// One sample, and the kind that must take it.
struct Subject<'a> {
    runtime: &'a dyn Runtime,
    sample: &'a Sample,
    what: String,
}

impl Subject<'_> {
    fn check_sample(&self) {
        let Sample { function, run } = self.sample;
        assert_eq!(function.kind, self.runtime.kind(), "{}: a sample must be of the kind", self.what);
        assert!(!run.metadata.uid.is_empty(), "{}: a sample's run must have a uid", self.what);
        self.ok("the function", function.validate());
        let notes = self.ok("its fields", function.check_fields(self.runtime.fields()));
        assert!(notes.is_empty(), "{}: a sample must have no field without effect: {notes:?}", self.what);
        self.ok("validate", self.runtime.validate(function, run));
    }

    /// The plan of a function and a run that must be taken.
    fn plan(&self, what: &str, function: &Function, run: &Run) -> Plan {
        self.ok(format!("validate {what}"), self.runtime.validate(function, run));
        self.ok(format!("plan {what}"), self.runtime.plan(function, run))
    }

    /// The function with the run must be refused, before anything is started.
    fn refused(&self, what: &str, names: &str, function: &Function, run: &Run) {
        let tried = taken(self.runtime, function, run);
        assert!(tried.is_err(), "{}: {what} must be refused", self.what);
        if let Err(error) = tried {
            self.well_refused(what, names, &error);
        }
    }

    /// A refusal says that the input is wrong, and where.
    fn well_refused(&self, what: &str, names: &str, error: &Error) {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}: {what}: {error}", self.what);
        let location = error.location().unwrap_or_default();
        assert!(
            location.contains(names),
            "{}: {what}: the error must stand at {names:?}, and is at {location:?}: {error}",
            self.what
        );
    }

    fn ok<T>(&self, what: impl Display, result: Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{}: {what} must succeed, and failed: {error:?}", self.what),
        }
    }
}

/// All that stands between a function and its start.
fn taken(runtime: &dyn Runtime, function: &Function, run: &Run) -> Result<Plan> {
    function.validate()?;
    function.check_fields(runtime.fields())?;
    runtime.validate(function, run)?;
    runtime.plan(function, run)
}

/// What a kind says of itself, and that the program finds it.
fn registered(runtime: &dyn Runtime) {
    let kind = runtime.kind();
    let valid = naming::check("kind", kind);
    assert!(valid.is_ok(), "a kind is a name: {valid:?}");
    let summary = runtime.summary();
    assert!(!summary.is_empty() && summary.trim() == summary, "{kind}: the summary is a line of text");
    assert!(!summary.contains('\n') && summary.len() <= 100, "{kind}: the summary is one short line");

    let Capability { host, cluster, renders, needs_image, .. } = runtime.capability();
    assert!(host || cluster, "{kind}: a kind runs on this machine, on a cluster, or on both");
    assert!(renders || !cluster, "{kind}: what runs on a cluster can be shown");
    assert!(renders || !needs_image, "{kind}: only a cluster needs an image");

    let linked = match Registry::linked() {
        Ok(linked) => linked,
        Err(error) => panic!("the linked kinds must not collide: {error}"),
    };
    assert!(linked.names().is_sorted(), "the linked kinds are sorted");
    match linked.get(kind) {
        Ok(found) => {
            assert_eq!(found.kind(), kind, "the registry must give the kind that was asked for");
            assert_eq!(found.summary(), summary, "{kind}: another one is registered by that name");
            assert_eq!(
                found.capability(),
                runtime.capability(),
                "{kind}: the registered one can do other things"
            );
        }
        Err(error) => panic!("{kind} must register itself when its crate is linked: {error}"),
    }
}
