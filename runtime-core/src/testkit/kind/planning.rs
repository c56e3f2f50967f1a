//! A plan: pure, complete, and as the run and the function say.

use std::{collections::BTreeSet, time::Duration};

use super::{Subject, processes};
use crate::{
    ErrorKind, Plan, RunState,
    cluster::Cluster,
    plan::{EnvValue, EnvVar, HostPlan},
    run::Cause,
};

/// A secret that no plan knows more of than its name.
const SECRET: (&str, &str, &str) = ("CONFORMANCE_SECRET", "conformance-secret", "conformance-key");

/// Checks the sample's plan and those of its variations; returns the plan.
pub(super) fn check(subject: &Subject<'_>) -> Plan {
    let plan = pure(subject);
    match &plan {
        Plan::Host(host) => {
            assert!(
                subject.runtime.capability().host,
                "{}: a plan for a machine where none runs",
                subject.what
            );
            processes::check(&subject.what, host);
        }
        Plan::Cluster(_) => {
            assert!(
                subject.runtime.capability().cluster,
                "{}: a plan for a cluster where none runs",
                subject.what
            );
        }
    }
    rendered(subject);
    deployed(subject);
    deadline(subject);
    environment(subject);
    plan
}

/// The objects for a cluster: pure, and there exactly where the kind says so.
fn rendered(subject: &Subject<'_>) {
    let Subject { what, runtime, sample } = subject;
    let render = || runtime.render(&sample.function, &sample.run, &Cluster::default());
    if !runtime.capability().renders {
        let refused = render().err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::Unsupported), "{what}: a kind that renders says so");
        return;
    }
    let plan = subject.ok("the rendering", render());
    assert_eq!(plan, subject.ok("the same again", render()), "{what}: the same input, the same objects");
    assert!(!plan.objects.is_empty(), "{what}: a run on a cluster is at least one object");
    let names: BTreeSet<_> = plan.objects.iter().map(|object| (object.kind(), object.name())).collect();
    assert_eq!(names.len(), plan.objects.len(), "{what}: each object has a name of its own");
}

/// A deployment: there exactly where the kind says so, pure, found somewhere, and for as long as it is wanted.
fn deployed(subject: &Subject<'_>) {
    let Subject { what, runtime, sample } = subject;
    let can = runtime.capability();
    let cluster = Cluster::default();
    let here = || runtime.plan_deployment(&sample.function, &sample.run);
    let there = || runtime.render_deployment(&sample.function, &sample.run, &cluster).map(Plan::Cluster);
    for (can, plan) in
        [(can.deploys && can.host, &here as &dyn Fn() -> _), (can.deploys && can.cluster, &there)]
    {
        if !can {
            let refused = plan().err().map(|error| error.kind());
            assert_eq!(refused, Some(ErrorKind::Unsupported), "{what}: a kind that is deployed says so");
            continue;
        }
        let made = subject.ok("the deployment", plan());
        assert_eq!(made, subject.ok("it again", plan()), "{what}: the same input, the same deployment");
        let (addresses, deadline) = match &made {
            Plan::Host(plan) => {
                processes::check(&format!("{what}, deployed"), plan);
                (&plan.addresses, plan.deadline)
            }
            Plan::Cluster(plan) => (&plan.addresses, plan.deadline),
        };
        assert!(!addresses.is_empty(), "{what}: a deployment is found somewhere");
        assert_eq!(deadline, None, "{what}: how long a run may take is not said of a deployment");
    }
}

/// The same function and run give the same plan, whatever became of the run meanwhile.
fn pure(subject: &Subject<'_>) -> Plan {
    let (function, run) = (&subject.sample.function, &subject.sample.run);
    let (function_before, run_before) = (function.clone(), run.clone());
    let plan = subject.plan("it", function, run);
    assert_eq!(
        plan,
        subject.plan("it again", function, run),
        "{}: the same input, the same plan",
        subject.what
    );
    assert!(*function == function_before && *run == run_before, "{}: a plan changes nothing", subject.what);

    let mut later = run.clone();
    later.status.state = RunState::Running;
    later.status.cause = Some(Cause::new(crate::run::Reason::Lost, "an earlier attempt was lost"));
    later.status.start_time = Some(jiff::Timestamp::UNIX_EPOCH);
    let again = subject.plan("the running run", function, &later);
    assert_eq!(plan, again, "{}: what became of a run must not change what is started", subject.what);

    let stored = subject.ok("the stored function", function.to_yaml());
    let stored = subject.ok("the stored function", crate::Function::from_yaml(&stored, "stored.yaml"));
    let again = subject.plan("the stored function", &stored, run);
    assert_eq!(plan, again, "{}: a function that was stored and read back has the same plan", subject.what);

    let written = serde_json::to_value(&plan);
    let written = written.unwrap_or_else(|error| panic!("{}: a plan must be written: {error}", subject.what));
    match serde_json::from_value::<Plan>(written) {
        Ok(read) => assert_eq!(read, plan, "{}: a plan must read back as it was written", subject.what),
        Err(error) => panic!("{}: a plan must read back: {error}", subject.what),
    }
    plan
}

/// How long it may execute: the run's own word before the function's.
fn deadline(subject: &Subject<'_>) {
    const FIELD: &str = "executing";
    let given = |of_function: Option<&str>, of_run: Option<&str>| {
        let (mut function, mut run) = (subject.sample.function.clone(), subject.sample.run.clone());
        for (thresholds, given) in
            [(&mut function.spec.pod.state_thresholds, of_function), (&mut run.spec.state_thresholds, of_run)]
        {
            thresholds.remove(FIELD);
            thresholds.extend(given.map(|given| (FIELD.to_owned(), given.to_owned())));
        }
        (function, run)
    };
    let cases = [
        (None, None, None),
        (Some("90s"), None, Some(90)),
        (None, Some("1h30m"), Some(5400)),
        (Some("90s"), Some("2 hours"), Some(7200)),
        (Some("90s"), Some("-1"), None),
        (Some("-1"), None, None),
    ];
    if !subject.runtime.capability().batch {
        return;
    }
    for (of_function, of_run, seconds) in cases {
        let (function, run) = given(of_function, of_run);
        let what = format!("with the threshold {of_function:?}, on the run {of_run:?}");
        let deadline = match subject.plan(&what, &function, &run) {
            Plan::Host(plan) => plan.deadline,
            Plan::Cluster(plan) => plan.deadline,
        };
        assert_eq!(deadline, seconds.map(Duration::from_secs), "{}: the deadline {what}", subject.what);
    }
    for (of_function, of_run) in [(Some("5 parsecs"), None), (None, Some("-3s"))] {
        let (function, run) = given(of_function, of_run);
        let what = format!("the threshold {of_function:?}, on the run {of_run:?}");
        subject.refused(&what, "state_thresholds", &function, &run);
    }
}

/// The function's variables reach the process; a secret only by its name.
fn environment(subject: &Subject<'_>) {
    const PLAIN: (&str, &str) = ("CONFORMANCE_PLAIN", "conformance value = 1");
    let (variable, name, key) = SECRET;
    let function = subject.sample.function.clone();
    let function = function.set_env(PLAIN.0, PLAIN.1).set_env_from_secret(variable, name, key);
    let Plan::Host(plan) = subject.plan("with environment", &function, &subject.sample.run) else { return };
    let found = |variable: &str| -> Vec<EnvVar> {
        let env = plan.processes.iter().flat_map(|process| &process.env);
        env.filter(|found| found.name == variable).cloned().collect()
    };
    let (plain, secret) = (found(PLAIN.0), found(variable));
    // What has no environment of its own (a call in this process) gets neither.
    assert_eq!(plain.len(), secret.len(), "{}: a secret goes where the other variables go", subject.what);
    assert!(!plain.is_empty() || is_call(&plan), "{}: the environment must reach the process", subject.what);
    for found in plain {
        assert_eq!(found.value, EnvValue::Value(PLAIN.1.to_owned()), "{}: {}", subject.what, found.name);
    }
    for found in secret {
        let by_name = EnvValue::Secret { name: name.to_owned(), key: key.to_owned(), optional: false };
        assert_eq!(found.value, by_name, "{}: a plan names secrets, it does not hold them", subject.what);
    }
}

fn is_call(plan: &HostPlan) -> bool {
    plan.main().is_some_and(|main| matches!(main.work, crate::plan::Work::Call { .. }))
}
